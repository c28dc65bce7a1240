"""The optimizers a recipe may choose: Adam for every weight, or Muon for the hidden kernels and Adam for the rest.

Muon (Jordan et al., 2024) is momentum whose every step is made an orthogonal matrix. PyTorch's own takes one matrix at
a time: hundreds of tiny kernels a step, longer than the step itself on a large GPU. Here all kernels of one shape go
together, as one batch of matrices. The numbers are PyTorch's (a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from superfine.nets import Network
from superfine.nets.kernels import native_bf16
from superfine.training.recipe import OptimizerSection

END_LAYERS = ("head.", "tail.")
"""Layers whose inputs or outputs are pixels: Muon is made for what lies between."""
BRANCHES = "upsampler.branches."
"""A scale's own kernels: without a gradient in the steps of other scales."""

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of Muon's iteration: they bring singular values near 1 fastest, not exactly to 1."""
ITERATIONS = 5
SMALLEST_NORM = 1e-7


class Optimizer:
    """AdamW, and Muon beside it if the recipe says so, under one schedule."""

    def __init__(self, network: Network, section: OptimizerSection) -> None:
        """Make every weight's state. network: its weights channels last in memory (channels_last).

        On CUDA the rates are scalars on the device, so that a step can be recorded.
        """
        named = dict(network.named_parameters())
        hidden = {name: p for name, p in named.items() if section.kind == "muon" and _is_hidden(name, p)}
        self._section = section
        self._adam = [_AdamState(p) for name, p in named.items() if name not in hidden]
        device = next(iter(named.values())).device
        self._rate_share: float | Tensor = torch.ones((), device=device) if device.type == "cuda" else 1.0
        groups: dict[str, list[Tensor]] = {}
        for name, kernel in hidden.items():
            branch = name.removeprefix(BRANCHES).split(".")[0] if name.startswith(BRANCHES) else "body"
            groups.setdefault(branch, []).append(kernel)
        self._muon = Muon(list(groups.values()), momentum=section.muon_momentum, weight_decay=section.weight_decay)

    def set_rate_share(self, share: float) -> None:
        """Take `share` (0..1) of every highest rate in the steps that follow."""
        if isinstance(self._rate_share, Tensor):
            self._rate_share.fill_(share)
        else:
            self._rate_share = share

    @torch.no_grad()
    def step(self) -> None:
        """Make one update from the gradients."""
        moved = [state for state in self._adam if state.parameter.grad is not None]
        cuda = isinstance(self._rate_share, Tensor)
        # The function inside PyTorch's optimizer of this name: making the class itself imports the compiler, 2 s.
        adamw(
            [state.parameter for state in moved],
            [state.parameter.grad for state in moved],  # type: ignore[misc]
            [state.mean for state in moved],
            [state.mean_square for state in moved],
            [],
            [state.steps for state in moved],
            foreach=False,
            fused=cuda,  # one kernel for all weights
            capturable=cuda,
            amsgrad=False,
            beta1=self._section.betas[0],
            beta2=self._section.betas[1],
            lr=self._rate_share * self._section.rate,
            weight_decay=self._section.weight_decay,
            eps=self._section.eps,
            maximize=False,
        )
        self._muon.step(self._rate_share * self._section.muon_rate)

    def tensors(self) -> list[Tensor]:
        """List all that a step changes beside the weights; these are what a run is resumed from."""
        adam = [tensor for state in self._adam for tensor in (state.steps, state.mean, state.mean_square)]
        return [*adam, *self._muon.momenta()]

    def restore(self, tensors: Sequence[Tensor]) -> None:
        """Go on from what `tensors` held. They are copied: recorded steps need theirs to stay where they are."""
        for ours, saved in zip(self.tensors(), tensors, strict=True):
            ours.copy_(saved)


class _AdamState:
    """A weight and what Adam keeps of its gradients."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.steps = torch.zeros((), device=parameter.device)
        self.mean, self.mean_square = torch.zeros_like(parameter), torch.zeros_like(parameter)


@dataclass
class _KernelStack:
    """Kernels of one shape that have gradients in the same steps."""

    kernels: list[Tensor]
    momentum: Tensor
    """(kernels, outputs, inputs · height · width), float32."""


class Muon:
    """Moves kernels (outputs, inputs, height, width), which must be channels last in memory."""

    def __init__(self, groups: Sequence[Sequence[Tensor]], *, momentum: float, weight_decay: float) -> None:
        """Stack the kernels by shape.

        groups: kernels that either all have a gradient in a step, or none (one branch of the upsampler, say).
        momentum: decay a step of the gradient's mean. weight_decay: share of the weight a step, at rate 1.
        """
        self.decay, self.weight_decay = momentum, weight_decay
        self._stacks = []
        for group in groups:
            shapes = {kernel.shape: [k for k in group if k.shape == kernel.shape] for kernel in group}
            for kernels in shapes.values():
                self._stacks.append(_KernelStack(kernels, torch.zeros_like(_stacked(kernels))))

    @torch.no_grad()
    def step(self, rate: float | Tensor) -> None:
        """Move every kernel by `rate` times a nearly orthogonal matrix (times √(rows/columns), if that is above 1).

        rate: a number, or a scalar on the kernels' device, which a recorded step reads anew each time.
        """
        for stack in self._stacks:
            if stack.kernels[0].grad is None:
                continue
            gradient = _stacked([kernel.grad for kernel in stack.kernels if kernel.grad is not None])
            stack.momentum.lerp_(gradient, 1 - self.decay)
            change = orthogonal(gradient.lerp(stack.momentum, self.decay)).to(stack.momentum.dtype)
            rows, columns = change.shape[1:]
            change = change * (rate * max(1.0, rows / columns) ** 0.5)
            kernels = [_matrix(kernel) for kernel in stack.kernels]
            if self.weight_decay:
                torch._foreach_mul_(kernels, 1 - rate * self.weight_decay)
            torch._foreach_sub_(kernels, list(change.unbind()))

    def momenta(self) -> list[Tensor]:
        """Return the momentum of every stack of kernels."""
        return [stack.momentum for stack in self._stacks]


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of (n, rows, columns) near 1 (0.7 to 1.2) by five Newton-Schulz iterations.

    They run in bfloat16 where the hardware has it, as PyTorch's own, else in float32, which is the more exact.
    """
    a, b, c = QUINTIC
    x = matrices.bfloat16() if native_bf16(matrices.device) else matrices.float()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _is_hidden(name: str, parameter: Tensor) -> bool:
    return parameter.dim() == 4 and not name.startswith(END_LAYERS)


def _matrix(kernel: Tensor) -> Tensor:
    """View (outputs, inputs, 3, 3), channels last, as (outputs, 9 · inputs) in the same memory."""
    return kernel.detach().permute(0, 2, 3, 1).flatten(1)


def _stacked(kernels: Sequence[Any]) -> Tensor:
    return torch.stack([_matrix(kernel.contiguous(memory_format=torch.channels_last)) for kernel in kernels])
