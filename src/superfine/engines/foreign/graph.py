"""ONNX graphs of other programs in a runtime: OpenVINO, or ONNX Runtime."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from superfine.engines.foreign.onnx_file import check_onnx
from superfine.errors import EngineError, ModelError

Array = NDArray[Any]
Shape = tuple[int | None, ...]
"""Sides of an input; None for one that may vary."""

_TYPES: dict[str, Any] = {
    "float": np.float32,
    "float32": np.float32,
    "f32": np.float32,
    "float16": np.float16,
    "f16": np.float16,
}
_TYPES |= {"uint8": np.uint8, "u8": np.uint8}


class Graph(Protocol):
    """A graph of one input and one output, ready to run."""

    runtime: str
    precision: str
    shape: Shape
    dtype: Any
    """NumPy type of the input."""

    def run(self, values: Array) -> Array: ...

    def free(self) -> bool:
        """Let a graph made for one height and width take any; False where that cannot be had."""
        ...


def open_graph(path: Path, runtime: str = "auto", precision: str = "auto") -> Graph:
    """Open a graph; "auto" takes OpenVINO, and ONNX Runtime where OpenVINO cannot read it and that is installed.

    Raises CheckpointError for a file that is damaged, EngineError if no runtime reads it, ModelError if it is no graph
    of one picture in and one out.
    """
    check_onnx(path)
    if runtime == "onnxruntime":
        return OnnxRuntimeGraph(path, precision)
    try:
        return OpenVINOGraph(path, precision)
    except EngineError as error:
        if runtime == "openvino" or find_spec("onnxruntime") is None:
            raise
        try:
            return OnnxRuntimeGraph(path, precision)
        except EngineError:
            raise error from None  # of the two that failed, OpenVINO says it in plainer words


class OpenVINOGraph:
    """A graph in OpenVINO, on the CPU; one compilation serves every size."""

    runtime = "openvino"

    def __init__(self, path: Path, precision: str) -> None:
        from superfine.engines.openvino import choose_precision
        from superfine.engines.runtime import core

        self.precision = "fp32" if precision == "auto" else choose_precision(precision)
        if self.precision == "int8":
            raise EngineError("an ONNX graph of another program runs in fp32, bf16 or fp16, not int8")
        try:
            self._model = core().read_model(path)
        except Exception as error:  # OpenVINO raises RuntimeErrors, of many lines
            raise EngineError(f"OpenVINO cannot read {path}: {reason(error)}") from error
        ends = [[each.get_any_name() for each in side] for side in (self._model.inputs, self._model.outputs)]
        check_ends(path, *ends)
        given = self._model.input(0)
        self.dtype = input_type(path, given.get_element_type().get_type_name())
        self.shape = tuple(None if side.is_dynamic else side.get_length() for side in _sides(path, given))
        self._path, self._lock, self._request = path, threading.Lock(), self._compile()

    def run(self, values: Array) -> Array:
        """Run the graph once. Raises RuntimeError for a size that it cannot take."""
        with self._lock:
            result: Array = self._request.infer([np.ascontiguousarray(values)])[0]
            return result.copy()

    def free(self) -> bool:
        """Let height and width vary, in NCHW or NHWC as the fixed channels say."""
        fixed = [-1 if side is None else side for side in self.shape]
        across = (1, 2) if fixed[3] in (1, 3) and fixed[1] not in (1, 3) else (2, 3)
        wanted = [-1 if axis in across else side for axis, side in enumerate(fixed)]
        before = [side if side >= 0 else -1 for side in fixed]
        try:
            self._model.reshape(wanted)
            self._request = self._compile()
            sides = [11 if axis == across[0] else 14 if axis == across[1] else abs(s) for axis, s in enumerate(fixed)]
            self.run(np.zeros(sides, self.dtype))
        except RuntimeError:
            self._model.reshape(before)
            self._request = self._compile()
            return False
        self.shape = tuple(None if side < 0 else side for side in wanted)
        return True

    def _compile(self) -> Any:
        from superfine.engines.runtime import core

        hint = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[self.precision]
        try:
            compiled = core().compile_model(self._model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot compile {self._path}: {reason(error)}") from error
        return compiled.create_infer_request()


class OnnxRuntimeGraph:
    """A graph in ONNX Runtime, on the CPU, in float32."""

    runtime, precision = "onnxruntime", "fp32"

    def __init__(self, path: Path, precision: str) -> None:
        from superfine.engines.onnxruntime import open_session

        if precision not in ("auto", "fp32"):
            raise EngineError(f"ONNX Runtime computes in fp32 on CPUs, not {precision}: choose auto or fp32")
        self._session = open_session(path)
        given, results = self._session.get_inputs(), self._session.get_outputs()
        check_ends(path, [each.name for each in given], [each.name for each in results])
        self._name = given[0].name
        self.dtype = input_type(path, given[0].type.removeprefix("tensor(").rstrip(")"))
        self.shape = tuple(side if isinstance(side, int) else None for side in given[0].shape)
        if len(self.shape) != 4:
            raise ModelError(f"{path} is no super-resolution graph: its input has {len(self.shape)} axes, wanted 4")

    def run(self, values: Array) -> Array:
        """Run the graph once. Raises RuntimeError for a size that it cannot take."""
        try:
            result: Array = self._session.run(None, {self._name: np.ascontiguousarray(values)})[0]
        except Exception as error:  # ONNX Runtime's errors share no class of their own
            raise RuntimeError(reason(error)) from error
        return result

    def free(self) -> bool:
        """ONNX Runtime runs a graph as it was made."""
        return False


def check_ends(path: Path, inputs: list[str], outputs: list[str]) -> None:
    """Raise ModelError unless a graph has one input and one output."""
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{path} is no super-resolution graph: it has the inputs {', '.join(inputs[:3]) or 'none'} and the outputs "
            f"{', '.join(outputs[:3]) or 'none'}; wanted one picture in and one out"
        )


def input_type(path: Path, name: str) -> Any:
    """Return NumPy's type of an input. Raises ModelError for one that no picture has."""
    if name not in _TYPES:
        raise ModelError(f"{path} is no super-resolution graph: its input holds {name}, wanted floats or uint8")
    return _TYPES[name]


def reason(error: BaseException) -> str:
    """Find the line of a runtime's many that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [
        line
        for line in lines
        if line and not line.startswith(("Exception from", "Loading input model", "Check '", "While validating"))
    ]
    text = (telling or lines or [type(error).__name__])[0]
    return text if len(text) <= 200 else text[:197] + "..."


def _sides(path: Path, given: Any) -> list[Any]:
    shape = given.get_partial_shape()
    if shape.rank.is_dynamic or shape.rank.get_length() != 4:
        axes = "any number of" if shape.rank.is_dynamic else shape.rank.get_length()
        raise ModelError(f"{path} is no super-resolution graph: its input has {axes} axes, wanted 4")
    return list(shape)
