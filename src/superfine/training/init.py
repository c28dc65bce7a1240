"""How a network begins: at random, or as an interpolator.

Neither network has a skip from its input to its output, so a random start spends thousands of steps
on learning to copy the picture. The interpolator start carries the picture through six channels as
sign pairs that survive every ReLU: channel 2c holds relu(+x_c) and 2c+1 relu(-x_c), for c = R, G, B
with the mean taken off. The untrained network is then a quadratic interpolation (33.8 dB on Set5 x2),
and every other channel is free to learn what interpolation misses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from superfine.nets import CFSRCNN, ESRGCNN, Network
from superfine.nets.layers import Upsampler

PAIRS = 6
"""Channels that carry the picture: a positive and a negative one for R, G and B."""

TAIL_GAIN = {"esrgcnn": 0.1, "cfsrcnn": 0.003}
"""What the untrained channels may add to the picture at the tail. CFSRCNN's deep sum is louder."""

NOISE = 0.1
"""CFSRCNN: the random part of a kernel in the chain, as a share of He's draw, beside its centre tap."""


def interpolator(network: Network, *, seed: int) -> None:
    """Initialise `network` in place as an interpolator. Raises ValueError below width 6.

    The channels that do not carry the picture start at random from `seed`: PyTorch's usual draw for
    ESRGCNN, whose blocks have skips. CFSRCNN is a chain of 32 convolutions without one: there every
    kernel hands its channel on by a centre tap (Zagoruyko and Komodakis, "DiracNets", 2017) with a
    little of He's draw beside it. With the draw alone, training puts the deep units out.
    """
    if network.config.width < PAIRS:
        raise ValueError(f"the interpolator start needs width >= {PAIRS}, not {network.config.width}")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                _random(module, generator, he=isinstance(network, CFSRCNN))
        _head(network.head.weight)
        _upsampler(network.upsampler, gain=0.5 if isinstance(network, CFSRCNN) else 1.0)
        if isinstance(network, ESRGCNN):
            for block in network.blocks:
                # A ReLU follows conv6: all-zero rows carry the picture untouched, but never learn;
                # so only the picture's rows are zero.
                conv6 = block.conv6
                assert isinstance(conv6, nn.Conv2d)
                conv6.weight[:PAIRS] = 0
            # Channels the head leaves empty are the blocks' to write in.
            network.head.weight[max(PAIRS, network.config.width // 2) :] = 0
            _pass_through(network.fuse.weight)
        else:
            for conv in (*network.compress, *network.extract, *network.enhance, *network.refine):
                assert isinstance(conv, nn.Conv2d)
                _hand_on(conv.weight)
            # The sum of all units comes in here, about so many times what one of them hands on.
            for first in network.enhance[:1]:
                assert isinstance(first, nn.Conv2d)
                first.weight /= len(network.extract) + 1
            for conv in (*network.extract, network.gather):
                assert isinstance(conv, nn.Conv2d)
                conv.weight[:PAIRS] = 0  # f0 alone carries the picture
            for conv in (*network.enhance, *network.refine):
                assert isinstance(conv, nn.Conv2d)
                _pass_through(conv.weight)
        _tail(network.tail.weight, TAIL_GAIN[network.name])


def random(network: Network, *, seed: int) -> None:
    """PyTorch's usual start, from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                _random(module, generator, he=False)


def _random(conv: nn.Conv2d, generator: torch.Generator, *, he: bool) -> None:
    fan_in = conv.weight[0].numel()
    # Uniform in ±bound: 1/sqrt(fan_in) is PyTorch's own, sqrt(6/fan_in) keeps the variance through ReLUs.
    bound = (6 / fan_in) ** 0.5 if he else fan_in**-0.5
    conv.weight.uniform_(-bound, bound, generator=generator)
    if conv.bias is not None:
        conv.bias.zero_()


def _head(weight: Tensor) -> None:
    weight[:PAIRS] = 0
    for c in range(3):
        weight[2 * c, c, 1, 1] = 1
        weight[2 * c + 1, c, 1, 1] = -1


def _hand_on(weight: Tensor) -> None:
    """Centre taps from the last inputs, one for each output, beside what is left of the random draw."""
    outputs, inputs, height, width = weight.shape
    weight *= NOISE
    weight[:, inputs - outputs :, height // 2, width // 2] += torch.eye(outputs)


def _pass_through(weight: Tensor) -> None:
    weight[:PAIRS] = 0
    for k in range(PAIRS):
        weight[k, k, 1, 1] = 1


def _tail(weight: Tensor, gain: float) -> None:
    weight *= gain
    weight[:, :PAIRS] = 0
    for c in range(3):
        weight[c, 2 * c, 1, 1] = 1
        weight[c, 2 * c + 1, 1, 1] = -1


def _phase(step: int, k: int) -> Tensor:
    """Weights of the neighbours at -1, 0, +1 for output phase k of `step`: Lagrange's parabola at offset d."""
    d = (k + 0.5) / step - 0.5
    return torch.tensor([d * (d - 1) / 2, 1 - d * d, d * (d + 1) / 2])


def _upsampler(upsampler: Upsampler, *, gain: float) -> None:
    for branch in upsampler.branches.values():
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
