"""Find, describe and verify the weights in the package and weights files anywhere, without PyTorch."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from superfine.errors import EngineError, install_command
from superfine.weights.catalogue import DataSet, Entry, Figure, list_models
from superfine.weights.find import Model, find, graph_path, verify
from superfine.weights.header import DTYPES

if TYPE_CHECKING:
    from superfine.nets import Network

__all__ = [
    "DTYPES",
    "DataSet",
    "Entry",
    "Figure",
    "Model",
    "find",
    "graph_path",
    "list_models",
    "load_network",
    "verify",
]


def load_network(model: str | PathLike[str]) -> Network:
    """Load a network as a PyTorch module: float32, on the CPU, in evaluation mode.

        >>> network = superfine.load_network("esrgcnn")
        >>> sr = network(lr, 2)  # NCHW, RGB 0..1, at x2

    model: a shipped name, or the path of a weights file: ours, or what the authors' programs write for both networks.

    Raises ModelError for an unknown name, CheckpointError for a file that is missing, damaged or foreign, EngineError
    without PyTorch.
    """
    try:
        from superfine.weights import network_file
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise EngineError(f"a network needs PyTorch, which is not installed: {install_command('torch')}") from error
    return network_file.load(find(Path(model)).weights)
