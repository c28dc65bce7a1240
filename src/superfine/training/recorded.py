"""Training steps recorded as CUDA graphs: the host chooses a scale, says where the patches lie and replays.

A step of these networks is some three hundred small kernels; launched one by one they leave a large GPU idle for most
of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from superfine.nets.kernels.cuda_graph import record

Drawn = tuple[Tensor, ...]
"""A step's random choices: where the patches lie (`PatchSampler.places`), then how they are spoilt if they are."""

WARM = 3
"""Passes before a step is recorded: compilers and cuDNN choose their kernels in them."""


class RecordedSteps:
    """Steps by key. All share one pool of memory, since only one runs at a time."""

    def __init__(self) -> None:
        self._steps: dict[Hashable, tuple[torch.cuda.CUDAGraph, Drawn, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, key: Hashable, drawn: Drawn, work: Callable[[Drawn], Tensor]) -> None:
        """Record `work(drawn) → loss`; it is really done WARM times on the way.

        drawn: the random choices of one step, on the CPU.
        """
        fixed = tuple(tensor.cuda() for tensor in drawn)
        graph, loss = record(lambda: work(fixed), self._pool, warm_up=WARM)
        self._steps[key] = graph, fixed, loss

    def __contains__(self, key: Hashable) -> bool:
        return key in self._steps

    def replay(self, key: Hashable, drawn: Drawn) -> Tensor:
        """Make the step with the choices `drawn`; return the loss."""
        graph, fixed, loss = self._steps[key]
        for to, tensor in zip(fixed, drawn, strict=True):
            to.copy_(tensor.pin_memory(), non_blocking=True)
        graph.replay()
        return loss.clone()  # the next replay writes there again
