"""PyTorch: NVIDIA GPUs, Apple GPUs, and CPUs as the reference every other engine is compared with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superfine.errors import EngineError, install_command

try:
    import torch
except ModuleNotFoundError as error:
    raise EngineError(f"engine 'pytorch' needs PyTorch, which is not installed: {install_command('torch')}") from error

from superfine.nets.kernels import native_bf16
from superfine.weights import network_file

if TYPE_CHECKING:
    from superfine.nets import Network
    from superfine.weights import Model

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_SR_PIXELS, _SR_PIXELS_GPU = 2**20, 2**23
"""Pixels of the largest result a window is given."""

_SR_BYTES, _SR_BYTES_GPU = 1024, 32
"""Of the computer's memory for each pixel of the result: activations in fp32; on a GPU the tensors that travel."""


class PyTorchEngine:
    """A network in PyTorch, channels last, on one device.

    In bf16 and fp16 the convolutions run under autocast; the tail and the sum with the mean stay float32.
    In fp32 the GPU's TF32 short cut is off: it keeps ten bits of mantissa, which is not fp32.
    """

    name = "pytorch"
    grid = 1

    def __init__(self, model: Model, scale: int, precision: str = "auto", device: str = "auto") -> None:
        self._set_up(network_file.load(model.weights), scale, precision, device)

    @classmethod
    def of_network(cls, network: Network, scale: int, precision: str = "auto", device: str = "auto") -> PyTorchEngine:
        """An engine around a network that is already in memory (it is moved to the device, and left in eval mode)."""
        engine = cls.__new__(cls)
        engine._set_up(network, scale, precision, device)
        return engine

    def _set_up(self, network: Network, scale: int, precision: str, device: str) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.scale = scale
        self.window = (_SR_PIXELS_GPU if self.device.startswith("cuda") else _SR_PIXELS) // scale**2
        on_cpu = self.device == "cpu"
        self.pixel_bytes = (_SR_BYTES if on_cpu else _SR_BYTES_GPU) * scale**2
        self.halo = -int(-network.receptive_radius(scale) // 1)
        module: Any = network  # the stubs of Module.to do not know memory_format
        self._network = module.to(self.device, memory_format=torch.channels_last).eval()

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, not clamped."""
        with torch.inference_mode():
            return self._forward(torch.tensor(tile, device=self.device)).contiguous().cpu().numpy()

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8; the conversions run on the device, a quarter of the bytes travel."""
        with torch.inference_mode():
            pixels = torch.tensor(tile, device=self.device)  # a copy: the picture may be read-only
            sr = self._forward(pixels.permute(2, 0, 1)[None].float() * np.float32(1 / 255).item())
            levels = (sr[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8)
            return levels.contiguous().cpu().numpy()

    def limit(self, window: int) -> None:
        """Windows of at most so many LR pixels from now on."""
        self.window = window
        self.release()

    def release(self) -> None:
        """Give cached GPU memory back; on a CPU PyTorch keeps none."""
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        with self._arithmetic():
            sr: torch.Tensor = self._network(x, self.scale).float()
            return sr

    def _arithmetic(self) -> AbstractContextManager[Any]:
        kind = self.device.partition(":")[0]
        if self.precision != "fp32":
            return torch.autocast(kind, dtype=_DTYPES[self.precision])
        if kind == "cuda":
            return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        return nullcontext()


def choose_device(device: str) -> str:
    """Take the first of cuda, mps, cpu that is there for "auto", the first two for "gpu".

    Raises EngineError for a device that is not there.
    """
    there = [
        kind
        for kind, available in (("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available))
        if available()
    ] + ["cpu"]
    if device == "auto":
        return there[0]
    kind, colon, number = device.partition(":")
    if kind == "gpu" and there[0] != "cpu":
        kind = there[0]
    if kind not in there:
        raise EngineError(f"PyTorch sees no device {device!r} here: choose one of {', '.join(there)}")
    if colon and int(number) >= (torch.cuda.device_count() if kind == "cuda" else 1):
        raise EngineError(f"PyTorch sees no device {device!r} here: numbers begin at 0")
    return kind + colon + number if kind == "cuda" else kind


def choose_precision(precision: str, device: str) -> str:
    """ "auto" → bf16 where the device computes in it, otherwise fp32. Raises EngineError for one it cannot do."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        able = ["fp32", "fp16"] + (["bf16"] if torch.cuda.get_device_capability(device) >= (8, 0) else [])
    elif kind == "mps":
        able = ["fp32", "fp16"]
    else:
        able = ["fp32", "bf16"]  # bf16 on a CPU without it is emulated: correct, slow, never chosen by auto
    if precision == "auto":
        return "bf16" if "bf16" in able and native_bf16(torch.device(device)) else "fp32"
    if precision not in able:
        raise EngineError(f"PyTorch cannot run {precision} on {device}: choose one of auto, {', '.join(able)}")
    return precision
