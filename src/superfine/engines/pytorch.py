"""PyTorch: NVIDIA GPUs, Apple GPUs, and CPUs as the reference every other engine is compared with."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superfine.errors import EngineError, install_command

try:
    import torch
except ModuleNotFoundError as error:
    raise EngineError(f"engine 'pytorch' needs PyTorch, which is not installed: {install_command('torch')}") from error

from superfine.engines.devices import absent
from superfine.engines.recorded import RecordedWindows, Work
from superfine.nets.kernels import native_bf16
from superfine.nets.kernels.working_copy import in_half_precision, with_fast_ends
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
    """A network in PyTorch, on one device.

    On CUDA in fp16 or bf16 it is a copy of the network with weights of that type and the ends that a GPU computes
    fastest; the tail stays float32, with factors rounded to TF32. On CUDA in fp32 it is plain and exact: NCHW, without
    TF32, which keeps ten bits of mantissa and is not fp32. Elsewhere it runs channels last, in bf16 and fp16 under
    autocast, the tail in float32.
    """

    name = "pytorch"
    grid = 1

    def __init__(self, model: Model, scale: int, precision: str = "auto", device: str = "auto") -> None:
        self._set_up(network_file.load(model.weights), scale, precision, device)

    @classmethod
    def of_network(cls, network: Network, scale: int, precision: str = "auto", device: str = "auto") -> PyTorchEngine:
        """Make an engine of a network in memory, which is moved to the device and left in evaluation mode."""
        engine = cls.__new__(cls)
        engine._set_up(network, scale, precision, device)
        return engine

    def _set_up(self, network: Network, scale: int, precision: str, device: str) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.scale = scale
        on_cuda = self.device.startswith("cuda")
        self.window = (_SR_PIXELS_GPU if on_cuda else _SR_PIXELS) // scale**2
        self.pixel_bytes = (_SR_BYTES if self.device == "cpu" else _SR_BYTES_GPU) * scale**2
        self.halo = network_file.halo(network, scale)
        self._is_copy = on_cuda and self.precision != "fp32"
        if self._is_copy:
            network = half_precision_copy(network, _DTYPES[self.precision])
        # Measured on an H200 without TF32: NCHW takes 118 ms where channels last takes 143.
        plain = on_cuda and self.precision == "fp32"
        self._layout = torch.contiguous_format if plain else torch.channels_last
        module: Any = network  # the stubs of Module.to do not know memory_format
        self._network = module.to(self.device, memory_format=self._layout).eval()
        self._recorded = RecordedWindows(self.device) if on_cuda else None

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, not clamped."""
        return self._run(tile, self._enlarge)

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8; the conversions run on the device, a quarter of the bytes travel."""
        return self._run(tile, self._enlarge_levels)

    def limit(self, window: int) -> None:
        """Keep to windows of at most so many LR pixels from now on."""
        self.window = window
        self.release()

    def release(self) -> None:
        """Give GPU memory back; on a CPU PyTorch keeps none."""
        if self._recorded is not None:
            self._recorded.release()
            torch.cuda.empty_cache()

    def _run(self, tile: NDArray[Any], work: Work) -> NDArray[Any]:
        if self._recorded is not None:
            return self._recorded.run(tile, work)
        with torch.inference_mode():
            return work(torch.tensor(tile, device=self.device), False).cpu().numpy()  # a copy: it may be read-only

    def _enlarge_levels(self, pixels: torch.Tensor, tuned: bool) -> torch.Tensor:
        sr = self._enlarge(pixels.permute(2, 0, 1)[None].float() * np.float32(1 / 255).item(), tuned)
        return (sr[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).contiguous()

    def _enlarge(self, x: torch.Tensor, tuned: bool) -> torch.Tensor:
        with self._arithmetic(tuned):
            sr: torch.Tensor = self._network(x.contiguous(memory_format=self._layout), self.scale)
            return sr.float().contiguous()

    def _arithmetic(self, tuned: bool) -> AbstractContextManager[Any]:
        """Set what the device may do to the numbers. tuned: cuDNN may search for its fastest kernels."""
        if self._recorded is not None:
            return torch.backends.cudnn.flags(enabled=True, benchmark=tuned, allow_tf32=self._is_copy)
        if self.precision != "fp32":
            return torch.autocast(self.device, dtype=_DTYPES[self.precision])
        return nullcontext()


def half_precision_copy(network: Network, dtype: torch.dtype) -> Network:
    """Copy a network in the form that a GPU computes fastest: weights of `dtype`, but for the tail's, and fast ends."""
    twin = copy.deepcopy(network)
    with_fast_ends(twin)
    in_half_precision(twin, dtype)
    return twin


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
    if kind not in there or (colon and int(number) >= (torch.cuda.device_count() if kind == "cuda" else 1)):
        raise absent(device)
    return kind + colon + number if kind == "cuda" else kind


def choose_precision(precision: str, device: str) -> str:
    """Take for "auto" fp16 on CUDA where tensor cores have it, bf16 on a CPU that computes in it, otherwise fp32.

    On CUDA bf16 is as fast as fp16 and keeps three bits less: 31 % of the pixels differ from fp32, by up to 3 levels of
    255, where in fp16 5 % differ by 1. Raises EngineError for a precision that the device cannot do.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        capability = torch.cuda.get_device_capability(device)
        able = ["fp32", "fp16"] + (["bf16"] if capability >= (8, 0) else [])
        if precision == "auto":
            return "fp16" if capability >= (7, 0) else "fp32"
    elif kind == "mps":
        able = ["fp32", "fp16"]
    else:
        able = ["fp32", "bf16"]  # bf16 on a CPU without it is emulated: correct, slow, never chosen by auto
    if precision == "auto":
        return "bf16" if "bf16" in able and native_bf16(torch.device(device)) else "fp32"
    if precision not in able:
        raise EngineError(f"PyTorch cannot run {precision} on {device}: choose one of auto, {', '.join(able)}")
    return precision
