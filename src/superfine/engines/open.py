"""Choose an engine and open it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from superfine.engines.base import Engine
from superfine.engines.devices import check_device, engine_on_gpu
from superfine.errors import EngineError, ModelError

if TYPE_CHECKING:
    from superfine.weights import Model

ENGINES = ("auto", "native", "openvino", "onnxruntime", "pytorch", "ncnn", "nearest")
PRECISIONS = ("auto", "fp32", "tf32", "int16", "bf16", "fp16", "int8")


def open_engine(
    model: Model | None, scale: int, engine: str = "auto", precision: str = "auto", device: str = "auto"
) -> Engine:
    """Open the engine that runs `model` at `scale`.

    engine: "auto" (on a GPU as `devices.engine_on_gpu` says, otherwise native, or OpenVINO where it is faster or alone
    can), "native" (fp32, int16), "openvino", "onnxruntime" (fp32), "pytorch", "ncnn", or "nearest" (repeats pixels,
    needs no model). `devices.ENGINES_ON` says which computes where.
    precision: "auto" (16 bits where the hardware is faster in them, otherwise float32), "fp32", "tf32" (NVIDIA GPUs),
    "int16" (native), "bf16", "fp16", or "int8" (OpenVINO, for models with an int8 form; never chosen by "auto").
    device: "auto" (the engine's best), or one of `devices.DEVICES`.

    Raises EngineError if the engine is not installed or cannot do the precision or the device, ModelError if the model
    lacks the scale.
    """
    check_request(engine, precision, device)
    if engine == "nearest":
        from superfine.engines.nearest import NearestEngine

        return NearestEngine(scale)
    if model is None:
        raise ModelError(f"engine {engine!r} needs a model")
    if scale not in model.scales:
        have = ", ".join(f"x{each}" for each in model.scales)
        raise ModelError(f"model {model.name!r} has no x{scale}: choose one of {have}")
    if model.kind != "superfine":
        from superfine.engines.foreign.find import open_foreign

        return open_foreign(model, engine, precision, device)
    on_gpu = engine_on_gpu(device) if engine == "auto" else None
    if "pytorch" in (engine, on_gpu):
        from superfine.engines.pytorch import PyTorchEngine

        return PyTorchEngine(model, scale, precision, device)
    if "ncnn" in (engine, on_gpu):
        from superfine.engines.ncnn import NcnnEngine

        return NcnnEngine(model, scale, precision, device)
    if engine == "onnxruntime":
        from superfine.engines.onnxruntime import ONNXRuntimeEngine

        return ONNXRuntimeEngine(model, scale, precision)
    if engine == "native":
        from superfine.engines.native import NativeEngine

        return NativeEngine(model, scale, precision)
    if engine == "auto" and on_gpu is None and (native := _native(model, scale, precision)) is not None:
        return native
    from superfine.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(model, scale, precision, device)


def _native(model: Model, scale: int, precision: str) -> Engine | None:
    """Open the project's own engine for CPUs, if it was compiled, knows the network and computes in the precision.

    It is faster than OpenVINO in every precision but int8; where the CPU has matrix units, bfloat16 is faster still.
    """
    from superfine.engines.native import NativeEngine
    from superfine.native.library import instructions, matrix_units

    if precision not in ("auto", "fp32", "int16") or instructions() is None or (precision == "auto" and matrix_units()):
        return None
    try:
        return NativeEngine(model, scale, precision)
    except EngineError:  # OpenVINO runs any graph, and says what is missing where there is none
        return None


def check_request(engine: str, precision: str, device: str) -> None:
    """Raise EngineError for a name that is no engine, precision or device, and for a GPU an engine cannot use."""
    if engine not in ENGINES:
        raise EngineError(f"unknown engine {engine!r}: choose one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise EngineError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    check_device(device, engine)
