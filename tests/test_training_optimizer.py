"""Adam, and Muon for convolution kernels, against PyTorch's own. Muon in a run: test_training_loop.py."""

from __future__ import annotations

import pytest
import torch

from superfine.nets import ESRGCNN, ESRGCNNConfig
from superfine.training import optimizer as optimizers
from superfine.training.optimizer import Muon, Optimizer
from superfine.training.recipe import OptimizerSection


@pytest.mark.parametrize(("native", "rounding"), [(True, 2e-4), (False, 6e-4)])
def test_muon_is_pytorchs_own_for_many_kernels_at_once(
    native: bool, rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three kernels of one shape, one of another, ten steps with random gradients; one has none in every other step."""
    monkeypatch.setattr(optimizers, "native_bf16", lambda device: native)
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


def test_adam_is_pytorchs_own_to_the_bit_where_a_weight_sits_out_steps() -> None:
    torch.manual_seed(0)
    ours, theirs = (ESRGCNN(ESRGCNNConfig((2, 3), width=6, distilled=2, blocks=1)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    section = OptimizerSection(rate=1e-2, betas=(0.8, 0.9), weight_decay=0.1)
    optimizer = Optimizer(ours, section)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.5e-2, betas=(0.8, 0.9), weight_decay=0.1)
    optimizer.set_rate_share(0.5)
    for step in range(6):
        for network in (ours, theirs):
            network.zero_grad()
            network(torch.ones(1, 3, 4, 4), 2 + step % 2).square().mean().backward()
        optimizer.step()
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
