"""The interpolator start: an untrained network that already enlarges pictures."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from superfine.images import files
from superfine.nets import CFSRCNN, ESRGCNN, CFSRCNNConfig, ESRGCNNConfig, Network, NetworkConfig, build
from superfine.nets.layers import RGB_MEAN
from superfine.nets.start import PAIRS, start_as_interpolator, start_at_random
from superfine.quality.protocols import PROTOCOLS, measure

MEAN = torch.tensor(RGB_MEAN, dtype=torch.float64).view(3, 1, 1)
CONFIGS: list[NetworkConfig] = [ESRGCNNConfig(), CFSRCNNConfig()]
NAMES = ["esrgcnn", "cfsrcnn"]


def untrained(config: NetworkConfig, *, alone: bool) -> Network:
    """A network at its interpolator start; `alone`: only the channels that carry the picture reach the tail."""
    network = build(config)
    start_as_interpolator(network, seed=3)
    if alone:
        with torch.no_grad():
            network.tail.weight[:, PAIRS:] = 0
    return network.eval()


def parabola(line: Tensor, scale: int) -> Tensor:
    """Quadratic interpolation along the last axis, by its definition: at every output sample, the value of the
    parabola through the three nearest input samples; outside the picture lies the mean, which is zero here."""
    padded = torch.nn.functional.pad(line, (1, 1))
    out = torch.empty(*line.shape[:-1], line.shape[-1] * scale, dtype=line.dtype)
    for place in range(out.shape[-1]):
        near = place // scale
        d = (place + 0.5) / scale - 0.5 - near
        left, middle, right = (padded[..., near + k] for k in range(3))
        out[..., place] = middle + (right - left) / 2 * d + (right - 2 * middle + left) / 2 * d * d
    return out


def enlarged(lr: Tensor, scale: int) -> Tensor:
    x = lr - MEAN
    for step in [2, 2] if scale == 4 else [scale]:
        x = parabola(parabola(x, step).transpose(-1, -2), step).transpose(-1, -2)
    return x + MEAN


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_what_carries_the_picture_is_a_quadratic_interpolation(config: NetworkConfig, scale: int) -> None:
    lr = torch.rand(1, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    network = untrained(config, alone=True)
    with torch.inference_mode():
        sr = network(lr, scale).double()
    assert torch.allclose(sr, enlarged(lr.double(), scale), atol=2e-6)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_the_other_channels_add_a_little_and_can_learn(config: NetworkConfig) -> None:
    lr = torch.rand(1, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    network = untrained(config, alone=False).train()
    for scale in (2, 3, 4):
        sr = network(lr, scale)
        assert 0 < (sr - enlarged(lr.double(), scale)).abs().max().item() < 0.2
        (sr - 0.5).abs().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


def test_esrgcnns_head_leaves_room_for_what_its_blocks_add() -> None:
    network = untrained(ESRGCNNConfig(), alone=False)
    assert isinstance(network, ESRGCNN)
    filled = network.head.weight.abs().amax(dim=(1, 2, 3)) > 0
    assert filled[:32].all() and not filled[32:].any()
    narrow = build(ESRGCNNConfig(width=8, distilled=4))
    start_as_interpolator(narrow, seed=3)  # the picture's six channels first, whatever the width
    assert (narrow.head.weight.abs().amax(dim=(1, 2, 3)) > 0).tolist() == [True] * 6 + [False] * 2


def test_cfsrcnn_hands_its_features_on_through_the_whole_chain() -> None:
    network = untrained(CFSRCNNConfig(), alone=False)
    assert isinstance(network, CFSRCNN)
    spread: list[float] = []
    for unit in network.extract:
        unit.register_forward_hook(lambda _m, _i, out: spread.append(out[:, PAIRS:].std().item()))
    with torch.inference_mode():
        network.features(torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0)))
    assert len(spread) == 16
    assert all(0.5 < after / before < 1.5 for before, after in itertools.pairwise(spread))
    assert 0.5 < spread[-1] / spread[0] < 3


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_the_start_is_decided_by_the_seed(config: NetworkConfig) -> None:
    first, again, other = build(config), build(config), build(config)
    start_as_interpolator(first, seed=1)
    start_as_interpolator(again, seed=1)
    start_as_interpolator(other, seed=2)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(first.head.weight, other.head.weight)
    start_at_random(first, seed=1)
    start_at_random(again, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_a_network_too_narrow_for_the_six_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="width >= 6, not 4"):
        start_as_interpolator(CFSRCNN(CFSRCNNConfig(width=4)), seed=0)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_untrained_it_gives_33_8_db_on_set5_x2(config: NetworkConfig, shared: Path) -> None:
    """Bicubic gives 33.64; the lead of the quadratic is known from the evidence the start was chosen by: 33.82."""
    network = untrained(config, alone=False)
    figures = []
    for path in sorted((shared / "data" / "benchmarks" / "Set5" / "x2").glob("*_HR.png")):
        hr, lr = (files.read(p).pixels for p in (path, path.with_name(path.name.replace("_HR", "_LR"))))
        x = torch.tensor(lr).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            sr = network(x, 2)[0].permute(1, 2, 0).numpy()
        figures.append(measure(sr, hr, 2, PROTOCOLS["standard"])["psnr"])
    assert len(figures) == 5
    assert np.mean(figures) == pytest.approx(33.8, abs=0.06)
