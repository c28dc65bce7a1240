"""The project's own engine: whole networks in float32 by Winograd, on any CPU with AVX2, AVX-512 or NEON."""

from __future__ import annotations

import threading
from ctypes import c_float
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superfine.cores import cores
from superfine.engines.native_compile import Compiler
from superfine.engines.native_graph import Graph, graph_of_model, trace
from superfine.engines.native_program import GRID, Program
from superfine.errors import EngineError
from superfine.native.library import LayerSpec, MapSpec, absence, fast_int16, instructions, library

if TYPE_CHECKING:
    from superfine.nets import Network
    from superfine.weights import Model

_SR_PIXELS = 2**25
"""Pixels of the largest result a window is given."""

_MEMORY = 2**29
"""Bytes an engine plans for, for the rows between layers; wider windows are computed in strips of their columns."""

_OUT_OF_MEMORY = 1


class NativeEngine:
    """A network on the CPU, row by row through all its layers; any window shape, nothing to compile.

    Memory is a few rows of every layer, whatever the window's height. In int16 all convolutions but the head and
    the tail multiply numbers of 16 bits, on processors with AVX2; what they add to is float32.
    """

    name = "native"
    device = "cpu"
    grid = GRID

    def __init__(self, model: Model, scale: int, precision: str = "auto") -> None:
        self.precision = _choose(precision)
        self._build(graph_of_model(model, scale), scale)

    @classmethod
    def of_network(cls, network: Network, scale: int, precision: str = "auto") -> NativeEngine:
        """Make an engine of a PyTorch network in memory; its numbers are copied."""
        engine = cls.__new__(cls)
        engine.precision = _choose(precision)
        engine._build(trace(network, scale), scale)
        return engine

    def _build(self, graph: Graph, scale: int) -> None:
        found = library()
        assert found is not None
        self._library = found
        int16 = self.precision == "int16"
        program = Program(int(found.native_panel(int16)), int16)
        mean = Compiler(graph, program).mean
        self.scale, self.halo = scale, program.halo
        self.window = _SR_PIXELS // scale**2
        self.pixel_bytes = _MEMORY // self.window
        maps, layers = program.maps, program.layers
        self._network: int | None = found.native_network(
            (MapSpec * len(maps))(*maps), len(maps), (LayerSpec * len(layers))(*layers), len(layers),
            (c_float * 3)(*mean), scale, program.halo, int16,
        )  # fmt: skip
        if self._network is None:
            raise MemoryError("out of memory for the network's weights")
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if getattr(self, "_network", None) is not None:
            self._library.native_free(self._network)

    def run(self, tile: NDArray[np.float32], at: tuple[int, int] = (0, 0)) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, not clamped.

        at: where the first pixel lies between two lines of the grid, down and across, 0..3.
        """
        _, _, height, width = tile.shape
        out = np.empty((1, 3, height * self.scale, width * self.scale), np.float32)
        self._run(np.ascontiguousarray(tile, np.float32), out, False, height, width, at)
        return out

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8."""
        height, width, _ = tile.shape
        out = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        self._run(np.ascontiguousarray(tile), out, True, height, width)
        return out

    def limit(self, window: int) -> None:
        """Windows of at most so many LR pixels from now on, and rows between layers in proportion."""
        if window != self.window:
            self.window = window
            self.release()

    def release(self) -> None:
        """Give back the rows between layers; the next run takes them again."""
        self._library.native_release(self._network)

    def _run(
        self, tile: NDArray[Any], out: NDArray[Any], uint8: bool, height: int, width: int, at: tuple[int, int] = (0, 0)
    ) -> None:
        budget = self.window * self.pixel_bytes
        failure = self._library.native_run(
            self._network, tile.ctypes.data, out.ctypes.data, uint8, height, width, *at, cores(), budget
        )
        if failure == _OUT_OF_MEMORY:
            raise MemoryError(f"out of memory for a window of {width}x{height} pixels")
        if failure:
            raise AssertionError(f"engine 'native' got stuck in a window of {width}x{height} pixels")


def _choose(precision: str) -> str:
    """Take for "auto" int16 where the CPU is faster in it, otherwise fp32.

    int16 changes about a pixel in a hundred by one level of 255. Raises EngineError unless the engine can run here, in
    this precision.
    """
    if precision not in ("auto", "fp32", "int16"):
        raise EngineError(f"engine 'native' computes in fp32 or int16, not {precision}: choose auto, fp32 or int16")
    if why := absence():
        again = "" if library() else "install it again where a C++ compiler is (apt install g++), or "
        raise EngineError(f"engine 'native' cannot run, {why}: {again}choose another engine")
    if precision == "int16" and instructions(int16=True) is None:
        raise EngineError("engine 'native' computes in int16 on processors with AVX2, not here: choose auto or fp32")
    if precision == "auto":
        return "int16" if fast_int16() else "fp32"
    return precision
