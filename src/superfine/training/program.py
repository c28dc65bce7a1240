"""The network as the function a training step calls, in the form that the device computes fastest."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from superfine.nets import Network
from superfine.nets.kernels import convolutions
from superfine.nets.kernels.winograd import by_winograd
from superfine.nets.kernels.working_copy import WorkingCopy, compile_parts


class Program:
    """(lr, scale) → sr: uint8 NCHW patches in, float 0..1 out; convolutions in bf16 if asked, the tail in float32.

    On CUDA a working copy computes, compiled part by part if asked. On a CPU in float32, not compiled, the convolutions
    are superfine's own (`nets/kernels/winograd.py`).
    """

    def __init__(self, network: Network, device: torch.device, *, bf16: bool, compile: bool) -> None:
        self._weights, self._device, self._bf16 = network, device, bf16
        self._choose_form(compile)

    def _choose_form(self, compile: bool) -> None:
        self.compiled = compile
        self.note = ""
        """A line to be shown if this machine trains more slowly than it could."""
        self.copy: WorkingCopy | None = None
        self._network = self._weights
        self._call = self._forward
        if self._device.type == "cuda":
            self.copy = WorkingCopy(self._weights, bf16=self._bf16)
            if compile:
                compile_parts(self.copy.network)
        elif compile:
            self._call = torch.compile(self._forward, dynamic=False)
        elif self._device.type == "cpu" and not self._bf16:
            functions, why_not = convolutions.load()
            if functions is None:
                self.note = f"convolutions are PyTorch's, which take two to three times as long: {why_not}"
            else:  # a copy that shares the parameters
                self._network = copy.deepcopy(self._weights, {id(p): p for p in self._weights.parameters()})
                by_winograd(self._network, functions)

    def __call__(self, lr: Tensor, scale: int) -> Tensor:
        if self.copy:
            return self.copy.network(lr.float() / 255, scale)  # type: ignore[no-any-return]
        return self._call(lr, scale)

    def _forward(self, lr: Tensor, scale: int) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            return self._network(lr.float() / 255, scale)  # type: ignore[no-any-return]

    def begin(self) -> None:
        """Make ready for a step: forget the last one's gradients, take the weights as they are now."""
        for parameter in self._weights.parameters():
            parameter.grad = None
        if self.copy:
            self.copy.refresh()

    def collect(self) -> None:
        """Give the weights their gradients, after `backward`."""
        if self.copy:
            self.copy.collect()

    def do_without_compiler(self) -> None:
        """Go on uncompiled."""
        self._choose_form(compile=False)
