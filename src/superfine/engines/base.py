"""The protocol every engine keeps, and the door that opens one.

An engine runs one network at one scale on one window of pixels. It knows nothing of files, tiles
or pictures.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from superfine.errors import EngineError, ModelError

if TYPE_CHECKING:
    from superfine.weights import Model

ENGINES = ("auto", "openvino", "onnxruntime", "pytorch", "nearest")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


@runtime_checkable
class Engine(Protocol):
    """One network at one scale, ready to run.

    `halo` is how many LR pixels of context a window needs on each side that is not a border of the
    picture, for the rest of it to come out exactly as it would from the whole picture. `window` is how
    many LR pixels the largest window has that the engine runs well, within the memory it plans for.
    """

    name: str
    precision: str
    device: str
    scale: int
    halo: int
    window: int
    pixel_bytes: int
    """Working memory a window takes for each of its LR pixels, about."""

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32, RGB 0..1, (1, 3, h, w) → (1, 3, h·scale, w·scale), about 0..1, not clamped."""
        ...

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 RGB 0..255, (h, w, 3) → (h·scale, w·scale, 3), clamped and rounded half to even.

        The same numbers as `run` of `widen(tile)`; an engine may fuse the conversions into its graph.
        """
        ...

    def limit(self, window: int) -> None:
        """Plan for windows of at most so many LR pixels from now on; the memory of larger ones is given back."""
        ...

    def release(self) -> None:
        """Give back the working memory; the engine stays usable and takes it again when it runs."""
        ...


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine failed for want of memory: Python's own error, or what the runtimes say in RuntimeErrors."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(sign in text for sign in ("bad_alloc", "out of memory", "can't allocate memory", "not enough memory"))
    )


def widen(tile: NDArray[np.uint8]) -> NDArray[np.float32]:
    """HWC uint8 0..255 → NCHW float32 0..1, (1, 3, h, w).

    By the reciprocal, as graph compilers divide: it is within one step in the last place of the quotient.
    """
    return np.ascontiguousarray(tile.transpose(2, 0, 1)[None]) * np.float32(1 / 255)


def round_to_uint8(sr: NDArray[np.float32]) -> NDArray[np.uint8]:
    """NCHW float32, about 0..1, (1, 3, h, w) → HWC uint8 0..255, clamped and rounded half to even."""
    levels: NDArray[np.float32] = np.clip(sr[0].transpose(1, 2, 0), 0, 1) * np.float32(255)
    return np.rint(levels).astype(np.uint8)


def open_engine(model: Model | None, scale: int, engine: str = "auto", precision: str = "auto") -> Engine:
    """The engine that runs `model` at `scale`.

    engine: "auto" (a GPU if PyTorch is installed and computes on one, otherwise OpenVINO), "openvino",
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
