"""Measure what each difference between two results is worth, and write it in sentences.

One result is turned into the other a factor at a time; each step is measured, so that the steps add up
to the whole difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.benchmark import sets
from superfine.benchmark.degrade import degrade_pair, parse_degradations
from superfine.benchmark.explain import Explained, Factor, MeasuredPicture, Setup
from superfine.benchmark.methods import INTERPOLATIONS, open_method
from superfine.benchmark.run import figures_of
from superfine.errors import DataError, ModelError, SuperfineError
from superfine.images.resize import downscale


@dataclass(frozen=True)
class Step:
    """One factor, measured: the mean figures before and after it changes."""

    factor: Factor
    before: dict[str, float]
    after: dict[str, float]


class PictureIndex:
    """Pictures of some folders, found by the hash of their pixels.

    Args:
        folders: benchmark sets in any layout; small pictures are also made on the fly.
        scale: of the small pictures.
        degraded: what degrades small pictures, such as "jpeg:40,noise:15"; they are then found degraded as well.
    """

    def __init__(self, folders: Sequence[Path], scale: int, degraded: str = "") -> None:
        self._found: dict[str, NDArray[np.uint8]] = {}
        degradations = parse_degradations(degraded) if degraded else ()
        for folder in sets.expand(folders):
            try:
                chosen = sets.find_set(folder, scale)
            except DataError:
                continue
            for pair in sets.pairs(chosen, skip_broken=True):
                small = [pair.lr, downscale(pair.hr, scale)]
                small += [degrade_pair(replace(pair, lr=lr), degradations).lr for lr in small]
                for pixels in (pair.hr, *small):
                    self._found.setdefault(sets.pixel_hash(pixels), pixels)

    def pair(self, picture: MeasuredPicture) -> sets.Pair:
        """Find the pair a result was measured on; raise DataError if its pixels are in none of the folders."""
        for digest, what in ((picture.hr, "original"), (picture.lr, "small picture")):
            if digest not in self._found:
                raise DataError(f"the {what} of {picture.name} ({digest[:12]}…) is in none of the folders given")
        return sets.Pair(picture.name, self._found[picture.hr], self._found[picture.lr], picture.gray)


class SetupMeasurer:
    """Measures setups again, and enlarges each picture once for all setups that measure it differently."""

    def __init__(self, folders: Sequence[Path], weights: Sequence[str] = ()) -> None:
        self._folders, self._weights = folders, weights
        self._indexes: dict[tuple[int, str], PictureIndex] = {}
        self._enlarged: dict[tuple[Any, ...], NDArray[Any]] = {}

    def figures(self, setup: Setup, metrics: Sequence[str]) -> dict[str, float]:
        """Measure the mean of each metric; raise DataError, ModelError or EngineError for what is not at hand here."""
        data = setup.scale, setup.degraded
        if data not in self._indexes:
            self._indexes[data] = PictureIndex(self._folders, *data)
        pairs = [self._indexes[data].pair(picture) for picture in setup.pictures]
        how = (setup.scale, setup.model, setup.weights, setup.engine, setup.precision)
        keys = [(*how, sets.pixel_hash(pair.lr)) for pair in pairs]
        if missing := {key: pair.lr for key, pair in zip(keys, pairs, strict=True) if key not in self._enlarged}:
            method = self._method(setup)
            self._enlarged |= {key: method(lr) for key, lr in missing.items()}
        each_figures = [
            figures_of(self._enlarged[key], pair, setup.scale, setup.protocol, metrics)
            for key, pair in zip(keys, pairs, strict=True)
        ]
        return {name: float(np.mean([figures[name] for figures in each_figures])) for name in metrics}

    def _method(self, setup: Setup) -> Any:
        if setup.model in INTERPOLATIONS and not setup.weights:
            return open_method(setup.model, setup.scale)
        for name in [*self._weights, setup.model]:
            try:
                method = open_method(name, setup.scale, setup.engine or "auto", setup.precision or "auto")
            except ModelError:
                continue
            if method.info.weights_sha256 == setup.weights:
                return method
        raise ModelError(
            f"the weights {setup.weights[:12]}… of {setup.model} are not here; name their file with --weights"
        )


def measure_steps(explained: Explained, measurer: SetupMeasurer, metrics: Sequence[str]) -> Iterator[Step]:
    """Measure each factor, in order; the first step begins at the first row, the last ends at the second."""
    before = measurer.figures(explained.start, metrics)
    for factor in explained.factors:
        after = measurer.figures(factor.change, metrics)
        yield Step(factor, before, after)
        before = after


Write = Callable[[str], object]
"""Called with each line of text."""


def write_explanation(explained: Explained, measurer: SetupMeasurer | None, write: Write) -> bool:
    """Write one comparison, a line at a time; return False where a step could not be measured here.

    Without a measurer differences are named and not measured.
    """
    one, other = explained.first, explained.second
    metrics = [name for name in one.figures if name in other.figures]
    write(f"{one.set} x{one.scale}: {one.model}, {one.protocol} against {other.model}, {other.protocol}")
    for name in metrics:
        write(f"  {name}: {_change(one.figures[name], other.figures[name], name)}")
    complete = True
    if measurer is None:
        for factor in explained.factors:
            write(f"  differs: {factor.name}: {factor.before} → {factor.after}")
    elif explained.factors:
        complete = _write_steps(explained, measurer, metrics, write)
    if not explained.factors:
        equal = all(_close(one.figures[name], other.figures[name]) for name in metrics)
        write("  nothing differs" if equal else "  nothing recorded differs; compare the versions and machines")
    elif explained.same:
        write(f"  same: {', '.join(explained.same)}")
    return complete


def _write_steps(explained: Explained, measurer: SetupMeasurer, metrics: list[str], write: Write) -> bool:
    done, last = 0, dict[str, float]()
    try:
        for step in measure_steps(explained, measurer, metrics):
            if not done:
                _write_gaps("the first, measured again here", explained.first.figures, step.before, metrics, write)
            worth = ", ".join(f"{name} {_change(step.before[name], step.after[name], name)}" for name in metrics)
            write(f"  {step.factor.name}: {step.factor.before} → {step.factor.after}: {worth}")
            done, last = done + 1, step.after
    except SuperfineError as error:
        for factor in explained.factors[done:]:
            write(f"  differs, not measured: {factor.name}: {factor.before} → {factor.after}")
        write(f"  cannot measure further here: {error}")
        return False
    _write_gaps("left over", last, explained.second.figures, metrics, write)
    return True


def _write_gaps(what: str, before: dict[str, float], after: dict[str, float], metrics: list[str], write: Write) -> None:
    gaps = [
        f"{name} {_change(before[name], after[name], name)}"
        for name in metrics
        if not _close(before[name], after[name])
    ]
    if gaps:
        write(f"  {what}: {', '.join(gaps)} (versions or machine)")


def _close(a: float, b: float) -> bool:
    return a == b or abs(a - b) < 5e-5


def _change(before: float, after: float, name: str) -> str:
    digits, unit = (3, " dB") if name in ("psnr", "consistency") else (4, "")
    text = f"{before:.{digits}f} → {after:.{digits}f}"
    return text if math.isinf(before) or math.isinf(after) else f"{text} ({after - before:+.{digits}f}{unit})"
