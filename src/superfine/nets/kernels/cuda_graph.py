"""Record work on a GPU as a CUDA graph, which the host starts at once instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def record(work: Callable[[], Tensor], pool: Any, *, warm_up: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """Record `work` on the current device; return the graph and the tensor its replays write into.

    warm_up: times the work is really done before, in which compilers and cuDNN choose their kernels. pool: memory that
    graphs may share if only one runs at a time (torch.cuda.graph_pool_handle).
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_up):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        result = work()
    return graph, result
