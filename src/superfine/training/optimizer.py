"""The optimizers a recipe may choose: Adam for every weight, or Muon for the hidden kernels and Adam for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from superfine.nets import Network
from superfine.training.recipe import OptimizerSection

ENDS = ("head.", "tail.")
"""Layers whose inputs or outputs are pixels: Muon is made for what lies between."""


class Optimizer:
    """One or two of PyTorch's optimizers that share a schedule: each group's rate is its own highest rate times it."""

    def __init__(self, network: Network, chosen: OptimizerSection, *, fused: bool) -> None:
        """network: its weights channels last in memory (channels_last). fused: one kernel for Adam's step, on CUDA."""
        named = list(network.named_parameters())
        self._kernels = [p for name, p in named if chosen.kind == "muon" and _hidden(name, p)]
        kernels = set(self._kernels)
        self._adam = torch.optim.AdamW(
            [p for _, p in named if p not in kernels],
            lr=chosen.rate,
            betas=chosen.betas,
            eps=chosen.eps,
            weight_decay=chosen.weight_decay,
            fused=fused,
        )
        self._adam_rate, self._muon_rate = chosen.rate, chosen.muon_rate
        self._muon: torch.optim.Optimizer | None = None
        if self._kernels:
            # Muon takes matrices only: the same memory, seen as outputs x (inputs · 9).
            self._matrices = [_matrix(p.detach()) for p in self._kernels]
            self._muon = torch.optim.Muon(
                self._matrices, lr=chosen.muon_rate, weight_decay=chosen.weight_decay, momentum=chosen.muon_momentum
            )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self._adam.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        for parameter in self._kernels:
            parameter.grad = None

    def step(self, share: float) -> None:
        """One update from the gradients, at `share` (0..1) of every highest rate."""
        for group in self._adam.param_groups:
            group["lr"] = self._adam_rate * share
        self._adam.step()
        if self._muon is None:
            return
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            # A branch of another scale has no gradient in this step.
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad)
        for group in self._muon.param_groups:
            group["lr"] = self._muon_rate * share
        self._muon.step()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` wants back."""
        return {
            "adam": self._adam.state_dict(),
            "muon": self._muon.state_dict() if self._muon else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._adam.load_state_dict(state["adam"])
        if self._muon:
            self._muon.load_state_dict(state["muon"])


def _hidden(name: str, parameter: Tensor) -> bool:
    return parameter.dim() == 4 and not name.startswith(ENDS)


def _matrix(kernel: Tensor) -> Tensor:
    """(outputs, inputs, 3, 3) channels last → (outputs, 9 · inputs), the same memory."""
    return kernel.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1)
