"""Is the loss still sane? Watched without making the host wait for the device at every step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EXPLODED = 3.0
"""A running loss this many times the lowest one so far has left for good; noise between batches stays under 2."""

SETTLED = 8
"""Steps of a scale that are averaged before its mean is compared with anything."""


class LossWatch:
    """Running mean of the loss by scale (a x4 patch costs about twice what a x2 patch does), and its lowest value.

    Both stay on the device until `sane` reads them.
    """

    def __init__(self) -> None:
        self._means: dict[int, Tensor] = {}
        self._lowest: dict[int, Tensor] = {}
        self._counts: dict[int, int] = {}
        self.shown: float | None = None
        """Mean over the scales of the running means, when last read."""

    def add(self, loss: Tensor, scale: int) -> None:
        """Take one step's loss (a scalar, left on its device)."""
        count = self._counts[scale] = self._counts.get(scale, 0) + 1
        mean = self._means[scale] = self._means.get(scale, loss).lerp(loss, max(0.05, 1 / count))
        if count >= SETTLED:
            self._lowest[scale] = torch.minimum(self._lowest.get(scale, mean), mean)

    def sane(self) -> bool:
        """Read the means: False if one is not a number, or has risen EXPLODED-fold over its lowest."""
        if not self._means:
            return True
        means = dict(zip(self._means, torch.stack(list(self._means.values())).tolist(), strict=True))
        self.shown = sum(means.values()) / len(means)
        if not all(math.isfinite(value) for value in means.values()):
            return False
        return all(means[scale] <= EXPLODED * float(lowest) for scale, lowest in self._lowest.items())
