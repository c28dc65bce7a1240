"""Training steps recorded as CUDA graphs: the host chooses a scale, says where the patches lie and replays.

A step of these networks is some three hundred small kernels; launched one by one they leave a large GPU idle for most
of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from superfine.nets.kernels.cuda_graph import record

WARM = 3
"""Passes before a step is recorded: compilers and cuDNN choose their kernels in them."""


class RecordedSteps:
    """Steps by key. All share one pool of memory, since only one runs at a time."""

    def __init__(self) -> None:
        self._steps: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, key: Hashable, places: Tensor, work: Callable[[Tensor], Tensor]) -> None:
        """Record `work(places) → loss`; it is really done WARM times on the way.

        places: where the patches of one step lie, on the CPU (`PatchSampler.places`).
        """
        fixed = places.cuda()
        graph, loss = record(lambda: work(fixed), self._pool, warm_up=WARM)
        self._steps[key] = graph, fixed, loss

    def __contains__(self, key: Hashable) -> bool:
        return key in self._steps

    def replay(self, key: Hashable, places: Tensor) -> Tensor:
        """Make the step with its patches at `places`; return the loss."""
        graph, fixed, loss = self._steps[key]
        fixed.copy_(places.pin_memory(), non_blocking=True)
        graph.replay()
        return loss.clone()  # the next replay writes there again
