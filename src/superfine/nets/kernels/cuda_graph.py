"""Record work on a GPU as a CUDA graph, which the host starts at once instead of kernel by kernel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_recording = threading.Lock()
"""PyTorch records one graph at a time in a process; several devices may each have a thread."""


def record(
    work: Callable[[], Tensor], pool: Any, *, warm_up: int, stream: torch.cuda.Stream | None = None
) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """Record `work` on the current device; return the graph and the tensor its replays write into.

    warm_up: times the work is really done before, in which compilers and cuDNN choose their kernels. pool: memory that
    graphs may share if only one runs at a time (torch.cuda.graph_pool_handle). stream: the stream to record on, the
    same for all graphs of a pool; None takes PyTorch's own for recordings. Other threads may use the GPU meanwhile.
    """
    side = stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with _recording:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(warm_up):
                work()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            result = work()
    return graph, result
