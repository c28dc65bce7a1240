"""ONNX Runtime: the exported graphs on CPUs that OpenVINO does not serve, or where it is installed already."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superfine.engines.base import round_to_uint8, widen
from superfine.errors import EngineError, install_command

try:
    import onnxruntime
except ModuleNotFoundError as error:
    raise EngineError(
        f"engine 'onnxruntime' needs ONNX Runtime, which is not installed: {install_command('onnxruntime')}"
    ) from error

if TYPE_CHECKING:
    from pathlib import Path

    from superfine.weights import Model

_SR_PIXELS = 2**20
"""Pixels of the largest result a window is given."""

_SR_BYTES = 600
"""Activations take about so many for each pixel of the result."""


class ONNXRuntimeEngine:
    """A network's graph in ONNX Runtime, on the CPU, in float32; one session serves every window shape."""

    name = "onnxruntime"
    device = "cpu"
    grid = 1

    def __init__(self, model: Model, scale: int, precision: str = "auto") -> None:
        if scale not in model.graphs:
            raise EngineError(
                f"{model.name!r} has no graph for x{scale}, which ONNX Runtime needs: "
                f"make one with `superfine export {model.weights} -o FOLDER`, and pass the file it writes"
            )
        if precision not in ("auto", "fp32"):
            raise EngineError(f"ONNX Runtime computes in fp32 on CPUs, not {precision}: choose auto or fp32")
        self.precision = "fp32"
        self.scale, self.halo, self.window = scale, model.halo[scale], _SR_PIXELS // scale**2
        self.pixel_bytes = _SR_BYTES * scale**2
        self._graph = model.graphs[scale]
        self._lock = threading.Lock()
        self._session: Any = open_session(self._graph)

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, not clamped."""
        with self._lock:
            if self._session is None:
                self._session = open_session(self._graph)
            session = self._session
        return session.run(["sr"], {"lr": np.ascontiguousarray(tile)})[0]  # type: ignore[no-any-return]

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8."""
        return round_to_uint8(self.run(widen(tile)))

    def limit(self, window: int) -> None:
        """Keep to windows of at most so many LR pixels from now on."""
        self.window = window
        self.release()

    def release(self) -> None:
        """Close the session, and with it the memory it keeps for activations; the next run opens it again."""
        with self._lock:
            self._session = None


def open_session(graph: Path) -> Any:
    """Open a graph, on the CPU. Raises EngineError."""
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False  # it grows by doubling; the pattern planner alone is as fast
    options.log_severity_level = 3  # errors only: warnings would come out on a user's terminal
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no class of their own
        first = str(error).strip().splitlines()[0]
        raise EngineError(f"ONNX Runtime cannot read {graph}: {first}") from error
