"""Training steps recorded as CUDA graphs: the host chooses a scale, says where the patches lie and replays.

A step of these networks is some three hundred small kernels; launched one by one they leave a large GPU idle for most
of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

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
        fixed, stream = places.cuda(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                work(fixed)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            loss = work(fixed)
        self._steps[key] = graph, fixed, loss

    def __contains__(self, key: Hashable) -> bool:
        return key in self._steps

    def replay(self, key: Hashable, places: Tensor) -> Tensor:
        """The step with its patches at `places`; gives the loss."""
        graph, fixed, loss = self._steps[key]
        fixed.copy_(places.pin_memory(), non_blocking=True)
        graph.replay()
        return loss.clone()  # the next replay writes there again
