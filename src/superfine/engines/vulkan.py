"""The devices that Vulkan offers to ncnn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

_CARD, _SOFTWARE = 0, 3
"""ncnn's types of device: a graphics card of its own, and a program on the CPU; others share the CPU's memory."""


@dataclass(frozen=True)
class VulkanDevice:
    """A device that Vulkan offers."""

    number: int
    name: str
    is_card: bool
    is_software: bool


@cache
def vulkan_devices() -> tuple[VulkanDevice, ...]:
    """List the devices that Vulkan offers; none where there is no driver. Needs ncnn."""
    import ncnn

    with _silent():  # ncnn reports every device on standard error
        infos = [(number, ncnn.get_gpu_info(number)) for number in range(ncnn.get_gpu_count())]
        return tuple(
            VulkanDevice(number, str(info.device_name()), info.type() == _CARD, info.type() == _SOFTWARE)
            for number, info in infos
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Send to nowhere what libraries write on standard error."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
