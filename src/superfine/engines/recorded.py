"""Windows recorded as CUDA graphs: the host copies a window in, replays all of the network and copies the result out.

A network is a hundred small kernels; launched one by one they leave a large GPU idle for a good part of the time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from superfine.nets.kernels.cuda_graph import record

Work = Callable[[Tensor, bool], Tensor]
"""Takes a window on the device, and whether cuDNN may search for its fastest kernels; gives the result there."""

_WARM_UP = 2
"""Runs before a window is recorded: cuDNN chooses its kernels in them."""

_KEPT = 4
"""Recordings at most; a picture needs one, a folder of like pictures few."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    host: Tensor
    """Pinned, so that it is copied to the device at full speed."""
    given: Tensor
    result: Tensor


class RecordedWindows:
    """Run work on windows of one CUDA device; from the second window of a size on, by replaying a recording.

    Recording takes about half a second, which the only window of a size would not earn back. All recordings share one
    pool of memory, since only one runs at a time.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._seen: OrderedDict[tuple[str, tuple[int, ...]], _Recording | None] = OrderedDict()
        self._pool: Any = None
        self._lock = threading.Lock()

    def run(self, window: NDArray[Any], work: Work) -> NDArray[Any]:
        """Give what `work` makes of the window. There is one work for each type of window."""
        key = (window.dtype.str, window.shape)
        with self._lock, torch.inference_mode(), torch.cuda.device(self._device):
            if key not in self._seen:
                result = work(torch.tensor(window, device=self._device), False)
                self._remember(key, None)
            else:
                recording = self._seen[key] or self._record(window, work)
                self._remember(key, recording)
                np.copyto(recording.host.numpy(), window)
                recording.given.copy_(recording.host, non_blocking=True)
                recording.graph.replay()
                result = recording.result
            # Pinned memory is kept by PyTorch once it is allocated, and the array is this memory: nothing is copied.
            out = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
            out.copy_(result, non_blocking=True)
            torch.cuda.current_stream().synchronize()
            return out.numpy()

    def release(self) -> None:
        """Drop all recordings, and with them the memory of their activations."""
        with self._lock:
            self._seen.clear()
            self._pool = None

    def _remember(self, key: tuple[str, tuple[int, ...]], recording: _Recording | None) -> None:
        self._seen[key] = recording
        self._seen.move_to_end(key)
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)

    def _record(self, window: NDArray[Any], work: Work) -> _Recording:
        host = torch.from_numpy(np.empty_like(window, order="C")).pin_memory()
        given = torch.tensor(window, device=self._device)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph, result = record(lambda: work(given, True), self._pool, warm_up=_WARM_UP)
        return _Recording(graph, host, given, result)
