"""A device for tests that computes beside the host: the real network, on a thread of the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from superfine.engines.base import Window
from superfine.engines.launch import Work


class _UnderWay:
    def __init__(self, device: OnAThread, future: Future[Window], pixels: int) -> None:
        self._device, self._future, self._pixels = device, future, pixels

    def result(self) -> Window:
        try:
            return self._future.result()
        finally:
            self._device.held -= self._pixels
            self._device.under_way.discard(self)
            self._pixels = 0


class OnAThread:
    """Batches computed one after the other, in the order of their launch, while the host goes on.

    memory: LR pixels of all batches that were launched and not waited for; more raise PyTorch's own error, at once, or
    with `late` when the batch is waited for.
    """

    ahead = 1

    def __init__(self, memory: int | None = None, *, late: bool = False) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.memory, self._late = memory, late
        self.held = 0
        self.batches: list[int] = []
        """Windows of each batch that was launched."""
        self.under_way: set[_UnderWay] = set()
        """Batches that were launched and not waited for; how fast the thread computes them changes nothing."""
        self.most_under_way = 0

    def launch(self, windows: Sequence[Window], work: Work) -> _UnderWay:
        pixels = len(windows) * windows[0].size // 3
        short = self.memory is not None and self.held + pixels > self.memory
        if short and not self._late:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        stacked = np.stack(windows)  # as on a GPU: what the host does to the windows from here on is not seen
        self.batches.append(len(windows))
        self.held += pixels

        def compute() -> Window:
            if short:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            with torch.inference_mode():
                return work(torch.from_numpy(stacked), False).numpy()

        batch = _UnderWay(self, self._thread.submit(compute), pixels)
        self.under_way.add(batch)
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        return batch

    def release(self) -> None:
        """Nothing is kept."""
