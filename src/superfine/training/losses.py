"""The losses a recipe may choose, and a watch over the loss of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PSNR_FLOOR = 1e-4
"""Mean squared error (40 dB) below which a patch counts for no more: a flat one could otherwise outweigh all."""

EXPLODED = 3.0
"""A running loss this many times the lowest one so far has left for good; noise between batches stays under 2."""

SETTLED = 8
"""Steps of a scale that are averaged before its mean is compared with anything."""


def charbonnier(sr: Tensor, hr: Tensor) -> Tensor:
    """Compute L1, rounded off at 0.001."""
    return torch.sqrt((sr - hr) ** 2 + 1e-6).mean()


def psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """Compute the mean over the patches of log(1 + MSE / PSNR_FLOOR): it falls as the mean of their PSNR rises.

    A benchmark's figure is the mean of pictures' PSNR, so an error in a smooth picture counts for more than one in a
    detailed picture; in MSE and L1 over all pixels it is the other way round.
    """
    return torch.log1p(((sr - hr) ** 2).mean((1, 2, 3)) / PSNR_FLOOR).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "charbonnier": charbonnier,
    "psnr": psnr,
}
"""Functions of two batches of pictures, NCHW RGB in 0..1, that return a scalar."""


class LossWatch:
    """Keeps the running mean of the loss by scale, and its lowest value (a x4 patch has twice the loss of a x2 one).

    Both stay on the device until `is_sane` reads them, so that the host need not wait for the device at every step.
    """

    def __init__(self) -> None:
        self._means: dict[int, Tensor] = {}
        self._lowest: dict[int, Tensor] = {}
        self._counts: dict[int, int] = {}
        self.mean: float | None = None
        """Mean over the scales of the running means, when last read."""

    def add(self, loss: Tensor, scale: int) -> None:
        """Take in one step's loss (a scalar, left on its device)."""
        count = self._counts[scale] = self._counts.get(scale, 0) + 1
        mean = self._means[scale] = self._means.get(scale, loss).lerp(loss, max(0.05, 1 / count))
        if count >= SETTLED:
            self._lowest[scale] = torch.minimum(self._lowest.get(scale, mean), mean)

    def is_sane(self) -> bool:
        """Read the means: False if one is not a number, or has risen EXPLODED-fold over its lowest."""
        if not self._means:
            return True
        means = dict(zip(self._means, torch.stack(list(self._means.values())).tolist(), strict=True))
        self.mean = sum(means.values()) / len(means)
        if not all(math.isfinite(value) for value in means.values()):
            return False
        return all(means[scale] <= EXPLODED * float(lowest) for scale, lowest in self._lowest.items())
