"""How far a mean over a few pictures can be trusted, and whether one model really beats another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_EXACT_UP_TO = 16  # pictures: 65,536 sign patterns are all tried; beyond that a sample of them
_PATTERNS = 100_000
_SEED = 20_220_528  # the same result every time


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap confidence interval, in the metric's unit."""

    mean: float
    low: float
    high: float
    level: float  # 0.95: the interval that 95 % of resampled means fall in
    pictures: int


@dataclass(frozen=True)
class Paired:
    """First minus second, picture by picture."""

    difference: Interval
    wins: int  # pictures where the first is better
    losses: int
    p: float  # two-sided: how often a difference as large comes out if the two are equally good


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < 2 or not np.isfinite(array).all():
        raise ValueError("statistics need finite figures of at least two pictures")
    return array


def bootstrap(values: Sequence[float], level: float = 0.95) -> Interval:
    """Confidence interval of a mean over pictures: percentiles of the means of resampled sets.

    Args:
        values: one figure a picture, finite, two or more.
        level: 0..1.

    Raises:
        ValueError: fewer than two figures, or infinite ones.
    """
    array = _finite(values)
    random = np.random.default_rng(_SEED)
    means = array[random.integers(0, array.size, (RESAMPLES, array.size))].mean(axis=1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(array.mean()), float(low), float(high), level, array.size)


def paired_test(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Paired:
    """Sign-flip permutation test of two models on the same pictures.

    If the two were equally good, each picture's difference could as well have had the other sign. `p`
    is the share of sign patterns whose mean is at least as far from zero: all patterns up to 16
    pictures, 100,000 random ones beyond.

    Args:
        first, second: one figure a picture, in the same order, finite, two or more.

    Raises:
        ValueError: other lengths, fewer than two figures, or infinite ones.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} figures cannot be paired with {len(second)}; measure both on the same pictures")
    differences = _finite(first) - _finite(second)
    count = differences.size
    if count <= _EXACT_UP_TO:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        means = np.abs((1 - 2 * bits) @ differences)
        p = float((means >= abs(differences.sum()) - 1e-12).mean())
    else:
        random = np.random.default_rng(_SEED)
        beyond = 0
        for _ in range(_PATTERNS // 1000):
            signs = random.integers(0, 2, (1000, count)) * 2 - 1
            beyond += int((np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).sum())
        # The pattern that was measured is one of them, so p is never zero.
        p = (beyond + 1) / (_PATTERNS // 1000 * 1000 + 1)
    return Paired(bootstrap(differences.tolist(), level), int((differences > 0).sum()), int((differences < 0).sum()), p)
