"""The networks, as PyTorch modules: the one source of truth every engine is compared with.

No file is read or written here; weights/ does that.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from superfine.nets.base import Network, NetworkConfig
from superfine.nets.cfsrcnn import CFSRCNN, CFSRCNNConfig
from superfine.nets.esrgcnn import ESRGCNN, ESRGCNNConfig

NETWORKS: dict[str, type[Network]] = {network.name: network for network in (ESRGCNN, CFSRCNN)}
"""name → network; a new network is a name here."""


def build(config: NetworkConfig) -> Network:
    """Make the untrained network of a configuration (PyTorch's usual random start)."""
    return network_of(config)(config)


def network_of(config: NetworkConfig) -> type[Network]:
    """Find the class whose configuration this is."""
    return next(network for network in NETWORKS.values() if isinstance(config, network.Config))


def same_but_for_scales(one: NetworkConfig, other: NetworkConfig) -> bool:
    """Compare two configurations, whatever scales they have."""
    return type(one) is type(other) and replace(one, scales=other.scales) == other


def multiply_adds(network: Network, scale: int) -> int:
    """Count the multiplications of a pass for each LR pixel, on a picture of a few pixels."""
    side, weight = 8, network.head.weight
    picture = torch.zeros(1, 3, side, side, dtype=weight.dtype, device=weight.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(picture, scale)
    return int(counter.get_total_flops()) // (2 * side * side)


def with_scales(network: Network, scales: tuple[int, ...]) -> Network:
    """Copy a network with the upsampler branches of `scales` alone.

    Raises ValueError if `scales` is not an ascending choice of 2, 3, 4, KeyError if the network lacks one of them.
    """
    fewer = build(replace(network.config, scales=scales))
    values = network.state_dict()
    fewer.load_state_dict({name: values[name] for name in fewer.state_dict()})
    return fewer


def parameter_count(network: Network) -> int:
    """Count the trainable values; the papers' programs also count 24 fixed ones that hold the mean."""
    return sum(parameter.numel() for parameter in network.parameters())


__all__ = [
    "CFSRCNN",
    "ESRGCNN",
    "NETWORKS",
    "CFSRCNNConfig",
    "ESRGCNNConfig",
    "Network",
    "NetworkConfig",
    "build",
    "multiply_adds",
    "network_of",
    "parameter_count",
    "same_but_for_scales",
    "with_scales",
]
