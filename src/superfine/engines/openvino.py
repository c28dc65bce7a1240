"""OpenVINO: the engine of CPUs. Needs no PyTorch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superfine.engines.devices import absent
from superfine.engines.graphs import (
    graph_of_network,
    split,
    with_float32_end,
    with_layout,
    with_uint8_input,
    with_uint8_output,
)
from superfine.engines.int8 import quantized, read_int8
from superfine.engines.runtime import core, ov
from superfine.errors import EngineError, install_command

if TYPE_CHECKING:
    from superfine.nets import Network
    from superfine.weights import Model

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_FEATURES = {"fp32": (ov.Type.f32, np.float32), "bf16": (ov.Type.bf16, np.uint16), "fp16": (ov.Type.f16, np.float16)}
"""Type of the tensor between the two parts, and of the NumPy memory it lies in (NumPy has no bfloat16)."""

_SHAPES_KEPT = 4
"""Compiled window shapes an engine keeps at most; a picture has one, a folder of like pictures few."""

_MEMORY = 896 * 2**20
"""Bytes of activations an engine plans for, two thirds for the part at LR size, one for the strip being enlarged."""

_LIVE_ENLARGED = 2.4
"""Feature maps alive at once at SR size, for all networks: a convolution's result, the shuffled one, and the output."""


@dataclass
class _CompiledWindow:
    """Both parts compiled for one window: the first for all of it, the second for a strip of its rows."""

    features: Any
    reconstruction: Any
    middle: NDArray[Any]
    """The tensor between them, (h, w, channels)."""
    rows: int
    """LR rows of a strip."""


@dataclass(frozen=True)
class _SplitGraph:
    """A network's graph in two parts, with the numbers that a window is compiled by."""

    features: ov.Model
    reconstruction: ov.Model
    channels: int
    strip_halo: int

    @classmethod
    def of(cls, graph: ov.Model, wide: str) -> _SplitGraph:
        features, reconstruction, halo = split(graph)
        if wide != "fp32":
            reconstruction = with_float32_end(reconstruction)
        return cls(features, reconstruction, int(features.output(0).get_partial_shape()[1].get_length()), halo)


class OpenVINOEngine:
    """A network's graph on the CPU, compiled for each window shape it meets.

    Shapes are static: the compiler then lays memory out once and picks its kernels for that size. The
    graph runs in two parts, the one at LR size on the whole window and the one that enlarges on strips of
    its rows, so that memory is that of LR features plus one strip, and windows can be large: context at a
    window's sides is work thrown away.
    """

    name = "openvino"
    grid = 1

    def __init__(self, model: Model, scale: int, precision: str = "auto", device: str = "cpu") -> None:
        self._choose(precision, device)
        graph = _graph_of_model(model, scale)
        if self.precision == "int8":
            graph = quantized(graph, read_int8(model.weights, scale))
        self._graph = _SplitGraph.of(graph, self._float_precision)
        self._plan(model.feature_maps, scale, model.halo[scale])

    @classmethod
    def of_network(cls, network: Network, scale: int, precision: str = "auto") -> OpenVINOEngine:
        """Make an engine of a PyTorch network in memory; its numbers are copied."""
        from superfine.weights import network_file

        engine = cls.__new__(cls)
        engine._choose(precision, "cpu")
        engine._graph = _SplitGraph.of(graph_of_network(network, scale), engine._float_precision)
        halo = network_file.halo(network, scale)
        engine._plan(network.feature_maps, scale, halo)
        return engine

    def _choose(self, precision: str, device: str) -> None:
        self.device, self._runs_on = choose_device(device)
        self.precision = choose_precision(precision, self._runs_on)
        # int8 is for some convolutions; the others, and all sums, take the best wide type there is.
        self._float_precision = choose_precision("auto", self._runs_on) if precision == "int8" else self.precision
        self._options = {"INFERENCE_PRECISION_HINT": _HINTS[self._float_precision], "PERFORMANCE_HINT": "LATENCY"}

    def _plan(self, feature_maps: int, scale: int, halo: int) -> None:
        self.scale, self.halo = scale, halo
        map_bytes = self._graph.channels * np.dtype(_FEATURES[self._float_precision][1]).itemsize
        feature_bytes = map_bytes * feature_maps
        self.window = int(_MEMORY * 2 / 3 / feature_bytes)
        self._strip = int(_MEMORY / 3 / (map_bytes * _LIVE_ENLARGED * scale**2))
        self._strip_share = self._strip / self.window
        self.pixel_bytes = int(feature_bytes * 3 / 2)
        self._compiled_windows: OrderedDict[tuple[bool, int, int], _CompiledWindow] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, not clamped."""
        _, _, height, width = tile.shape
        out = np.empty((1, 3, height * self.scale, width * self.scale), np.float32)
        self._run(np.ascontiguousarray(tile), out, False, height, width)
        return out

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8; conversion, layout, clamp and rounding are part of the graph."""
        height, width, _ = tile.shape
        out = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        self._run(np.ascontiguousarray(tile[None]), out, True, height, width)
        return out

    def limit(self, window: int) -> None:
        """Keep to windows of at most so many LR pixels from now on, and strips in proportion."""
        if window != self.window:
            self.window, self._strip = window, int(window * self._strip_share)
            self.release()

    def release(self) -> None:
        """Drop every compiled shape, and with it the memory of its activations."""
        with self._lock:
            self._compiled_windows.clear()

    def _run(self, tile: NDArray[Any], out: NDArray[Any], uint8: bool, height: int, width: int) -> None:
        with self._lock:
            self._infer(self._compiled(uint8, height, width), tile, out, uint8, height)

    def _infer(self, ready: _CompiledWindow, tile: NDArray[Any], out: NDArray[Any], uint8: bool, height: int) -> None:
        ready.features.infer([tile], share_inputs=True)
        kind = _FEATURES[self._float_precision][0]
        for read, first, last in strips(height, ready.rows, self._graph.strip_halo):
            part = ready.middle[read : read + ready.rows]
            ready.reconstruction.set_input_tensor(ov.Tensor(part, ov.Shape([1, *part.shape]), kind))
            ready.reconstruction.infer()
            sr = ready.reconstruction.get_output_tensor(0).data[0]
            keep = slice((first - read) * self.scale, (last - read) * self.scale)
            into = slice(first * self.scale, last * self.scale)
            if uint8:
                out[into] = sr[keep]
            else:
                out[0, :, into] = sr[:, keep]

    def _compiled(self, uint8: bool, height: int, width: int) -> _CompiledWindow:
        key = (uint8, height, width)
        if key not in self._compiled_windows:
            self._make_room(height * width)
            self._compiled_windows[key] = self._compile(uint8, height, width)
        self._compiled_windows.move_to_end(key)
        return self._compiled_windows[key]

    def _make_room(self, pixels: int) -> None:
        """Drop the shapes longest unused, so that all together stay within the memory planned for one window."""
        while self._compiled_windows:
            held = sum(height * width for _, height, width in self._compiled_windows)
            if len(self._compiled_windows) < _SHAPES_KEPT and held + pixels <= self.window:
                return
            self._compiled_windows.popitem(last=False)

    def _compile(self, uint8: bool, height: int, width: int) -> _CompiledWindow:
        kind, memory = _FEATURES[self._float_precision]
        rows = min(height, max(2 * self._graph.strip_halo + 1, self._strip // width))
        models = self._compile_parts(uint8, height, width, rows)
        features, reconstruction = (model.create_infer_request() for model in models)
        middle = np.empty((height, width, self._graph.channels), memory)
        features.set_output_tensor(ov.Tensor(middle, ov.Shape([1, *middle.shape]), kind))
        return _CompiledWindow(features, reconstruction, middle, rows)

    def _compile_parts(self, uint8: bool, height: int, width: int, rows: int) -> list[ov.CompiledModel]:
        """Compile the features of a whole window, and the reconstruction of a strip of `rows` of its rows."""
        kind, cut = _FEATURES[self._float_precision][0], self._graph
        features = cut.features.clone()
        features.reshape([1, 3, height, width])
        features = with_layout(features, output=kind)
        strip = cut.reconstruction.clone()
        strip.reshape([1, cut.channels, rows, width])
        strip = with_layout(strip, input=kind)
        parts = [with_uint8_input(features), with_uint8_output(strip)] if uint8 else [features, strip]
        return [core().compile_model(part, self._runs_on, self._options) for part in parts]


def strips(height: int, rows: int, halo: int) -> list[tuple[int, int, int]]:
    """List (first row read, first row kept, end of the rows kept) of strips of `rows` rows that cover `height`.

    All strips have one size and lie inside; what each keeps is `halo` rows from its ends, except at the
    window's own.
    """
    if rows >= height:
        return [(0, 0, height)]
    step = rows - 2 * halo
    reads = [*range(0, height - rows, step), height - rows]
    cuts = [0, *(read + halo for read in reads[1:]), height]
    return [(read, cuts[i], cuts[i + 1]) for i, read in enumerate(reads)]


def choose_device(device: str) -> tuple[str, str]:
    """Give our name of a device and OpenVINO's: ("cpu", "CPU"), or ("gpu:1", "GPU.1") for the second Intel GPU.

    Raises EngineError for a GPU that is not there.
    """
    if device in ("auto", "cpu"):
        return "cpu", "CPU"
    gpus = [each for each in core().available_devices if each.startswith("GPU")]
    number = int(device.partition(":")[2] or 0)
    if number >= len(gpus):
        raise absent(device)
    return f"gpu:{number}", gpus[number]


def choose_precision(precision: str, runs_on: str = "CPU") -> str:
    """Take for "auto" bf16 where the CPU computes in it, fp16 on a GPU, otherwise fp32.

    runs_on: OpenVINO's name of the device. Raises EngineError for a precision it lacks.
    """
    able = core().get_property(runs_on, "OPTIMIZATION_CAPABILITIES")
    if precision == "auto" and runs_on != "CPU":
        return "fp16" if "FP16" in able else "fp32"
    if precision == "auto":
        # The plugin lists BF16 wherever it can run it; its own default says where it is worth while.
        native = "BF16" in able and core().get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.bf16
        return "bf16" if native else "fp32"
    wanted = precision.upper()
    if wanted not in able:
        have = ", ".join(each for each in ("fp32", "bf16", "fp16", "int8") if each.upper() in able)
        raise EngineError(f"this {runs_on} has no {precision}: choose one of auto, {have}")
    return precision


def _graph_of_model(model: Model, scale: int) -> ov.Model:
    if scale in model.graphs:
        return core().read_model(model.graphs[scale])
    if find_spec("torch") is None:
        raise EngineError(
            f"{model.name!r} has no graph for x{scale}, and PyTorch, which could make one, is not installed: "
            f"{install_command('torch')}, or run `superfine export` where it is"
        )
    from superfine.weights import network_file

    return graph_of_network(network_file.load(model.weights), scale)
