"""Check that an exported graph is the network it came from, in both engines that read it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from superfine.engines.runtime import core
from superfine.errors import EngineError
from superfine.nets import Network

TOLERANCE = 1e-4
"""Largest difference allowed on values of 0..1, in float32: above rounding, and a fortieth of one level of 255."""

SHAPES = ((1, 3, 24, 24), (2, 3, 17, 31))
"""Shapes of the inputs tried: a square and two odd oblongs show a height, width or batch fixed by mistake."""


def check_parity(network: Network, graph: Path, scale: int) -> dict[str, float]:
    """Measure the largest absolute difference between `network` and the graph file in each engine installed.

    Raises EngineError if an engine cannot read the graph, or differs by more than TOLERANCE.
    """
    engines = {"openvino": _run_openvino}
    if find_spec("onnxruntime") is not None:
        engines["onnxruntime"] = _run_onnxruntime
    random = np.random.default_rng(0)
    inputs = [random.random(shape, dtype=np.float32) for shape in SHAPES]
    with torch.inference_mode():
        expected = [network(torch.from_numpy(lr), scale).numpy() for lr in inputs]
    differences = {}
    for name, run in engines.items():
        try:
            found = run(graph, inputs)
        except Exception as error:  # either engine raises kinds of its own, which all mean the same here
            raise EngineError(f"{name} cannot run {graph}: {str(error).strip().splitlines()[0]}") from error
        differences[name] = max(_difference(a, b) for a, b in zip(found, expected, strict=True))
        if not differences[name] <= TOLERANCE:
            raise EngineError(
                f"{graph} is not the network it came from: {name} differs by {differences[name]:.2g} at x{scale}, "
                f"wanted {TOLERANCE:.0e} or less; nothing was kept"
            )
    return differences


def _run_openvino(graph: Path, inputs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    # Without the hint a CPU that has bfloat16 computes in it, and the check would see its rounding.
    compiled = core().compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [compiled([lr])[0].copy() for lr in inputs]


def _run_onnxruntime(graph: Path, inputs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return [session.run(["sr"], {"lr": lr})[0] for lr in inputs]


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max())
