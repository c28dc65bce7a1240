"""Recognise the network of a state dict from its keys and shapes alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from superfine.nets import NETWORKS, Network, NetworkConfig, network_of
from superfine.nets.base import Shapes, kernel_shape
from superfine.nets.layers import SCALES
from superfine.weights.header import UnknownNetworkError
from superfine.weights.key_names import MEAN_KEYS, our_keys, shapes_of, upstream_keys

_MOST = 4096
"""Largest width or depth believed."""


@dataclass(frozen=True)
class Recognised:
    """The network that a state dict was found to be."""

    config: NetworkConfig
    names: str
    """The key names it uses: "upstream" or "superfine"."""
    table: dict[str, str]
    """Its key → our key."""
    missing: list[str]
    """Keys the network wants and the file lacks, in the file's own naming."""
    unexpected: list[str]
    """Keys the file has and the network does not know."""
    misshapen: list[str]
    """Tensors of the wrong shape, as "key 3x3, wanted 5x5"."""

    @property
    def network(self) -> str:
        """Key of nets.NETWORKS."""
        return network_of(self.config).name

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.misshapen)

    def complaint(self) -> str:
        """Say what does not fit, in one line; the first three of each kind."""
        title = network_of(self.config).__name__
        parts = [
            f"{kind} {listing(keys)}"
            for kind, keys in (
                ("it lacks", self.missing),
                ("it has unknown", self.unexpected),
                ("wrong shape:", self.misshapen),
            )
            if keys
        ]
        return f"looks like {title} {scales_text(self.config.scales)} ({self.names} names), but " + "; ".join(parts)


def recognise(shapes: Shapes) -> Recognised:
    """Find the network whose keys `shapes` (key → shape) resembles most, and how well it fits.

    Raises CheckpointError if it resembles no network, or has no upsampler to tell the scale from.
    """
    best: Recognised | None = None
    best_hits = 0
    for config, names, parallel in _candidates(shapes):
        table = upstream_keys(config, parallel=parallel) if names == "upstream" else our_keys(config)
        hits = sum(key in shapes for key in table)
        if hits > best_hits:
            best, best_hits = _compare(shapes, config, names, table), hits
    # a foreign network may share a name or two ("head.weight"); half the keys is a likeness
    if best is None or 2 * best_hits < len(best.table):
        known = " or ".join(map(_example, NETWORKS.values()))
        raise UnknownNetworkError(
            f"found {len(shapes)} tensors ({listing(list(shapes))}), which is no network known here: wanted {known}"
        )
    return best


def _example(network: type[Network]) -> str:
    """Name a network and the first two keys of its files: the authors', if there are any."""
    config = network.Config()
    return f"{network.__name__} ({', '.join(list(network.published_keys(config) or our_keys(config))[:2])}, ...)"


def scales_text(scales: tuple[int, ...]) -> str:
    """Write "x2, x3 and x4" for (2, 3, 4)."""
    names = [f"x{scale}" for scale in scales]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def listing(items: Sequence[str], most: int = 3) -> str:
    """List the first few of `items`, and how many more there are; a damaged file's keys may hold anything."""
    shown = ", ".join(_printable(item) for item in items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown


def _printable(text: str) -> str:
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return shown if len(shown) <= 100 else shown[:97] + "..."


def _compare(shapes: Shapes, config: NetworkConfig, names: str, table: dict[str, str]) -> Recognised:
    wanted = shapes_of(config)
    misshapen = [
        f"{key} is {_size(shapes[key])}, wanted {_size(wanted[ours])}"
        for key, ours in table.items()
        if key in shapes and tuple(shapes[key]) != wanted[ours]
    ]
    missing = [key for key in table if key not in shapes]
    known = table.keys() | (MEAN_KEYS if names == "upstream" else {"mean"})
    return Recognised(config, names, table, missing, [key for key in shapes if key not in known], misshapen)


def _candidates(shapes: Shapes) -> Iterable[tuple[NetworkConfig, str, bool]]:
    for names in ("upstream", "superfine"):
        scales, parallel = _upstream_scales(shapes) if names == "upstream" else _our_scales(shapes)
        for network in NETWORKS.values():
            sizes = network.sizes(shapes, published=names == "upstream")
            # Sizes that make no network, or one no machine holds (a forged file): compare with the paper's instead,
            # so that the report names the keys.
            try:
                config: NetworkConfig = network.Config(scales=scales, **(sizes if max(sizes.values()) <= _MOST else {}))
            except ValueError:
                config = network.Config(scales=scales)
            yield config, names, parallel


def _upstream_scales(shapes: Shapes) -> tuple[tuple[int, ...], bool]:
    """Find the scales an upstream file holds; and True if it names one branch for each."""
    parallel = tuple(s for s in SCALES if any(key.startswith(f"upsample.up{s}.") for key in shapes))
    if parallel:
        return parallel, True
    if any(key.startswith("upsample.up.body.2.") for key in shapes):
        return (4,), False
    out, width = kernel_shape(shapes, "upsample.up.body.0.weight")[:2]
    return ((3,) if width and out == 9 * width else (2,)), False


def _our_scales(shapes: Shapes) -> tuple[tuple[int, ...], bool]:
    scales = tuple(s for s in SCALES if any(key.startswith(f"upsampler.branches.x{s}.") for key in shapes))
    return scales or SCALES, True


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"
