"""The optimizers a recipe may choose: Adam for every weight, or Muon for the hidden kernels and Adam for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from superfine.nets import Network
from superfine.training.muon import Muon
from superfine.training.recipe import OptimizerSection

ENDS = ("head.", "tail.")
"""Layers whose inputs or outputs are pixels: Muon is made for what lies between."""
BRANCHES = "upsampler.branches."
"""A scale's own kernels: without a gradient in the steps of other scales."""


class Optimizer:
    """PyTorch's AdamW, and Muon beside it if the recipe says so, under one schedule."""

    def __init__(self, network: Network, chosen: OptimizerSection, *, fused: bool) -> None:
        """network: its weights channels last in memory (channels_last). fused: one kernel for Adam's step, on CUDA."""
        named = dict(network.named_parameters())
        hidden = {name: p for name, p in named.items() if chosen.kind == "muon" and _hidden(name, p)}
        self._parameters = list(named.values())
        self._adam = torch.optim.AdamW(
            [p for name, p in named.items() if name not in hidden],
            lr=chosen.rate,
            betas=chosen.betas,
            eps=chosen.eps,
            weight_decay=chosen.weight_decay,
            fused=fused,
        )
        groups: dict[str, list[Tensor]] = {}
        for name, kernel in hidden.items():
            branch = name.removeprefix(BRANCHES).split(".")[0] if name.startswith(BRANCHES) else "body"
            groups.setdefault(branch, []).append(kernel)
        self._muon = Muon(list(groups.values()), momentum=chosen.muon_momentum, weight_decay=chosen.weight_decay)
        self._adam_rate, self._muon_rate = chosen.rate, chosen.muon_rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def step(self, share: float) -> None:
        """One update from the gradients, at `share` (0..1) of every highest rate."""
        for group in self._adam.param_groups:
            group["lr"] = self._adam_rate * share
        self._adam.step()
        self._muon.step(self._muon_rate * share)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` wants back."""
        return {"adam": self._adam.state_dict(), "muon": self._muon.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._adam.load_state_dict(state["adam"])
        self._muon.restore(state["muon"])


def _hidden(name: str, parameter: Tensor) -> bool:
    return parameter.dim() == 4 and not name.startswith(ENDS)
