"""What training makes small, against the definitions, and what a recipe may ask for."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from superfine.training.losses import LOSSES
from superfine.training.recipe import Loss


def test_a_recipe_may_ask_for_every_loss_and_for_no_other() -> None:
    assert set(LOSSES) == set(get_args(Loss))


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_is_lost_where_pictures_are_alike(name: str) -> None:
    hr = torch.rand(2, 3, 8, 8)
    assert LOSSES[name](hr, hr).item() == pytest.approx(0.001 if name == "charbonnier" else 0, abs=1e-6)


def test_psnr_takes_the_logarithm_of_each_patch() -> None:
    """One patch off by 0.1 throughout (20 dB), one by 0.01 (40 dB): ln(1 + 100) and ln(1 + 1), the mean of them."""
    hr = torch.full((2, 3, 8, 8), 0.5)
    sr = hr + torch.tensor([0.1, -0.01]).reshape(2, 1, 1, 1)
    assert LOSSES["psnr"](sr, hr).item() == pytest.approx((math.log(101) + math.log(2)) / 2, rel=1e-4)


def test_under_psnr_a_smooth_patch_is_not_outweighed_by_a_detailed_one() -> None:
    """A tenth as far off: a tenth of the pull under "mse", five times the pull under "psnr"."""
    hr = torch.full((2, 3, 8, 8), 0.5)
    off = torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1)
    pulls = {}
    for name in ("mse", "psnr"):
        sr = (hr + off).requires_grad_()
        LOSSES[name](sr, hr).backward()  # type: ignore[no-untyped-call]
        assert sr.grad is not None
        detailed, smooth = sr.grad.abs().sum((1, 2, 3)).tolist()
        pulls[name] = smooth / detailed
    assert pulls["mse"] == pytest.approx(0.1, rel=1e-3)
    assert pulls["psnr"] == pytest.approx(0.1 * (101 / 2), rel=1e-3)
