"""The weights in the package, and weights files anywhere: found, read about and verified without PyTorch.

`load`, `save` and `halo` need PyTorch and are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from superfine.weights.catalogue import DataSet, Entry, Figure, catalogue
from superfine.weights.find import Model, find, graph_path, verify
from superfine.weights.header import DTYPES

if TYPE_CHECKING:
    from superfine.weights.network_file import halo, load, save

__all__ = [
    "DTYPES",
    "DataSet",
    "Entry",
    "Figure",
    "Model",
    "catalogue",
    "find",
    "graph_path",
    "halo",
    "load",
    "save",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in ("halo", "load", "save"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from superfine.weights import network_file

    return getattr(network_file, name)
