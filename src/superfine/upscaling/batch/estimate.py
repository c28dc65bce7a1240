"""FileEstimate the cost of a plan before it is carried out: run windows and encoders, and count the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from superfine.images.alpha import is_uniform_around
from superfine.images.depth import Pixels
from superfine.images.formats.frames import Frames, same_pixels, write_frames
from superfine.images.picture import Picture
from superfine.images.rows import Rows
from superfine.upscaling.finish import finish
from superfine.upscaling.memory import PILLOW_PIXEL_BYTES, band_row, bytes_of, peak_memory, peak_of_plan
from superfine.upscaling.plan import Plan, Target
from superfine.upscaling.tiles import Box, Tile
from superfine.upscaling.upscaler import Upscaler

Result = TypeVar("Result")

_SAMPLE = 1024
"""Pixels a side of the piece of the result whose encoding is timed: large enough for encoders that use all cores."""

_MOST_RUNS = 3
_LONG_ENOUGH = 2.0
"""Each part is run so often, and not again after so many seconds; the median counts, as other work comes and goes."""


@dataclass(frozen=True)
class FileEstimate:
    """The cost of one file, all its frames or pages, from file to file."""

    plan: Plan
    """The first picture's plan."""
    frames: int
    pixels: int
    """Pixels of all results."""
    memory: int
    """Bytes the process needs at its peak."""
    seconds: float
    source: int
    """Bytes of the pictures that were read."""
    result: int
    """Bytes of the pictures that are written."""


class Estimator:
    """Times what an Upscaler does on this machine, and counts from there.

    Opening a network, compiling it for a window's shape and running it are timed apart, each once: a batch of like
    pictures pays for the first two only once.
    """

    def __init__(self, upscaler: Upscaler) -> None:
        self.upscaler = upscaler
        self._runs: dict[tuple[object, ...], tuple[float, Picture]] = {}
        self._encodings: set[str] = set()

    def __call__(self, frames: Frames, target: Target, format: str, reading: float) -> FileEstimate:
        """FileEstimate the cost of one file. format: suffix of the result. reading: seconds its file took to read.

        Raises PlanError and EngineError as Upscaler does.
        """
        pictures = frames.pictures
        plans = [self.upscaler.plan(picture.width, picture.height, target) for picture in pictures]
        seconds, writing = reading, 0.0
        for number, (picture, plan) in enumerate(zip(pictures, plans, strict=True)):
            for passed in range(len(plan.passes)):
                self.upscaler.limit_memory(picture, plan, passed)
            if not number or not same_pixels(picture, pictures[number - 1]):
                spent, sample = self._passes(picture, plan)
                seconds += spent
            if not number or plan != plans[number - 1]:
                spent, writing = self._encoding(sample, plan, target, format, animated=bool(frames.durations))
                seconds += spent
            seconds += writing * plan.output[0] * plan.output[1]
        pixels = sum(plan.output[0] * plan.output[1] for plan in plans)
        pairs = list(zip(pictures, plans, strict=True))
        source = sum(bytes_of(picture, plan.source) for picture, plan in pairs)
        result = sum(bytes_of(picture, plan.output) for picture, plan in pairs)
        worst = max(peak_of_plan(picture, plan) for picture, plan in pairs)
        if len(pictures) > 1:  # all are held until they are written, and Pillow takes all of them at once
            worst += result + pixels * PILLOW_PIXEL_BYTES
        return FileEstimate(plans[0], len(pictures), pixels, peak_memory() + worst, seconds, source, result)

    def by_rows(self, rows: Rows, target: Target, format: str, reading: float) -> FileEstimate | None:
        """FileEstimate the cost of a file that goes by rows; None where it has to be read whole.

        The rows are read as far as the first windows need them.
        """
        found = self.upscaler.upscale_rows(rows, target)
        if found is None:
            return None
        plan = found[1]
        (scale,) = plan.passes
        bands = self.upscaler.tiled(scale).plan_bands(rows.height, rows.head.width)
        started = perf_counter()
        pixels, alpha = rows.band(0, bands[0][0].read.bottom)
        share = len(pixels) / rows.height
        sample = replace(rows.head, pixels=pixels, alpha=alpha)
        seconds = reading + (perf_counter() - started) / share
        spent, piece = self._passes(sample, plan)
        up, writing = self._encoding(piece, plan, target, format, animated=False)
        count = plan.output[0] * plan.output[1]
        seconds += spent + up + writing * count
        held = max(tiles[0].keep.height for tiles in bands) * band_row(rows.head, rows.head.width, scale)
        return FileEstimate(plan, 1, count, peak_memory() + held, seconds, rows.held, 0)

    def _passes(self, picture: Picture, plan: Plan) -> tuple[float, Picture]:
        """Measure the seconds for all passes of a picture, and give a piece of the last one's result."""
        seconds, sample = 0.0, picture
        width, height = plan.source
        for scale in plan.passes:
            spent, sample = self._one_pass(picture, height, width, scale)
            seconds, width, height = seconds + spent, width * scale, height * scale
        return seconds, sample

    def _one_pass(self, picture: Picture, height: int, width: int, scale: int) -> tuple[float, Picture]:
        """Measure the seconds for a pass over height x width pixels, and give its result for one window.

        Tiles with an edge of transparency in them run the network twice, so the two kinds are timed apart.
        """
        started = perf_counter()
        tiles = self.upscaler.tiled(scale).plan(height, width)
        seconds = perf_counter() - started  # opening: once a scale; nothing after that
        edges = _tiles_with_edges(picture, tiles, width // picture.width)
        results = []
        for kind in (False, True):
            count = int((edges == kind).sum())
            if count == 0:
                continue
            # One in the middle: a picture's corners are more often empty.
            window = _window(picture, tiles[int(np.flatnonzero(edges == kind)[count // 2])].read, edge=kind)
            key = (scale, window.pixels.shape, window.pixels.dtype, window.alpha is not None, kind, _is_neutral(window))
            if key not in self._runs:
                first, each, (larger, _) = _timed(partial(self.upscaler.one_pass, window, scale))
                seconds += max(0.0, first - each)  # compiling
                self._runs[key] = each, _middle(larger)
            each, larger = self._runs[key]
            seconds += count * each
            results.append(larger)
        return seconds, results[0]

    def _encoding(
        self, sample: Picture, plan: Plan, target: Target, format: str, *, animated: bool
    ) -> tuple[float, float]:
        """Measure the seconds an encoder takes to start, and the seconds a pixel for all that follows the passes."""
        piece = _middle(sample)
        shifted = replace(piece, pixels=np.roll(piece.pixels, 5, axis=1))
        pieces = [piece, shifted] if animated else [piece]
        (wide, high), enlarged = plan.resized, plan.enlarged
        width, height = max(1, piece.width * wide // enlarged[0]), max(1, piece.height * high // enlarged[1])

        def encode() -> None:
            reduced = Plan((piece.width, piece.height), (), (width, height), None)
            done = [finish(each, reduced, target.dpi) for each in pieces]
            write_frames(Frames(done, [40.0] * len(done) if animated else []), BytesIO(), format=format)

        first, each, _ = _timed(encode)
        coming_up = 0.0 if format in self._encodings else max(0.0, first - each)
        self._encodings.add(format)
        return coming_up, each / (width * height * len(pieces))


def peak_of_batch(estimates: Sequence[FileEstimate]) -> int:
    """Count the bytes of a batch: while a picture is enlarged, the next has been read and the last is being written."""
    around = [
        (estimates[index - 1].result if index else 0)
        + (estimates[index + 1].source if index + 1 < len(estimates) else 0)
        for index in range(len(estimates))
    ]
    return max(estimate.memory + more for estimate, more in zip(estimates, around, strict=True))


def _timed(work: Callable[[], Result]) -> tuple[float, float, Result]:
    """Give the seconds of the first run, the median of a few that follow, and the result."""
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) <= _MOST_RUNS and sum(seconds[1:]) < _LONG_ENOUGH):
        started = perf_counter()
        result = work()
        seconds.append(perf_counter() - started)
    return seconds[0], median(seconds[1:]), result


def _tiles_with_edges(picture: Picture, tiles: Sequence[Tile], factor: int) -> NDArray[np.bool_]:
    """Find the tiles of the picture, enlarged by a whole factor, that hold an edge of transparency."""
    if picture.alpha is None:
        return np.zeros(len(tiles), np.bool_)
    edges = ~is_uniform_around(picture.alpha)
    found = []
    for tile in tiles:
        keep = tile.keep
        rows = slice(keep.top // factor, -(-keep.bottom // factor))
        columns = slice(keep.left // factor, -(-keep.right // factor))
        found.append(bool(edges[rows, columns].any()))
    return np.array(found)


def _window(picture: Picture, box: Box, *, edge: bool) -> Picture:
    """Cut a piece of that place and size out of the picture, which is repeated where it is too small.

    It costs what the whole picture's pieces cost: one with an edge has transparency of every degree, one without is
    opaque, and one of a coloured picture is not neutral, which would be run as gray.
    """

    def cut(values: Pixels) -> Pixels:
        rows = np.arange(box.top, box.bottom) % values.shape[0]
        columns = np.arange(box.left, box.right) % values.shape[1]
        return np.ascontiguousarray(values[rows][:, columns])

    pixels, alpha = cut(picture.pixels), None if picture.alpha is None else cut(picture.alpha)
    if not picture.is_gray and not _is_neutral(picture):
        pixels[0, 0] = (0, 1, 0)
    if alpha is not None:
        alpha[:] = 1 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
        if edge:
            alpha[:, ::2] = 0
    return replace(picture, pixels=pixels, alpha=alpha)


def _is_neutral(picture: Picture) -> bool:
    return bool((picture.pixels == picture.pixels[:, :, :1]).all())


def _middle(picture: Picture) -> Picture:
    """Cut at most _SAMPLE pixels a side out of the middle."""
    high, wide = (min(side, _SAMPLE) for side in (picture.height, picture.width))
    top, left = (picture.height - high) // 2, (picture.width - wide) // 2
    there = slice(top, top + high), slice(left, left + wide)
    alpha = None if picture.alpha is None else picture.alpha[there].copy()
    return replace(picture, pixels=picture.pixels[there].copy(), alpha=alpha)
