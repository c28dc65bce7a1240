"""Start a network: at random, or as an interpolator, by kernels that carry the picture through it.

Neither paper's network has a skip from its input to its output, so a random start spends thousands of steps on
learning to copy the picture. The interpolator start carries the picture through six channels as sign pairs that
survive every ReLU: channel 2c holds relu(+x_c) and 2c+1 relu(-x_c), for c = R, G, B with the mean taken off. The
untrained network is then a quadratic interpolation (33.8 dB on Set5 x2), and every other channel is free to learn
what interpolation misses. The functions change a network or a kernel in place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from superfine.nets.base import Network
from superfine.nets.layers import Upsampler

PAIRS = 6
"""Channels that carry the picture: a positive and a negative one for R, G and B."""

NOISE = 0.1
"""The random part of a kernel that hands its channels on, as a share of its draw, beside the centre tap."""


def start_as_interpolator(network: Network, *, seed: int) -> None:
    """Initialise a network in place as an interpolator; channels that do not carry the picture are drawn from `seed`.

    Raises ValueError below width 6.
    """
    if network.config.width < PAIRS:
        raise ValueError(f"the interpolator start needs width >= {PAIRS}, not {network.config.width}")
    with torch.no_grad():
        _draw(network, seed, he=network.he_start)
        network.start_as_interpolator()


def start_at_random(network: Network, *, seed: int) -> None:
    """Initialise a network in place with PyTorch's usual start, from `seed`."""
    with torch.no_grad():
        _draw(network, seed, he=False)


def _draw(network: Network, seed: int, *, he: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            # Uniform in ±bound: 1/sqrt(fan_in) is PyTorch's own, sqrt(6/fan_in) keeps the variance through ReLUs.
            bound = (6 / fan_in) ** 0.5 if he else fan_in**-0.5
            module.weight.uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias.zero_()


def head(weight: Tensor) -> None:
    """Split the picture into its sign pairs. weight: (outputs, 3, 3, 3)."""
    weight[:PAIRS] = 0
    for c in range(3):
        weight[2 * c, c, 1, 1] = 1
        weight[2 * c + 1, c, 1, 1] = -1


def hand_on(weight: Tensor) -> None:
    """Give each output a centre tap from one of the last inputs, beside a little of the random draw.

    Zagoruyko and Komodakis, "DiracNets", 2017: with the draw alone, training puts a chain of 32 convolutions out.
    """
    outputs, inputs, height, width = weight.shape
    weight *= NOISE
    weight[:, inputs - outputs :, height // 2, width // 2] += torch.eye(outputs)


def pass_through(weight: Tensor) -> None:
    """Hand the six channels on untouched."""
    weight[:PAIRS] = 0
    for k in range(PAIRS):
        weight[k, k, 1, 1] = 1


def tail(weight: Tensor, *, gain: float) -> None:
    """Join the sign pairs to the picture. gain: what the other channels may add, as a share of their draw."""
    weight *= gain
    weight[:, :PAIRS] = 0
    for c in range(3):
        weight[c, 2 * c, 1, 1] = 1
        weight[c, 2 * c + 1, 1, 1] = -1


def _phase(step: int, k: int) -> Tensor:
    """Weigh the neighbours at -1, 0, +1 for output phase k of `step`: Lagrange's parabola at offset d."""
    d = (k + 0.5) / step - 0.5
    return torch.tensor([d * (d - 1) / 2, 1 - d * d, d * (d + 1) / 2])


def upsampler(module: Upsampler, *, gain: float) -> None:
    """Interpolate the sign pairs. gain: 1, or 1/2 where two inputs that both hold the picture are summed."""
    for branch in module.branches.values():
        assert isinstance(branch, nn.ModuleList)
        for stage, conv in enumerate(branch):
            assert isinstance(conv, nn.Conv2d)
            step = round((conv.out_channels // conv.in_channels) ** 0.5)
            # Between x4's two stages stands no ReLU: both channels of a pair hold the signed picture
            # there, and their difference counts it twice.
            amount = gain if stage == 0 else 0.5
            conv.weight[: PAIRS * step * step] = 0
            for dy in range(step):
                for dx in range(step):
                    kernel = amount * torch.outer(_phase(step, dy), _phase(step, dx))
                    for k in range(PAIRS):
                        row = k * step * step + dy * step + dx  # the order PixelShuffle reads them in
                        sign = 1 if k % 2 == 0 else -1
                        conv.weight[row, k - k % 2] = sign * kernel
                        conv.weight[row, k - k % 2 + 1] = -sign * kernel
