"""Muon (Jordan et al., 2024) for convolution kernels: momentum whose every step is made an orthogonal matrix.

PyTorch's own takes one matrix at a time: hundreds of tiny kernels a step, longer than the step itself on a large
GPU. Here all kernels of one shape are turned together, as one batch of matrices. The numbers are PyTorch's
(a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from superfine.nets.kernels import native_bf16

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration: they bring singular values near 1 fastest, not exactly to 1."""
ITERATIONS = 5
TINY = 1e-7


@dataclass
class _Alike:
    """Kernels of one shape that have gradients in the same steps."""

    kernels: list[Tensor]
    momentum: Tensor
    """(kernels, outputs, inputs · height · width), float32."""


class Muon:
    """Moves kernels (outputs, inputs, height, width), which must be channels last in memory."""

    def __init__(self, groups: Sequence[Sequence[Tensor]], *, momentum: float, weight_decay: float) -> None:
        """groups: kernels that either all have a gradient in a step, or none (one branch of the upsampler, say).

        momentum: decay a step of the gradient's mean. weight_decay: share of the weight a step, at rate 1.
        """
        self.decay, self.weight_decay = momentum, weight_decay
        self._alike = []
        for group in groups:
            shapes = {kernel.shape: [k for k in group if k.shape == kernel.shape] for kernel in group}
            for kernels in shapes.values():
                self._alike.append(_Alike(kernels, torch.zeros_like(_stacked(kernels))))

    @torch.no_grad()
    def step(self, rate: float | Tensor) -> None:
        """Move every kernel by `rate` times a nearly orthogonal matrix (times √(rows/columns), if that is above 1).

        rate: a number, or a scalar on the kernels' device, which a recorded step reads anew each time.
        """
        for alike in self._alike:
            if alike.kernels[0].grad is None:
                continue
            gradient = _stacked([kernel.grad for kernel in alike.kernels if kernel.grad is not None])
            alike.momentum.lerp_(gradient, 1 - self.decay)
            turned = orthogonal(gradient.lerp(alike.momentum, self.decay)).to(alike.momentum.dtype)
            rows, columns = turned.shape[1:]
            turned = turned * (rate * max(1.0, rows / columns) ** 0.5)
            kernels = [_matrix(kernel) for kernel in alike.kernels]
            if self.weight_decay:
                torch._foreach_mul_(kernels, 1 - rate * self.weight_decay)
            torch._foreach_sub_(kernels, list(turned.unbind()))

    def state(self) -> list[Tensor]:
        """What `restore` wants back."""
        return [alike.momentum for alike in self._alike]

    def restore(self, state: list[Tensor]) -> None:
        """Go on from what `state` gave."""
        for alike, momentum in zip(self._alike, state, strict=True):
            alike.momentum.copy_(momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """(n, rows, columns) → the same with singular values near 1 (0.7 to 1.2): Newton-Schulz, five times.

    In bfloat16 where the hardware has it, as PyTorch's own; else in float32, which is the more exact.
    """
    a, b, c = QUINTIC
    x = matrices.bfloat16() if native_bf16(matrices.device) else matrices.float()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=TINY)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _matrix(kernel: Tensor) -> Tensor:
    """(outputs, inputs, 3, 3) channels last → (outputs, 9 · inputs), the same memory."""
    return kernel.detach().permute(0, 2, 3, 1).flatten(1)


def _stacked(kernels: Sequence[Any]) -> Tensor:
    return torch.stack([_matrix(kernel.contiguous(memory_format=torch.channels_last)) for kernel in kernels])
