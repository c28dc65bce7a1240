"""Write any checkpoint as NAME.safetensors and its graphs, checked before they get their names."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from superfine.errors import CheckpointError, ModelError
from superfine.export.graph import make_graph
from superfine.export.parity import check_parity
from superfine.nets import Network
from superfine.weights import graph_path, network_file
from superfine.weights.header import read_header


@dataclass(frozen=True)
class Exported:
    """The files of an export, and how exact its graphs are."""

    weights: Path
    graphs: dict[int, Path]
    """scale → ONNX graph."""
    differences: dict[int, dict[str, float]]
    """scale → engine → largest difference from the PyTorch network, on values of 0..1."""


def export(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    scales: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a checkpoint of any supported kind as `folder`/NAME.safetensors with NAME.x2.onnx ... beside it.

    `name` defaults to the checkpoint's stem, `scales` to all it has. Graphs are compared with the PyTorch network, its
    weights rounded to `dtype`, in every engine installed, before anything appears in the folder.

    Raises CheckpointError (checkpoint unreadable, or files in the way without `overwrite`), ModelError (a scale it
    lacks), EngineError (a graph that is not the network).
    """
    source, folder = Path(checkpoint), Path(folder)
    network = network_file.load(source)
    chosen = tuple(scales) if scales else network.config.scales
    if lacking := [scale for scale in chosen if scale not in network.config.scales]:
        have = ", ".join(f"x{scale}" for scale in network.config.scales)
        raise ModelError(f"{source} has no x{lacking[0]}: choose from {have}")
    weights = folder / f"{name or source.stem}.safetensors"
    targets = [weights, *(graph_path(weights, scale) for scale in chosen)]
    if not overwrite and (existing := [target for target in targets if target.exists()]):
        raise CheckpointError(f"{existing[0]} is there already: choose another folder, or overwrite it (--overwrite)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as work:
            differences = _write(network, Path(work) / weights.name, chosen, dtype, metadata)
            for target in targets:
                (Path(work) / target.name).replace(target)
    except OSError as error:
        raise CheckpointError(f"cannot write into {folder}: {error.strerror or error}") from error
    return Exported(weights, {scale: graph_path(weights, scale) for scale in chosen}, differences)


def _write(
    network: Network, weights: Path, scales: Sequence[int], dtype: torch.dtype, metadata: Mapping[str, str] | None
) -> dict[int, dict[str, float]]:
    """Write weights and graphs; return how far each engine is from the network as it was written."""
    network_file.save(network, weights, dtype=dtype, metadata=metadata)
    rounded, header = network_file.load(weights), read_header(weights)
    differences = {}
    for scale in scales:
        graph = graph_path(weights, scale)
        graph.write_bytes(make_graph(rounded, scale, weights.name, header).SerializeToString(deterministic=True))
        differences[scale] = check_parity(rounded, graph, scale)
    return differences
