"""Back-projection: change a result so that, downscaled, it gives the picture it came from.

Irani and Peleg, "Improving resolution by image registration", 1991: the difference between the
input and the downscaled result is enlarged and added, again and again. Downscaling is the papers' bicubic
(images.resize).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10

import numpy as np
from numpy.typing import NDArray

from superfine.images.depth import Pixels, as_float32, as_type
from superfine.images.resize import downscale, resize
from superfine.upscaling.tiles import Box, plan_tiles

ROUNDS = 10
"""After so many rounds only the rounding of the result to its type is left."""

_REACH = 5
"""LR pixels one round looks to each side: downscaling sees 2, enlarging 2, and both sit between pixels."""

_TILE = 256


@dataclass(frozen=True)
class Consistency:
    """The agreement of the downscaled result with the input: PSNR in dB over all channels."""

    before: float
    after: float


def project_back(sr: Pixels, lr: Pixels, scale: int) -> tuple[Pixels, Consistency]:
    """Change a result until it agrees with its input, and say how well it agreed before and agrees now.

    sr: HWC, `scale` times lr's sides; lr: HWC; both uint8, uint16 or float32 0..1, of one type.
    In tiles whose context holds everything ROUNDS rounds can see, so a picture of any size is done the same way.
    """
    out = np.empty_like(sr)
    errors = np.zeros(2)
    for tile in plan_tiles(lr.shape[0], lr.shape[1], _TILE, ROUNDS * _REACH):
        small = as_float32(_cut(lr, tile.read))
        start = as_float32(_cut(sr, tile.read.scaled(scale)))
        kept, inner = tile.keep.inside(tile.read), tile.keep.inside(tile.read).scaled(scale)
        done = as_type(_rounds(start, small, scale), sr.dtype)
        _cut(out, tile.keep.scaled(scale))[:] = _cut(done, inner)
        for index, large in enumerate((start, as_float32(done))):
            errors[index] += float(np.square(_cut(_residual(large, small, scale), kept), dtype=np.float64).sum())
    before, after = (_decibels(error / lr.size) for error in errors)
    return out, Consistency(before, after)


def _rounds(large: NDArray[np.float32], small: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    for _ in range(ROUNDS):
        missing = resize(_residual(large, small, scale), (large.shape[0], large.shape[1]))
        large = np.clip(large + missing, 0, 1)
    return large


def _residual(large: NDArray[np.float32], small: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    residual: NDArray[np.float32] = small - downscale(large, scale)
    return residual


def _cut(values: Pixels, box: Box) -> Pixels:
    return values[box.top : box.bottom, box.left : box.right]


def _decibels(error: float) -> float:
    return -10 * log10(error) if error > 0 else inf
