"""Find the model that a user names, ours or another program's."""

from __future__ import annotations

from pathlib import Path

from superfine.engines.foreign.engine import ForeignEngine, Picture
from superfine.engines.foreign.graph import Graph, open_graph
from superfine.engines.foreign.probe import Ends, probe
from superfine.errors import EngineError
from superfine.weights.find import Model, locate, model_of
from superfine.weights.header import UnknownNetworkError

HEAVY_BYTES = 16_000_000
"""Size of a graph that takes seconds for a window: of four million values in float32."""


def find_model(name_or_path: str | Path) -> Model:
    """Find a model: shipped, a weights file of ours or the authors', an ONNX graph, or what spandrel knows.

    Raises as `weights.find` does; ModelError for a model that enlarges no pictures, EngineError where what reads it is
    not installed.
    """
    path, name = locate(name_or_path)
    if path.suffix.lower() == ".onnx":
        ends = probe(open_graph(path), path)
        return Model(name, "ONNX", (ends.scale,), path, {}, {}, kind="onnx")
    try:
        return model_of(path, name)
    except UnknownNetworkError:
        from superfine.engines.foreign.spandrel_model import describe  # needs torch, as reading the file did

        return describe(path, name)


def open_foreign(model: Model, engine: str, precision: str, device: str) -> ForeignEngine:
    """Open a model that is not ours. Raises EngineError for an engine that cannot run it."""
    if model.kind == "spandrel":
        if engine not in ("auto", "pytorch"):
            raise EngineError(f"{model.name!r} is a model of spandrel, which runs in PyTorch, not in {engine}")
        from superfine.engines.foreign.spandrel_model import open_spandrel

        return open_spandrel(model, precision, device)
    if engine not in ("auto", "openvino", "onnxruntime"):
        raise EngineError(f"{model.name!r} is an ONNX graph, for engine openvino or onnxruntime, not {engine}")
    if device not in ("auto", "cpu"):
        raise EngineError(f"{model.name!r} is an ONNX graph, which runs on the CPU, not on {device}")
    graph = open_graph(model.weights, engine, precision)
    ends = probe(graph, model.weights)
    return ForeignEngine(
        _GraphBackend(graph, ends),
        model.name,
        ends.scale,
        channels=ends.channels,
        multiple=ends.multiple,
        side=ends.side,
        heavy=model.weights.stat().st_size > HEAVY_BYTES,
    )


class _GraphBackend:
    """A graph with known ends, as a backend."""

    device = "cpu"

    def __init__(self, graph: Graph, ends: Ends) -> None:
        self.name, self.precision = graph.runtime, graph.precision
        self._graph, self._ends = graph, ends

    def run(self, tile: Picture) -> Picture:
        """NCHW float32 0..1 → NCHW float32."""
        return self._ends.feed(self._graph, tile)

    def release(self) -> None:
        """Keep the compiled graph: its activations are the runtime's to give back."""
