"""PyTorch: NVIDIA GPUs, Apple GPUs, and CPUs as the reference every other engine is compared with."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superfine.errors import EngineError, install_command

try:
    import torch
except ModuleNotFoundError as error:
    raise EngineError(f"engine 'pytorch' needs PyTorch, which is not installed: {install_command('torch')}") from error

from superfine.engines.ahead import Ahead, Launched
from superfine.engines.base import Window
from superfine.engines.cuda import CudaLauncher
from superfine.engines.devices import absent
from superfine.engines.launch import AtOnce, Launcher
from superfine.nets.kernels import native_bf16
from superfine.nets.kernels.working_copy import in_half_precision, with_fast_ends
from superfine.weights import network_file

if TYPE_CHECKING:
    from superfine.nets import Network
    from superfine.weights import Model

_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_SR_PIXELS, _SR_PIXELS_GPU = 2**20, 2**23
"""Pixels of the largest result a window is given."""

_SR_BYTES, _SR_BYTES_GPU = 1024, 32
"""Of the computer's memory for each pixel of the result: activations in fp32. On a GPU, what travels of each batch: 15
bytes in float32 at x2, in blocks of 2^n bytes."""


class PyTorchEngine:
    """A network in PyTorch, on one device.

    On CUDA in fp16 or bf16 it is a copy of the network with weights of that type and the ends that a GPU computes
    fastest; the tail stays float32, with factors rounded to TF32, which keeps ten bits of mantissa. fp32 there is exact
    (NCHW, without TF32), and tf32 is float32 whose convolutions round their factors so. Elsewhere it runs channels
    last, in bf16 and fp16 under autocast, the tail in float32.
    """

    name = "pytorch"
    grid = 1

    def __init__(self, model: Model, scale: int, precision: str = "auto", device: str = "auto") -> None:
        self._set_up(network_file.load(model.weights), scale, precision, device, None)

    @classmethod
    def of_network(
        cls,
        network: Network,
        scale: int,
        precision: str = "auto",
        device: str = "auto",
        launcher: Launcher | None = None,
    ) -> PyTorchEngine:
        """Make an engine of a network in memory, which is moved to the device and left in evaluation mode.

        launcher: puts windows under way there; None takes the device's own.
        """
        engine = cls.__new__(cls)
        engine._set_up(network, scale, precision, device, launcher)
        return engine

    def _set_up(self, network: Network, scale: int, precision: str, device: str, launcher: Launcher | None) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.scale = scale
        self._on_cuda = self.device.startswith("cuda")
        self.window = (_SR_PIXELS_GPU if self._on_cuda else _SR_PIXELS) // scale**2
        self.halo = network_file.halo(network, scale)
        if self._on_cuda and self.precision in ("fp16", "bf16"):
            network = half_precision_copy(network, _DTYPES[self.precision])
        # Measured on an H200 without TF32: NCHW takes 118 ms where channels last takes 143; with it, 51 and 40.
        plain = self._on_cuda and self.precision == "fp32"
        self._layout = torch.contiguous_format if plain else torch.channels_last
        module: Any = network  # the stubs of Module.to do not know memory_format
        self._network = module.to(self.device, memory_format=self._layout).eval()
        self._launcher = launcher or (CudaLauncher(self.device) if self._on_cuda else AtOnce(self.device))
        self.ahead = self._launcher.ahead
        travelling = _SR_BYTES_GPU * (2 * self.ahead + 1)  # batches under way, and as many whose results are in use
        self.pixel_bytes = (_SR_BYTES if self.device == "cpu" else travelling) * scale**2
        self._ahead = Ahead(self._launch, self._launcher.release, self.ahead)
        self._share_out()

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, not clamped."""
        sr: NDArray[np.float32] = self._launch([tile]).result()[0]
        return sr

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8; the conversions run on the device, a quarter of the bytes travel."""
        sr: NDArray[np.uint8] = self._launch([tile]).result()[0]
        return sr

    def run_ahead(self, windows: Iterable[Window]) -> Generator[Window]:
        """Yield the results of many windows in order, those of a batch stacked.

        On CUDA windows of one size run as batches of up to half the largest window's pixels, and the next batch is
        begun before the last is waited for. A window's numbers depend on its batch by rounding alone.
        """
        return self._ahead.run(windows)

    def limit(self, window: int) -> None:
        """Keep to windows of at most so many LR pixels from now on."""
        if window != self.window:
            self.window = window
            self._share_out()
            self.release()

    def release(self) -> None:
        """Give GPU memory back; on a CPU PyTorch keeps none."""
        self._launcher.release()

    def _share_out(self) -> None:
        """Let the two batches under way be as large as the largest window; elsewhere a batch is one window."""
        self._ahead.pixels = self.window // 2 if self.ahead else 0

    def _launch(self, windows: Sequence[Window]) -> Launched:
        return self._launcher.launch(windows, self._enlarge_levels if windows[0].dtype == np.uint8 else self._enlarge)

    def _enlarge_levels(self, pixels: torch.Tensor, tuned: bool) -> torch.Tensor:
        """NHWC uint8 → NHWC uint8."""
        sr = self._network_of(pixels.permute(0, 3, 1, 2).float() * np.float32(1 / 255).item(), tuned)
        return (sr.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().to(torch.uint8).contiguous()

    def _enlarge(self, x: torch.Tensor, tuned: bool) -> torch.Tensor:
        """(n, 1, 3, h, w) float32 → the same, larger."""
        return self._network_of(x.flatten(0, 1), tuned)[:, None]

    def _network_of(self, x: torch.Tensor, tuned: bool) -> torch.Tensor:
        """NCHW float32 → NCHW float32."""
        with self._arithmetic(tuned):
            sr: torch.Tensor = self._network(x.contiguous(memory_format=self._layout), self.scale)
            return sr.float().contiguous()

    def _arithmetic(self, tuned: bool) -> AbstractContextManager[Any]:
        """Set what the device may do to the numbers. tuned: cuDNN may search for its fastest kernels."""
        if self._on_cuda:
            return torch.backends.cudnn.flags(enabled=True, benchmark=tuned, allow_tf32=self.precision != "fp32")
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
        able = ["fp32", "fp16"] + (["bf16", "tf32"] if capability >= (8, 0) else [])
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
