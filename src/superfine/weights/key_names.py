"""Two names for every tensor: the authors' (upstream), which each network knows, and ours, those of its modules."""

from __future__ import annotations

import torch

from superfine.nets import NetworkConfig, build, network_of

MEAN_KEYS = {"sub_mean.shifter.weight", "sub_mean.shifter.bias", "add_mean.shifter.weight", "add_mean.shifter.bias"}
"""The picture's mean as 1x1 convolutions: fixed values, which our networks keep in code, so a file may lack them."""


def upstream_keys(config: NetworkConfig, *, parallel: bool) -> dict[str, str]:
    """Upstream key → our key, for every tensor of the network but the mean.

    `parallel` names the all-scale upsamplers (`up2`, `up3`, `up4`); otherwise the one-scale `up`.
    """
    table = network_of(config).published_keys(config)
    if not table:
        return {}
    for scale in config.scales:
        branch = f"up{scale}" if parallel else "up"
        for step in range(2 if scale == 4 else 1):
            # a pixel shuffle stands after every convolution, hence body.0 and body.2
            for part in ("weight", "bias"):
                theirs = f"upsample.{branch}.body.{2 * step}.{part}"
                table[theirs] = f"upsampler.branches.x{scale}.{step}.{part}"
    return table


def our_keys(config: NetworkConfig) -> dict[str, str]:
    """Translate the keys of files that already use our names: every key is its own translation."""
    return {key: key for key in shapes_of(config)}


def shapes_of(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Give our key → shape for a network of `config`; holds no memory, however large the network."""
    with torch.device("meta"):
        network = build(config)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}
