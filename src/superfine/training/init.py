"""Start a network: at random, or as an interpolator (see nets/start.py)."""

from __future__ import annotations

import torch
from torch import nn

from superfine.nets import Network
from superfine.nets.start import PAIRS


def interpolator(network: Network, *, seed: int) -> None:
    """Initialise `network` in place as an interpolator; channels that do not carry the picture are drawn from `seed`.

    Raises ValueError below width 6.
    """
    if network.config.width < PAIRS:
        raise ValueError(f"the interpolator start needs width >= {PAIRS}, not {network.config.width}")
    with torch.no_grad():
        _draw(network, seed, he=network.he_start)
        network.start_as_interpolator()


def random(network: Network, *, seed: int) -> None:
    """Initialise `network` in place with PyTorch's usual start, from `seed`."""
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
