"""Batches of windows on an NVIDIA GPU: copied there, computed as CUDA graphs and copied back, all three at once.

A network is a hundred small kernels; launched one by one they leave a large GPU idle for a good part of the time. So
does a GPU that waits for copies.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from superfine.engines.ahead import Launched
from superfine.engines.base import Window
from superfine.engines.launch import Work
from superfine.nets.kernels.cuda_graph import record

_WARM_UP = 2
"""Runs before a batch is recorded: cuDNN chooses its kernels in them."""

_KEPT = 8
"""Recordings at most; a picture needs one, a folder of small pictures one for each power of two."""

_Key = tuple[str, int, tuple[int, ...]]


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    given: Tensor
    result: Tensor


class CudaLauncher:
    """Batches under way on one CUDA device; from the second batch of a shape on, by replaying a recording.

    Three streams: one copies to the device, one computes, one copies from it. Each batch has tensors of its own to
    travel in, so the next is copied while the last is computed. Recording takes about half a second, which the only
    batch of a shape would not earn back. All recordings share one pool of memory, since one stream replays them all.
    """

    ahead = 1

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        with torch.cuda.device(self._device):
            self._up, self._compute, self._down = (torch.cuda.Stream() for _ in range(3))  # type: ignore[no-untyped-call]
        self._seen: OrderedDict[_Key, _Recording | None] = OrderedDict()
        self._pool: Any = None
        self._lock = threading.Lock()

    def launch(self, windows: Sequence[Window], work: Work) -> Launched:
        """Begin `work` on windows of one type and shape; several threads may do so."""
        first = windows[0]
        key = first.dtype.str, len(windows), first.shape
        with self._lock, torch.inference_mode(), torch.cuda.device(self._device):
            host = _pinned((len(windows), *first.shape), getattr(torch, first.dtype.name))
            np.stack(windows, out=host.numpy())
            try:
                with torch.cuda.stream(self._up):
                    given = host.to(self._device, non_blocking=True)
                self._compute.wait_stream(self._up)
                with torch.cuda.stream(self._compute):
                    result, recording = self._compute_batch(key, given, work)
                self._down.wait_stream(self._compute)
                with torch.cuda.stream(self._down):
                    out = _pinned(tuple(result.shape), result.dtype)
                    out.copy_(result, non_blocking=True)
                    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                    done.record(self._down)
            except BaseException:
                torch.cuda.synchronize(self._device)  # before what was begun loses its tensors
                raise
            return _UnderWay(done, out.numpy(), (host, given, result, recording))

    def release(self) -> None:
        """Drop all recordings, and with them the memory of their activations, once what is under way has ended."""
        with self._lock:
            self._seen.clear()
            self._pool = None
        torch.cuda.empty_cache()

    def _compute_batch(self, key: _Key, given: Tensor, work: Work) -> tuple[Tensor, _Recording | None]:
        """Compute on the current stream; also give the recording in use."""
        if key not in self._seen:
            result = work(given, False)
            self._remember(key, None)
            return result, None
        recording = self._seen[key] or self._record(given, work)
        self._remember(key, recording)
        recording.given.copy_(given)
        recording.graph.replay()
        return recording.result.clone(), recording  # the next replay writes there again

    def _remember(self, key: _Key, recording: _Recording | None) -> None:
        self._seen[key] = recording
        self._seen.move_to_end(key)
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)

    def _record(self, given: Tensor, work: Work) -> _Recording:
        fixed = given.clone()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph, result = record(lambda: work(fixed, True), self._pool, warm_up=_WARM_UP, stream=self._compute)
        return _Recording(graph, fixed, result)


class _UnderWay:
    """A batch between its launch and its end."""

    def __init__(self, done: torch.cuda.Event, out: Window, used: tuple[object, ...]) -> None:
        """used: what the streams read and write until `done`. A tensor's memory may be given to the next tensor of the
        stream it was made on as soon as it is dropped, whatever other streams still do with it.
        """
        self._done, self._out, self._used = done, out, used

    def result(self) -> Window:
        """Wait for the copy. The array is the pinned memory itself, which PyTorch uses again when it is dropped."""
        self._done.synchronize()
        self._used = ()
        return self._out


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Take memory that is copied from and to the device at full speed; PyTorch keeps it for the next once allocated."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)
