"""The networks, as PyTorch modules: the one source of truth every engine is compared with.

No file is read or written here; weights/ does that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from superfine.nets.cfsrcnn import CFSRCNN, CFSRCNNConfig
from superfine.nets.esrgcnn import ESRGCNN, ESRGCNNConfig

Network = ESRGCNN | CFSRCNN
NetworkConfig = ESRGCNNConfig | CFSRCNNConfig


@dataclass(frozen=True)
class NetworkKind:
    """One published network: its configuration class and its module."""

    config: type[ESRGCNNConfig] | type[CFSRCNNConfig]
    title: str


NETWORKS: dict[str, NetworkKind] = {
    "esrgcnn": NetworkKind(ESRGCNNConfig, "ESRGCNN (group convolutions, 2022)"),
    "cfsrcnn": NetworkKind(CFSRCNNConfig, "CFSRCNN (coarse to fine, 2021)"),
}
"""name → network; a new network is a line here."""


def build(config: NetworkConfig) -> Network:
    """The untrained network of a configuration (PyTorch's usual random start)."""
    return ESRGCNN(config) if isinstance(config, ESRGCNNConfig) else CFSRCNN(config)


def same_but_for_scales(one: NetworkConfig, other: NetworkConfig) -> bool:
    """Whether two configurations are of one network with one width and depth, whatever scales they have."""
    return replace(one, scales=other.scales) == other


def with_scales(network: Network, scales: tuple[int, ...]) -> Network:
    """The network with the upsampler branches of `scales` alone; its values are copied.

    Raises ValueError if `scales` is not an ascending choice of 2, 3, 4, KeyError if the network lacks one of them.
    """
    fewer = build(replace(network.config, scales=scales))
    values = network.state_dict()
    fewer.load_state_dict({name: values[name] for name in fewer.state_dict()})
    return fewer


def parameter_count(network: Network) -> int:
    """Trainable values; the papers' programs also count 24 fixed ones that hold the mean."""
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
    "parameter_count",
    "with_scales",
]
