"""OpenVINO: the engine of CPUs. Needs no PyTorch."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8 as ops
from openvino.utils.decorators import custom_preprocess_function

from superfine.errors import EngineError

if TYPE_CHECKING:
    from superfine.nets import Network
    from superfine.weights import Model

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_SHAPES_KEPT = 4
"""Compiled window shapes an engine keeps; a picture has one, a folder of like pictures few."""
_STEPS = 2**20


@cache
def core() -> ov.Core:
    """The one OpenVINO runtime of the process; starting it loads the device plugins."""
    return ov.Core()


class OpenVINOEngine:
    """A network's graph on the CPU, compiled for each window shape it meets.

    Shapes are static: the compiler then lays memory out once and picks its kernels for that size.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, model: Model, scale: int, precision: str = "auto") -> None:
        self._set_up(_graph_of_model(model, scale), scale, model.halo[scale], precision)

    @classmethod
    def of_network(cls, network: Network, scale: int, precision: str = "auto") -> OpenVINOEngine:
        """An engine around a PyTorch network that is already in memory; a copy of its numbers is taken."""
        engine = cls.__new__(cls)
        engine._set_up(graph_of_network(network, scale), scale, -int(-network.receptive_radius(scale) // 1), precision)
        return engine

    def _set_up(self, graph: ov.Model, scale: int, halo: int, precision: str) -> None:
        self.scale, self.halo = scale, halo
        self.precision = choose_precision(precision)
        self._graph = graph
        self._ready: OrderedDict[tuple[bool, int, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, not clamped."""
        with self._lock:
            request = self._request(False, tile.shape[2], tile.shape[3])
            request.infer([np.ascontiguousarray(tile)], share_inputs=True)
            return request.get_output_tensor(0).data.copy()  # type: ignore[no-any-return]

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8; conversion, layout, clamp and rounding are part of the graph."""
        with self._lock:
            request = self._request(True, tile.shape[0], tile.shape[1])
            request.infer([np.ascontiguousarray(tile[None])], share_inputs=True)
            return request.get_output_tensor(0).data[0].copy()  # type: ignore[no-any-return]

    def release(self) -> None:
        """Drop every compiled shape, and with it the memory of its activations."""
        with self._lock:
            self._ready.clear()

    def _request(self, uint8: bool, height: int, width: int) -> Any:
        key = (uint8, height, width)
        if key not in self._ready:
            while len(self._ready) >= _SHAPES_KEPT:
                self._ready.popitem(last=False)
            graph = self._graph.clone()
            graph.reshape([1, 3, height, width])
            if self.precision != "fp32":
                graph = with_wide_end(graph)
            if uint8:
                graph = with_uint8_ends(graph)
            options = {"INFERENCE_PRECISION_HINT": _HINTS[self.precision], "PERFORMANCE_HINT": "LATENCY"}
            self._ready[key] = core().compile_model(graph, "CPU", options).create_infer_request()
        self._ready.move_to_end(key)
        return self._ready[key]


def with_wide_end(graph: ov.Model) -> ov.Model:
    """The graph with its result rounded to steps of 2^-20, which keeps that result in float32 under a bf16 hint.

    The plugin lets a last convolution write bf16 even where the graph ends in float32: eight bits for the
    picture itself, noise at 59 dB. It does not where a rounding is fused into the convolution, and one as
    fine as this changes no pixel. The power of two folds into the weights exactly.
    """
    build = ov.preprocess.PrePostProcessor(graph)

    @custom_preprocess_function  # type: ignore[untyped-decorator]
    def rounded(output: ov.Output) -> Any:
        steps = ops.round(ops.multiply(output, np.float32(_STEPS)), "half_to_even")
        return ops.multiply(steps, np.float32(1 / _STEPS))

    build.output().postprocess().custom(rounded)
    return build.build()


def with_uint8_ends(graph: ov.Model) -> ov.Model:
    """The graph with HWC uint8 0..255 at both ends in place of NCHW float 0..1 (batch of one in front).

    Input: / 255 after widening. Output: clamped, · 255, rounded half to even, narrowed. The clamp comes
    first so that the factor is not folded into the weights, where it would change their rounding.
    """
    build = ov.preprocess.PrePostProcessor(graph)
    build.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    build.input().preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    build.input().model().set_layout(ov.Layout("NCHW"))

    @custom_preprocess_function  # type: ignore[untyped-decorator]
    def quantize(output: ov.Output) -> Any:
        return ops.round(ops.multiply(ops.clamp(output, 0.0, 1.0), np.float32(255)), "half_to_even")

    build.output().model().set_layout(ov.Layout("NCHW"))
    build.output().postprocess().custom(quantize).convert_element_type(ov.Type.u8)
    build.output().tensor().set_layout(ov.Layout("NHWC"))
    return build.build()


def choose_precision(precision: str) -> str:
    """ "auto" → bf16 where the CPU computes in it, otherwise fp32. Raises EngineError for one it lacks."""
    able = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        # The plugin lists BF16 wherever it can run it; its own default says where it is worth while.
        native = "BF16" in able and core().get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.bf16
        return "bf16" if native else "fp32"
    wanted = precision.upper()
    if wanted not in able:
        have = ", ".join(each for each in ("fp32", "bf16", "fp16") if each.upper() in able)
        raise EngineError(f"this CPU has no {precision}: choose one of auto, {have}")
    return precision


def graph_of_network(network: Network, scale: int) -> ov.Model:
    """A PyTorch network as an OpenVINO graph, (1, 3, ?, ?) → (1, 3, ?, ?) float32."""
    import torch

    class AtScale(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network(x, scale)  # type: ignore[no-any-return]

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the converter's, about torch.jit, not the user's
        example = torch.zeros(1, 3, 24, 24)
        return ov.convert_model(AtScale().eval(), example_input=example, input=[ov.PartialShape([1, 3, -1, -1])])


def _graph_of_model(model: Model, scale: int) -> ov.Model:
    if scale in model.graphs:
        return core().read_model(model.graphs[scale])
    if find_spec("torch") is None:
        raise EngineError(
            f"{model.name!r} has no graph for x{scale}, and PyTorch, which could make one, is not installed: "
            "pip install 'superfine[torch]', or run `superfine export` where it is"
        )
    from superfine import checkpoints

    return graph_of_network(checkpoints.load(model.weights), scale)
