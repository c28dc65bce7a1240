"""The network as the function a training step calls: compiled where the recipe says so, and tried beforehand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from superfine.errors import TrainingError
from superfine.nets import Network
from superfine.nets.kernels import winograd, winograd_build
from superfine.nets.kernels.winograd_build import Winograd

PASSES = 3
"""Passes until a step is compiled and, on CUDA, recorded as a graph."""


class Program:
    """(lr, scale) → sr: uint8 NCHW patches in, float 0..1 out; convolutions in bf16 if asked, the tail in float32.

    Where that is neither asked nor compiled, a CPU's convolutions are superfine's own (`nets/kernels/winograd.py`).
    """

    def __init__(self, network: Network, device: torch.device, *, bf16: bool, compile: bool) -> None:
        self._network, self._device, self._bf16, self._compiled = network, device, bf16, compile
        self._winograd: Winograd | None = None
        self._note = ""
        if not compile:
            self._call = self._uncompiled()
        else:
            # dynamic=False: one fixed program a scale. On CUDA it is replayed as a graph, so the host launches once.
            # The loss stays outside, or a stage with another one would compile all of them anew.
            mode = "reduce-overhead" if device.type == "cuda" else "default"
            self._call = torch.compile(self._forward, dynamic=False, mode=mode)

    def __call__(self, lr: Tensor, scale: int) -> Tensor:
        return self._call(lr, scale)

    def _forward(self, lr: Tensor, scale: int) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            return self._network(lr.float() / 255, scale)  # type: ignore[no-any-return]

    def _uncompiled(self) -> Callable[[Tensor, int], Tensor]:
        """The network as it is called where nothing is compiled."""
        if self._device.type != "cpu" or self._bf16:
            return self._forward
        self._winograd, why_not = winograd_build.load()
        if why_not:
            self._note = f"convolutions are PyTorch's, which take two to three times as long: {why_not}"
        return self._by_winograd

    def _by_winograd(self, lr: Tensor, scale: int) -> Tensor:
        with winograd.using(self._winograd):
            return self._forward(lr, scale)

    def warm_up(self, work: Callable[[], None]) -> str:
        """Compile what `work` calls, by doing it; gives a line to be shown if that failed and all goes on more slowly.

        On CUDA it is done uncompiled too: a batch too large for the memory is found out now, not in a late stage.
        Raises TrainingError if there is one.
        """
        if not self._compiled and self._device.type != "cuda":
            return self._note
        try:
            for _ in range(PASSES):
                work()
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"a batch is too large for the memory of this {self._device.type} device: lower batch or patch"
            ) from error
        except Exception as error:  # whatever a compiler may meet on a machine
            if not self._compiled:
                raise
            self._call, self._compiled = self._uncompiled(), False
            why = (str(error).strip().splitlines() or ["no reason given"])[0]
            return f"compiling failed ({type(error).__name__}: {why}): training goes on without, more slowly"
        return ""
