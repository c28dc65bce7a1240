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

    def __init__(self, network: Network, chosen: OptimizerSection) -> None:
        """network: its weights channels last in memory (channels_last).

        On CUDA one kernel does Adam's step, and the rates are scalars on the device, so that a step can be recorded.
        """
        named = dict(network.named_parameters())
        hidden = {name: p for name, p in named.items() if chosen.kind == "muon" and _hidden(name, p)}
        self._parameters = list(named.values())
        device = self._parameters[0].device
        cuda = device.type == "cuda"
        self._share: float | Tensor = torch.ones((), device=device) if cuda else 1.0
        self._adam_rate, self._muon_rate = chosen.rate, chosen.muon_rate
        self._adam = torch.optim.AdamW(
            [p for name, p in named.items() if name not in hidden],
            lr=torch.tensor(chosen.rate, device=device) if cuda else chosen.rate,
            betas=chosen.betas,
            eps=chosen.eps,
            weight_decay=chosen.weight_decay,
            fused=cuda,
            capturable=cuda,
        )
        for p in self._adam.param_groups[0]["params"]:  # as a first step would; a recorded one must find it
            zero = torch.zeros((), device=device)
            self._adam.state[p] = {"step": zero, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        groups: dict[str, list[Tensor]] = {}
        for name, kernel in hidden.items():
            branch = name.removeprefix(BRANCHES).split(".")[0] if name.startswith(BRANCHES) else "body"
            groups.setdefault(branch, []).append(kernel)
        self._muon = Muon(list(groups.values()), momentum=chosen.muon_momentum, weight_decay=chosen.weight_decay)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def set_share(self, share: float) -> None:
        """Take `share` (0..1) of every highest rate in the steps that follow."""
        if isinstance(self._share, Tensor):
            self._share.fill_(share)
        else:
            self._share = share

    def step(self) -> None:
        """Make one update from the gradients."""
        rate = self._share * self._adam_rate
        for group in self._adam.param_groups:
            if isinstance(rate, Tensor):
                group["lr"].copy_(rate)
            else:
                group["lr"] = rate
        self._adam.step()
        self._muon.step(self._share * self._muon_rate)

    def tensors(self) -> list[Tensor]:
        """All that a step changes beside the weights."""
        adam = [t for values in self._adam.state.values() for t in values.values()]
        return [*adam, *self._muon.state()]

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` wants back."""
        return {"adam": self._adam.state_dict(), "muon": self._muon.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave. The tensors stay where they are, as recorded steps need."""
        for number, p in enumerate(self._adam.param_groups[0]["params"]):
            for name, value in state["adam"]["state"][number].items():
                self._adam.state[p][name].copy_(value)
        self._muon.restore(state["muon"])


def _hidden(name: str, parameter: Tensor) -> bool:
    return parameter.dim() == 4 and not name.startswith(ENDS)
