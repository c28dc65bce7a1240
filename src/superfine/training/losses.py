"""What a step makes small: two batches of pictures, NCHW RGB in 0..1, to one number."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PSNR_FLOOR = 1e-4
"""Mean squared error (40 dB) below which a patch counts for no more: a flat one could otherwise outweigh all."""


def charbonnier(sr: Tensor, hr: Tensor) -> Tensor:
    """L1, rounded off at 0.001."""
    return torch.sqrt((sr - hr) ** 2 + 1e-6).mean()


def psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """Falls as the mean of the patches' PSNR rises: log(1 + MSE / PSNR_FLOOR) of each patch, the mean of them.

    A benchmark's figure is the mean of pictures' PSNR, so an error in a smooth picture counts for more than one in a
    detailed picture; in MSE and L1 over all pixels it is the other way round.
    """
    return torch.log1p(((sr - hr) ** 2).mean((1, 2, 3)) / PSNR_FLOOR).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "charbonnier": charbonnier,
    "psnr": psnr,
}
