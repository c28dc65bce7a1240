"""Muon for convolution kernels, against PyTorch's own. What it does in a run: test_training_loop.py."""

from __future__ import annotations

import pytest
import torch

from superfine.training import optimizer
from superfine.training.optimizer import Muon


@pytest.mark.parametrize(("native", "rounding"), [(True, 2e-4), (False, 6e-4)])
def test_muon_is_pytorchs_own_for_many_kernels_at_once(
    native: bool, rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three kernels of one shape, one of another, ten steps with random gradients; one has none in every other step."""
    monkeypatch.setattr(optimizer, "native_bf16", lambda device: native)
    torch.manual_seed(0)
    shapes = [(16, 8, 3, 3), (16, 8, 3, 3), (16, 8, 3, 3), (32, 2, 3, 3)]
    kernels = [torch.randn(s).contiguous(memory_format=torch.channels_last).requires_grad_() for s in shapes]
    alone = torch.randn(8, 8, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    ours = Muon([kernels, [alone]], momentum=0.95, weight_decay=0.1)

    def as_matrix(kernel: torch.Tensor) -> torch.Tensor:
        return kernel.detach().permute(0, 2, 3, 1).flatten(1).clone()

    theirs = [as_matrix(kernel) for kernel in (*kernels, alone)]
    reference = torch.optim.Muon(theirs, lr=0.01, momentum=0.95, weight_decay=0.1)
    for step in range(10):
        for kernel, matrix in zip((*kernels, alone), theirs, strict=True):
            gone = kernel is alone and step % 2
            kernel.grad = None if gone else torch.randn(kernel.shape)
            matrix.grad = None if kernel.grad is None else as_matrix(kernel.grad)
        ours.step(0.01)
        reference.step()
    for kernel, matrix in zip((*kernels, alone), theirs, strict=True):
        # PyTorch's iterations are in bfloat16, in another order: a step's entries are 0.01 / sqrt(72), ten of them.
        assert (as_matrix(kernel) - matrix).abs().max() < rounding
