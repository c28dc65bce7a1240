"""The quality a JPEG was saved at, out of its quantization tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Annex K of the JPEG standard, the luma table that libjpeg scales.
LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)


LOW = np.array([1.0 if k // 8 < 4 and k % 8 < 4 else 0.1 for k in range(64)])
"""Weight of each step: the low frequencies show. The others tell neighbouring qualities apart."""


def quality_of(tables: Mapping[int, Sequence[int]]) -> int | None:
    """Estimate the quality, 1..100 as libjpeg counts, of a file with these tables; None if there are none.

    Cameras and editors have tables of their own: then it is the quality whose table is as coarse, in the weighted
    mean logarithm. tables: number → 64 steps, row by row; the first is that of luma.
    """
    if not tables:
        return None
    apart = np.abs(_coarseness() - _mean_logarithm(np.asarray(tables[min(tables)], np.float64)))
    return 100 - int(apart[::-1].argmin())  # of several that are the same, the highest


def _mean_logarithm(table: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithms: NDArray[np.float64] = np.log(np.clip(table, 1, 255)) @ LOW / LOW.sum()
    return logarithms


@cache
def _coarseness() -> NDArray[np.float64]:
    """Compute how coarse libjpeg's luma table is at quality 1 to 100."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return _mean_logarithm(((np.array(LUMA) * scale + 50) // 100).astype(np.float64))
