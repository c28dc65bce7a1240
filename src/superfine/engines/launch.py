"""Put batches of windows under way on a device of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from superfine.engines.ahead import Finished, Launched
from superfine.engines.base import Window

Work = Callable[[Tensor, bool], Tensor]
"""Takes windows on the device, stacked, and whether cuDNN may search for its fastest kernels; gives the results there,
stacked. There is one work for each type of window."""


class Launcher(Protocol):
    """A device that computes while the host does something else, or does not."""

    ahead: int
    """Batches that are worth beginning beside the one that is waited for."""

    def launch(self, windows: Sequence[Window], work: Work) -> Launched:
        """Begin `work` on windows of one type and shape."""
        ...

    def release(self) -> None:
        """Give back the device's memory that nothing under way needs."""
        ...


class AtOnce:
    """A device that is waited for: CPUs, which gain nothing by more than one window at a time, and Apple's GPUs."""

    ahead = 0

    def __init__(self, device: str) -> None:
        self._device = device

    def launch(self, windows: Sequence[Window], work: Work) -> Launched:
        """Do the work, and give what is finished."""
        with torch.inference_mode():
            given = torch.from_numpy(np.stack(windows)).to(self._device)
            return Finished(work(given, False).cpu().numpy())

    def release(self) -> None:
        """Do nothing: PyTorch keeps no memory on a CPU."""
