"""Statistics of a result in sentences: how sure a mean is, and whether one model beats another."""

from __future__ import annotations

import math
from collections.abc import Iterator

from superfine.errors import DataError
from superfine.quality.benchmark.result import Result, Row
from superfine.quality.benchmark.tables import number
from superfine.quality.protocols import LOWER_IS_BETTER
from superfine.quality.statistics import bootstrap, paired_test


def _values(row: Row, metric: str) -> list[float]:
    return [each.figures[metric] for each in row.pictures]


def _where(row: Row) -> str:
    return f"{row.set} x{row.scale}, {row.protocol}"


def intervals(result: Result) -> Iterator[str]:
    """One line a row and metric: the mean with its 95 % bootstrap interval over the pictures."""
    for row in result.rows:
        for metric in row.figures:
            values = _values(row, metric)
            if len(values) < 2 or not all(map(math.isfinite, values)):
                yield f"{_where(row)}, {row.model}: no interval for {metric}; it needs finite figures of two pictures"
                continue
            found = bootstrap(values)
            low, high = number(metric, found.low), number(metric, found.high)
            yield f"{_where(row)}, {row.model}: {metric} {number(metric, found.mean)}, 95 % of [{low}, {high}]"


def comparison(result: Result, first: str, second: str) -> Iterator[str]:
    """One line a set, scale, protocol and metric: whether `first` beats `second`, by a paired test over the pictures.

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
