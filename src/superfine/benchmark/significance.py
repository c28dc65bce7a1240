"""Say in sentences how sure a result's means are, and whether one model beats another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from superfine.benchmark.result import Result, Row
from superfine.benchmark.tables import format_figure
from superfine.errors import DataError
from superfine.quality.protocols import LOWER_IS_BETTER

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
    """The comparison of two models picture by picture, first minus second."""

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
    """Compute the confidence interval of a mean over pictures: percentiles of the means of resampled sets.

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
    """Test two models on the same pictures by flipping signs (a permutation test).

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


def parse_pair(text: str, models: Sequence[str]) -> tuple[str, str]:
    """Read "A,B" as two of `models`, named as they were given or by the stem of their file; raise DataError if not."""
    first, comma, second = (part.strip() for part in text.partition(","))
    if not comma or not first or not second or "," in second:
        raise DataError(f"--compare got {text!r}; name two models, as in esrgcnn,bicubic")
    for name in (first, second):
        if name not in (*models, *(Path(model).stem for model in models)):
            raise DataError(f"cannot compare {name!r}: measured are {', '.join(models)}")
    return first, second


def _values(row: Row, metric: str) -> list[float]:
    return [each.figures[metric] for each in row.pictures]


def _where(row: Row) -> str:
    return f"{row.set} x{row.scale}, {row.protocol}"


def intervals(result: Result) -> Iterator[str]:
    """Write one line a row and metric: the mean with its 95 % bootstrap interval over the pictures."""
    for row in result.rows:
        for metric in row.figures:
            values = _values(row, metric)
            if len(values) < 2 or not all(map(math.isfinite, values)):
                yield f"{_where(row)}, {row.model}: no interval for {metric}; it needs finite figures of two pictures"
                continue
            found = bootstrap(values)
            low, high = format_figure(metric, found.low), format_figure(metric, found.high)
            yield f"{_where(row)}, {row.model}: {metric} {format_figure(metric, found.mean)}, 95 % of [{low}, {high}]"


def comparison(result: Result, first: str, second: str) -> Iterator[str]:
    """Write one line a set, scale, protocol and metric: does `first` beat `second`, by a paired test over the pictures?

    Raises:
        DataError: a model that was not measured, or compared with itself.
    """
    models = list(dict.fromkeys(row.model for row in result.rows))
    for name in (first, second):
        if name not in models:
            raise DataError(f"cannot compare {name!r}: measured were {', '.join(models)}")
    if first == second:
        raise DataError(f"cannot compare {first!r} with itself; name two models")
    for row in result.rows:
        other = result.row(row.set, row.scale, second, row.protocol)
        if row.model != first or other is None:
            continue
        for metric in row.figures:
            yield f"{_where(row)}, {metric}: {_verdict(row, other, metric)}"


def _verdict(row: Row, other: Row, metric: str) -> str:
    ours, theirs = _values(row, metric), _values(other, metric)
    if len(ours) < 2 or not all(map(math.isfinite, ours + theirs)):
        return "cannot be tested; it needs finite figures of two pictures"
    found = paired_test(ours, theirs)
    gap = found.difference
    lower = metric in LOWER_IS_BETTER
    wins, losses = (found.losses, found.wins) if lower else (found.wins, found.losses)
    digits = 3 if metric in ("psnr", "consistency") else 5
    size = f"{gap.mean:+.{digits}f} [{gap.low:+.{digits}f}, {gap.high:+.{digits}f}]"
    tally = f"better on {wins} of {gap.pictures}, worse on {losses}, p = {found.p:.2g}"
    # All signs alike is the strongest evidence there is, and it has this p.
    if 2.0 ** (1 - gap.pictures) >= 0.05:
        return f"{row.model} minus {other.model} {size}, {tally}; {gap.pictures} pictures are too few to be sure"
    if found.p >= 0.05:
        return f"{row.model} and {other.model} cannot be told apart: {size}, {tally}"
    better, worse = (row.model, other.model) if (gap.mean > 0) != lower else (other.model, row.model)
    return f"{better} beats {worse}: {row.model} minus {other.model} {size}, {tally}"
