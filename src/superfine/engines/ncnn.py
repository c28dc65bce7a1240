"""ncnn: GPUs of any maker through Vulkan, and CPUs."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superfine.cores import cores
from superfine.engines.base import round_to_uint8, widen
from superfine.engines.devices import absent
from superfine.engines.native_graph import PICTURE, Graph, graph_of_model, trace
from superfine.engines.ncnn_files import RESULT, ncnn_files
from superfine.engines.vulkan import VulkanDevice, vulkan_devices
from superfine.errors import EngineError, install_command

try:
    import ncnn
except ModuleNotFoundError as error:
    raise EngineError(f"engine 'ncnn' needs ncnn, which is not installed: {install_command('ncnn')}") from error

if TYPE_CHECKING:
    from superfine.nets import Network
    from superfine.weights import Model

_SR_PIXELS, _SR_PIXELS_GPU = 2**19, 2**20
"""Pixels of the largest result a window is given. On GPUs the largest tensor then has 576 MiB in fp32; the drivers of
all makers allow as much in one buffer."""

_SR_BYTES, _SR_BYTES_GPU = 3900, 48
"""Of the computer's memory for each pixel of the result: activations and what Winograd makes of them; with a GPU, the
tensors that travel."""


class NcnnEngine:
    """A network in ncnn, on the CPU in float32 or on a Vulkan device in float32 or fp16; any window shape.

    In fp16 activations are stored in fp16 and added up in float32. Tiled equals whole to about 1e-6 in float32, not to
    the bit: which pixels share a Winograd tile, and with it their roundings, depends on where a window begins.
    """

    name = "ncnn"
    grid = 1

    def __init__(self, model: Model, scale: int, precision: str = "auto", device: str = "auto") -> None:
        self._set_up(graph_of_model(model, scale), model.halo[scale], scale, precision, device)

    @classmethod
    def of_network(cls, network: Network, scale: int, precision: str = "auto", device: str = "auto") -> NcnnEngine:
        """Make an engine of a PyTorch network in memory; its numbers are copied."""
        from superfine.weights import network_file

        engine = cls.__new__(cls)
        engine._set_up(trace(network, scale), network_file.halo(network, scale), scale, precision, device)
        return engine

    def _set_up(self, graph: Graph, halo: int, scale: int, precision: str, device: str) -> None:
        self._vulkan = choose_device(device)
        self.device = "cpu" if self._vulkan is None else f"vulkan:{self._vulkan.number}"
        self.precision = choose_precision(precision, self._vulkan)
        on_gpu = self._vulkan is not None and not self._vulkan.is_software
        self.scale, self.halo, self.window = scale, halo, (_SR_PIXELS_GPU if on_gpu else _SR_PIXELS) // scale**2
        self.pixel_bytes = (_SR_BYTES_GPU if on_gpu else _SR_BYTES) * scale**2
        self._files = ncnn_files(graph, half=self.precision == "fp16")
        self._lock = threading.Lock()
        self._net: Any = self._open()

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, not clamped. Raises MemoryError where memory does not suffice."""
        with self._lock:
            if self._net is None:
                self._net = self._open()
            extractor = self._net.create_extractor()
            # A copy: ncnn changes tensors in place, and fails on memory that is not its own.
            extractor.input(PICTURE, ncnn.Mat(np.ascontiguousarray(tile[0], np.float32)).clone())
            failure, result = extractor.extract(RESULT)
            if failure:
                raise MemoryError(
                    f"out of memory for a window of {tile.shape[3]}x{tile.shape[2]} pixels on {self.device}"
                )
            return np.array(result)[None]

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8."""
        return round_to_uint8(self.run(widen(tile)))

    def limit(self, window: int) -> None:
        """Keep to windows of at most so many LR pixels from now on."""
        if window != self.window:
            self.window = window
            self.release()

    def release(self) -> None:
        """Close the network, and with it the memory kept for activations; the next run opens it again."""
        with self._lock:
            self._net = None

    def _open(self) -> Any:
        """Read the network's two files, which are made in a few milliseconds and are no longer needed then."""
        net = ncnn.Net()
        net.opt.num_threads = cores()
        half = self.precision == "fp16"
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = half
        net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
        if self._vulkan is not None:
            net.opt.use_vulkan_compute = True
            net.set_vulkan_device(self._vulkan.number)
        with tempfile.TemporaryDirectory() as folder:
            layers, weights = Path(folder, "network.param"), Path(folder, "network.bin")
            layers.write_text(self._files[0])
            weights.write_bytes(self._files[1])
            if net.load_param(str(layers)) or net.load_model(str(weights)):
                raise EngineError(f"ncnn could not open the network on {self.device}: choose another engine or device")
        return net


def choose_device(device: str) -> VulkanDevice | None:
    """Take for "auto" the first graphics card that Vulkan offers, otherwise the CPU: None.

    "vulkan" takes a program that acts as a GPU where there is no other. Raises EngineError for a device that is not
    there.
    """
    if device == "cpu":
        return None
    found = sorted(vulkan_devices(), key=lambda each: each.is_software)
    kind, _, number = device.partition(":")
    if number:
        found = [each for each in found if each.number == int(number)]
    elif kind == "gpu":
        found = [each for each in found if not each.is_software]
    elif kind == "auto":
        found = [each for each in found if each.is_card]
    if not found and kind != "auto":
        raise absent(device)
    return found[0] if found else None


def choose_precision(precision: str, device: VulkanDevice | None) -> str:
    """Take for "auto" fp16 on a GPU, otherwise fp32. Raises EngineError for another precision, or fp16 on a CPU."""
    if precision == "auto":
        return "fp32" if device is None or device.is_software else "fp16"
    able = ("fp32",) if device is None else ("fp32", "fp16")
    if precision not in able:
        where = "CPUs" if device is None else "GPUs"
        raise EngineError(f"ncnn cannot run {precision} on {where}: choose one of auto, {', '.join(able)}")
    return precision
