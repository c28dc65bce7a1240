"""Two names for every tensor: the authors' (upstream), which each network knows, and ours, those of its modules."""

from __future__ import annotations

import torch

from superfine.errors import ModelError
from superfine.nets import Network, NetworkConfig, build, network_of
from superfine.nets.layers import RGB_MEAN

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


def upstream_state(network: Network) -> dict[str, torch.Tensor]:
    """Give a network's values under the authors' names, the mean among them. Raises ModelError where there are none."""
    config = network.config
    table = upstream_keys(config, parallel=len(config.scales) > 1)
    if not table:
        raise ModelError(f"{network.title} has no names but superfine's: export it as superfine, onnx or another")
    state = {theirs: network.state_dict()[ours].clone() for theirs, ours in table.items()}
    for layer, sign in (("sub_mean", -1), ("add_mean", 1)):
        state[f"{layer}.shifter.weight"] = torch.eye(3).view(3, 3, 1, 1)
        state[f"{layer}.shifter.bias"] = sign * torch.tensor(RGB_MEAN)
    return state


def our_keys(config: NetworkConfig) -> dict[str, str]:
    """Translate the keys of files that already use our names: every key is its own translation."""
    return {key: key for key in shapes_of(config)}


def shapes_of(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Give our key → shape for a network of `config`; holds no memory, however large the network."""
    with torch.device("meta"):
        network = build(config)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}
