"""The choice of an engine, and the door that opens it."""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from superfine.engines.base import Engine
from superfine.errors import EngineError, ModelError

if TYPE_CHECKING:
    from superfine.weights import Model

ENGINES = ("auto", "native", "openvino", "onnxruntime", "pytorch", "nearest")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


def open_engine(model: Model | None, scale: int, engine: str = "auto", precision: str = "auto") -> Engine:
    """The engine that runs `model` at `scale`.

    engine: "auto" (a GPU if PyTorch is installed and computes on one, otherwise OpenVINO), "native" (CPUs, fp32),
    "openvino",
    "onnxruntime" (CPUs, fp32), "pytorch" (its best device; "pytorch:cpu", "pytorch:cuda" or
    "pytorch:mps" name one), or "nearest" (repeats pixels, needs no model).
    precision: "auto" (bfloat16 where the hardware computes in it, otherwise float32), "fp32", "bf16",
    "fp16", or "int8" (OpenVINO, for models with an int8 form; never chosen by "auto").

    Raises EngineError if the engine is not installed or cannot do the precision, ModelError if the
    model lacks the scale.
    """
    kind, _, device = engine.partition(":")
    if kind not in ENGINES or (device and kind != "pytorch"):
        raise EngineError(f"unknown engine {engine!r}: choose one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise EngineError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if kind == "nearest":
        from superfine.engines.nearest import NearestEngine

        return NearestEngine(scale)
    if model is None:
        raise ModelError(f"engine {engine!r} needs a model")
    if scale not in model.scales:
        have = ", ".join(f"x{each}" for each in model.scales)
        raise ModelError(f"model {model.name!r} has no x{scale}: choose one of {have}")
    if kind == "pytorch" or (kind == "auto" and _pytorch_sees_a_gpu()):
        from superfine.engines.pytorch import PyTorchEngine

        return PyTorchEngine(model, scale, precision, device or "auto")
    if kind == "onnxruntime":
        from superfine.engines.onnxruntime import ONNXRuntimeEngine

        return ONNXRuntimeEngine(model, scale, precision)
    if kind == "native":
        from superfine.engines.native import NativeEngine

        return NativeEngine(model, scale, precision)
    from superfine.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(model, scale, precision)


def _pytorch_sees_a_gpu() -> bool:
    """Whether a GPU is there for PyTorch; importing torch takes seconds, so the driver is asked first."""
    if find_spec("torch") is None or not _driver_sees_a_gpu():
        return False
    import torch

    return (torch.cuda.is_available() and _has_kernels(torch)) or torch.backends.mps.is_available()


def _has_kernels(torch: Any) -> bool:
    """Whether this build of PyTorch computes on the GPU at hand: an old one is seen, and then fails or crawls."""
    built = [each.removeprefix("sm_") for each in torch.cuda.get_arch_list() if each.startswith("sm_")]
    if not built:  # AMD's builds name other architectures, and run on what they see
        return True
    major, minor = torch.cuda.get_device_capability()
    oldest = min(int("".join(filter(str.isdigit, each))) for each in built)
    return int(major) * 10 + int(minor) >= oldest


def _driver_sees_a_gpu() -> bool:
    if sys.platform == "darwin":
        return True
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False
