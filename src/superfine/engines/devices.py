"""The devices of this machine: their names, which engines compute on them, and which of them "auto" takes."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from superfine.errors import EngineError, install_command

DEVICES = ("auto", "cpu", "gpu", "cuda", "mps", "vulkan")
"""Kinds of device; gpu, cuda and vulkan may name one of several, as gpu:1. gpu is whichever kind of GPU is there."""

ENGINES_ON = {
    "cpu": ("native", "openvino", "onnxruntime", "pytorch", "ncnn", "nearest"),
    "cuda": ("pytorch",),
    "mps": ("pytorch",),
    "vulkan": ("ncnn",),
    "gpu": ("pytorch", "ncnn", "openvino"),
}
"""Kind of device → engines that compute on it; "gpu" is an Intel GPU for OpenVINO."""

_DEVICE_FILES = Path("/dev")
_OF_GPUS = ("dri/renderD*", "nvidia[0-9]*", "dxg")
"""Linux's device files of GPUs: the kernel's drivers, NVIDIA's, and WSL's."""

_NUMBERED = ("gpu", "cuda", "vulkan")


@dataclass(frozen=True)
class Device:
    """A device that an engine can compute on here."""

    name: str
    """For --device: "cuda:0"."""
    title: str
    """Its maker's name for it."""
    engine: str
    """The engine that "auto" takes there."""
    is_software: bool = False
    """True for a program on the CPU that acts as a GPU: right, and slow."""

    def __str__(self) -> str:
        return f"{self.name} ({self.title})" if self.title else self.name


def split_devices(text: str) -> list[str]:
    """Return the devices that share a batch: "cuda:0,cuda:1" → those two, "cuda:all" → all of that kind that are here.

    gpu:all: all of the kind that `gpu` is here. One device gives a list of one. Raises EngineError where none is here.
    """
    found: list[str] = []
    for part in text.split(","):
        name = part.strip()
        kind, _, number = name.partition(":")
        if number != "all" or kind not in _NUMBERED:
            found.append(name)
            continue
        gpus = [each for each in devices() if ":" in each.name and not each.is_software]
        if kind == "gpu":
            here = [each for each in gpus if each.engine == gpus[0].engine]
        else:
            here = [each for each in gpus if each.name.startswith(f"{kind}:")]
        if not here:
            raise absent(name)
        found += [each.name for each in here]
    return found


def check_device(device: str, engine: str) -> None:
    """Raise EngineError for a name that is no device, and for a device that the engine cannot use."""
    kind, colon, number = device.partition(":")
    if kind not in DEVICES or (colon and not (kind in _NUMBERED and number.isdecimal())):
        raise EngineError(
            f"unknown device {device!r}: choose one of {', '.join(DEVICES)}, or gpu:1 for the second GPU; "
            f"here there are {', '.join(map(str, devices()))}"
        )
    if kind != "auto" and engine not in ("auto", *ENGINES_ON[kind]):
        able = ", ".join(ENGINES_ON[kind])
        places = [each for each, engines in ENGINES_ON.items() if engine in engines]
        computes = "computes on the CPU" if places == ["cpu"] else f"computes on {', '.join(places)}"
        raise EngineError(f"engine {engine!r} {computes}, not on {device}: choose auto or {able}")


def engine_on_gpu(device: str) -> str | None:
    """Choose the engine for a device where the user names none; None: one of those for CPUs.

    auto: PyTorch on CUDA or on an Apple GPU; otherwise ncnn on a graphics card that Vulkan offers; otherwise the CPU.
    gpu: the first of CUDA, Apple's, any GPU of Vulkan, an Intel GPU through OpenVINO. Others say themselves.
    Raises EngineError where a device is named and is not there.
    """
    kind = device.partition(":")[0]
    if kind == "cpu":
        return None
    if kind in ("cuda", "mps", "vulkan"):
        return ENGINES_ON[kind][0]
    if pytorch_sees_a_gpu():
        return "pytorch"
    named = kind == "gpu"
    if (named or _may_hold_a_card()) and any(each.is_card or (named and not each.is_software) for each in _vulkan()):
        return "ncnn"
    if kind == "auto":
        return None
    if _intel():
        return "openvino"
    raise absent(device)


def absent(device: str) -> EngineError:
    """Make the error for a device that is not there; it lists those that are."""
    kind = device.partition(":")[0]
    extra = {"cuda": "torch", "mps": "torch", "vulkan": "ncnn"}.get(kind, "torch")
    missing = find_spec(extra) is None and kind != "gpu"
    hint = f"; {kind} needs more: {install_command(extra)}" if missing else ""
    return EngineError(f"no device {device!r} here: there are {', '.join(map(str, devices()))}{hint}")


def devices() -> list[Device]:
    """List all devices of this machine that an installed engine computes on, the CPU last."""
    found = []
    if pytorch_sees_a_gpu():
        import torch

        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
            found += [Device(f"cuda:{number}", name, "pytorch") for number, name in enumerate(names)]
        else:
            found.append(Device("mps", "Apple GPU", "pytorch"))
    found += [Device(f"vulkan:{each.number}", each.name, "ncnn", each.is_software) for each in _vulkan()]
    found += [Device(f"gpu:{number}", name, "openvino") for number, name in enumerate(_intel())]
    return [*found, Device("cpu", "", "")]


def pytorch_sees_a_gpu() -> bool:
    """Look for a GPU that PyTorch computes on; importing torch takes seconds, so the driver is asked first."""
    if find_spec("torch") is None or not _driver_sees_a_gpu():
        return False
    import torch

    return (torch.cuda.is_available() and has_kernels(torch)) or torch.backends.mps.is_available()


def has_kernels(torch: Any) -> bool:
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


def _may_hold_a_card() -> bool:
    """Look for a GPU's device file, without which Linux has none: asking Vulkan takes a tenth of a second."""
    return sys.platform != "linux" or any(any(_DEVICE_FILES.glob(each)) for each in _OF_GPUS)


def _vulkan() -> tuple[Any, ...]:
    """List what Vulkan offers to ncnn, if that is installed."""
    if find_spec("ncnn") is None:
        return ()
    from superfine.engines.vulkan import vulkan_devices

    return vulkan_devices()


def _intel() -> list[str]:
    """Name the GPUs that OpenVINO computes on."""
    if find_spec("openvino") is None:
        return []
    from superfine.engines.runtime import core

    numbers = [each for each in core().available_devices if each.startswith("GPU")]
    return [str(core().get_property(each, "FULL_DEVICE_NAME")) for each in numbers]
