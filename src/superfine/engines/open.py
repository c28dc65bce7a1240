"""Choose an engine and open it."""

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
DEVICES = ("auto", "cpu", "gpu", "cuda", "mps")
"""Kinds of device; gpu and cuda may name one of several, as gpu:1. gpu is whichever kind of GPU is there."""


def open_engine(
    model: Model | None, scale: int, engine: str = "auto", precision: str = "auto", device: str = "auto"
) -> Engine:
    """Open the engine that runs `model` at `scale`.

    engine: "auto" (PyTorch where it computes on a GPU, otherwise native, or OpenVINO where it is faster or alone can),
    "native" (fp32), "openvino", "onnxruntime" (fp32), "pytorch", or "nearest" (repeats pixels, needs no model). All but
    PyTorch compute on the CPU.
    precision: "auto" (16 bits where the hardware is faster in them, otherwise float32), "fp32", "bf16", "fp16", or
    "int8" (OpenVINO, for models with an int8 form; never chosen by "auto").
    device: "auto" (the engine's best), or one of DEVICES.

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
    on_gpu = device not in ("auto", "cpu") or (device == "auto" and _pytorch_sees_a_gpu())
    if engine == "pytorch" or (engine == "auto" and on_gpu):
        from superfine.engines.pytorch import PyTorchEngine

        return PyTorchEngine(model, scale, precision, device)
    if engine == "onnxruntime":
        from superfine.engines.onnxruntime import ONNXRuntimeEngine

        return ONNXRuntimeEngine(model, scale, precision)
    if engine == "native":
        from superfine.engines.native import NativeEngine

        return NativeEngine(model, scale, precision)
    if engine == "auto" and (native := _native(model, scale, precision)) is not None:
        return native
    from superfine.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(model, scale, precision)


def _native(model: Model, scale: int, precision: str) -> Engine | None:
    """Open the engine of float32 on CPUs, if it was compiled and knows the network.

    It is faster than OpenVINO in float32, and in bfloat16 but where the CPU has matrix units for that.
    """
    from superfine.engines.native import NativeEngine, instructions, matrix_units

    if precision not in ("auto", "fp32") or instructions() is None or (precision == "auto" and matrix_units()):
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
    kind, colon, number = device.partition(":")
    if kind not in DEVICES or (colon and not (kind in ("gpu", "cuda") and number.isdecimal())):
        raise EngineError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}, or gpu:1 for the second GPU")
    if engine not in ("auto", "pytorch") and kind not in ("auto", "cpu"):
        raise EngineError(f"engine {engine!r} computes on the CPU, not on {device}: choose auto or pytorch")


def _pytorch_sees_a_gpu() -> bool:
    """Look for a GPU that PyTorch computes on; importing torch takes seconds, so the driver is asked first."""
    if find_spec("torch") is None or not _driver_sees_a_gpu():
        return False
    import torch

    return (torch.cuda.is_available() and _has_kernels(torch)) or torch.backends.mps.is_available()


def _has_kernels(torch: Any) -> bool:
    """Check that this build of PyTorch computes on the GPU at hand: an old one is seen, and then fails or crawls."""
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
