"""Look for the blocks of JPEG and for noise in a bounded sample of a picture's pixels. Same pixels, same numbers.

JPEGs that were saved again as PNG or WebP still have their grid of blocks; noise shows where the picture is flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.images.depth import Pixels
from superfine.images.picture import Picture
from superfine.images.rows import PictureRows, Rows

Luma = NDArray[np.float64]
"""HW, levels 0..255."""

BLOCK = 8
WHOLE = 1 << 20
"""Pixels up to which all of a picture is looked at."""
STRIPS, STRIP_PIXELS, STRIP_WIDTH = 4, 1 << 18, 4096
"""Of a larger one: so many strips of rows, evenly from top to bottom, of so many pixels, of the middle columns."""

BLOCKY, BLOCKY_IF_SMALL = 1.08, 20.0
"""Least step at block borders over that elsewhere: BLOCKY + BLOCKY_IF_SMALL / sqrt(pixels), above all chance."""
NOISY = 2.6
"""Least sigma of noise in luma, levels of 255; film grain and texture of clean photographs stay below."""
LOUDEST = 40.0
"""More than this is no noise of a photograph but dither or line art, and counts as none."""

FLAT_SHARE, FLAT_COUNT = 0.02, 8
"""Blocks without structure there must be, as a share of all and as a number, to tell noise from texture."""
FLATNESS = 0.45
"""Most variance of 2x2 means, plane taken out, over that of single pixels; of white noise it is a quarter."""
LOWEST, OF_LOWEST = 5, 0.83
"""Percentile of the blocks' sigma, and what share of the true sigma it is in a picture of nothing but noise."""


@dataclass(frozen=True)
class Evidence:
    """Blocks and noise that were found in a picture."""

    blockiness: float
    """Steps at borders of 8x8 blocks over those elsewhere; about 1 without JPEG."""
    blocky: bool
    """True if that is more than chance."""
    noise: float
    """Sigma of the noise in luma, levels of 255; 0 where it cannot be told from texture."""

    @property
    def noisy(self) -> bool:
        """True if there is more noise than clean photographs have."""
        return self.noise >= NOISY


def examine(source: Picture | Rows) -> Evidence:
    """Look at a sample of a picture's pixels; rows of a file are decoded once for that.

    Raises ImageError if the file of such rows is damaged.
    """
    if isinstance(source, PictureRows):
        source = source.picture
    head = source if isinstance(source, Picture) else source.head
    strips = [_luma(strip, head.pixels.dtype) for strip in _sample(source, head.width, source.height)]
    pixels = sum(strip.size for strip in strips)
    blockiness = _blockiness(strips)
    return Evidence(blockiness, blockiness > BLOCKY + BLOCKY_IF_SMALL / max(pixels, 1) ** 0.5, _noise(strips))


def _sample(source: Picture | Rows, width: int, height: int) -> list[Pixels]:
    """Cut the strips to be looked at; all begin at multiples of BLOCK, so that a grid lies the same in each."""
    if width * height <= WHOLE:
        left, tops, rows = 0, [0], height
    else:
        left = max(0, width - STRIP_WIDTH) // 2 // BLOCK * BLOCK
        rows = min(height, max(2 * BLOCK, STRIP_PIXELS // min(width, STRIP_WIDTH)))
        count = min(STRIPS, height // rows)
        tops = [(height - rows) * k // max(1, count - 1) // BLOCK * BLOCK for k in range(count)]
        width = min(width, STRIP_WIDTH)
    if isinstance(source, Picture):
        strips: list[Pixels] = [source.pixels[top : top + rows] for top in tops]
    else:
        strips = source.strips(tops, rows)
    return [strip[:, left : left + width] for strip in strips]


def _luma(pixels: Pixels, kind: np.dtype[Any]) -> Luma:
    top = 255.0 if kind.kind == "f" else 255.0 / np.iinfo(kind).max
    values = pixels.astype(np.float64) * top
    luma: Luma = values[..., 0] if values.shape[2] == 1 else values @ np.array([0.299, 0.587, 0.114])
    return luma


def _blockiness(strips: Sequence[Luma]) -> float:
    """Compare steps at every eighth border with the others: the geometric mean over rows and columns."""
    product = 1.0
    for turned in (False, True):
        steps = [_steps(strip.T if turned else strip) for strip in strips]
        if not all(each.shape[1] >= 2 * BLOCK and each.size for each in steps):
            return 1.0
        most = 6 * float(np.median(np.concatenate([each.ravel() for each in steps]))) + 1  # edges say nothing
        by_phase = np.array(
            [np.concatenate([np.minimum(s[:, k::BLOCK], most).ravel() for s in steps]).mean() for k in range(BLOCK)]
        )
        at = int(by_phase.argmax())
        elsewhere = np.mean([by_phase[(at + k) % BLOCK] for k in range(2, BLOCK - 1)])  # the nearest share its pixels
        product *= by_phase[at] / (elsewhere + 0.02)
    return float(product**0.5)


def _steps(luma: Luma) -> Luma:
    """Compute the third difference along rows: a step between two slopes has a large one."""
    steps: Luma = np.abs(3 * (luma[:, 1:-2] - luma[:, 2:-1]) + luma[:, 3:] - luma[:, :-3])
    return steps


def _noise(strips: Sequence[Luma]) -> float:
    """Estimate sigma as the lower of two: of blocks without structure, and of the quietest blocks of all."""
    parts = [_variances(strip) for strip in strips if min(strip.shape) > BLOCK + 1]
    if not parts:
        return 0.0
    fine, coarse, level = (np.concatenate([part[k].ravel() for part in parts]) for k in range(3))
    open_range = (level > BLOCK) & (level < 255 - BLOCK)  # clipped noise is not all there
    flat = open_range & (coarse < FLATNESS * fine)
    if flat.sum() < FLAT_COUNT or flat.mean() < FLAT_SHARE:
        return 0.0
    lowest = np.sqrt(np.percentile(fine[open_range], LOWEST)) / OF_LOWEST
    sigma = float(min(lowest, np.sqrt(np.median(fine[flat]))))
    return sigma if sigma <= LOUDEST else 0.0


def _variances(luma: Luma) -> tuple[Luma, Luma, Luma]:
    """Compute of each 8x8 block: the variance of fine detail, that of 2x2 means beside a plane, and the mean.

    Fine detail is Immerkaer's mask, whose response to white noise of sigma 1 has variance 36.
    """
    side = luma[:, :-2] - 2 * luma[:, 1:-1] + luma[:, 2:]
    response = side[:-2] - 2 * side[1:-1] + side[2:]
    down, across = response.shape[0] // BLOCK, response.shape[1] // BLOCK
    shape, half = (slice(down * BLOCK), slice(across * BLOCK)), BLOCK // 2
    fine = (response[shape].reshape(down, BLOCK, across, BLOCK) ** 2).mean((1, 3)) / 36
    inner = luma[1 : 1 + down * BLOCK, 1 : 1 + across * BLOCK]
    means = inner.reshape(down, half, 2, across, half, 2).mean((2, 5)).transpose(0, 2, 1, 3)
    line = np.arange(half) - (half - 1) / 2
    power = half * float(line @ line)
    level = means.mean((2, 3), keepdims=True)
    right = (means * line).sum((2, 3), keepdims=True) / power
    below = (means * line[:, None]).sum((2, 3), keepdims=True) / power
    rest = means - level - right * line - below * line[:, None]
    return fine, (rest**2).sum((2, 3)) / (half * half - 3), level[..., 0, 0]
