"""Run pictures through one engine as one flow of windows, so that an engine may take several at once.

An engine that runs one window after the other is given the next when the last one's result is in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from time import perf_counter

from superfine.engines import Engine
from superfine.engines.base import Window, run_windows
from superfine.images.alpha import UNIFORM_RADIUS
from superfine.images.bands import Band
from superfine.images.depth import Pixels
from superfine.images.rows import Rows
from superfine.upscaling.stitch import TileRow
from superfine.upscaling.tiles import Tile

Plan = Callable[[int, int, int], list[list[Tile]]]
"""Cuts a picture of so many LR rows and columns into rows of tiles, without the rows that are done."""

Shrink = Callable[[Exception, Tile], None]
"""Makes windows smaller after memory ran out in a tile; raises where that is no help."""


class WindowTimes:
    """Seconds that windows took, by their number of pixels; the first batch of a size, which may compile, apart."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._later: dict[int, tuple[int, float]] = {}
        self._sizes: set[int] = set()
        self.seconds = 0.0
        """Sum over all windows."""

    def add(self, pixels: int, seconds: float, windows: int = 1) -> None:
        """Count a batch of windows of so many pixels each."""
        self.seconds += seconds
        if pixels not in self._sizes:
            self._sizes.add(pixels)
            self._first[pixels] = seconds / windows
            return
        count, total = self._later.get(pixels, (0, 0.0))
        self._later[pixels] = count + windows, total + seconds

    def take(self) -> list[tuple[int, float]]:
        """Return the mean of the later windows of each size, and forget them."""
        means = [(pixels, total / count) for pixels, (count, total) in self._later.items()]
        self._later.clear()
        return means

    def take_first(self) -> list[tuple[int, float]]:
        """Return the first window of each size, and forget their times."""
        first = list(self._first.items())
        self._first.clear()
        return first


@dataclass
class Passing:
    """A picture on its way through a network, from the top down."""

    rows: Rows
    after_tile: Callable[[Tile, Pixels, float], None]
    """Called after every tile with its part of the result, and the share of the picture that is done, 0..1."""
    done: int = 0
    """LR rows."""
    tiles_done: int = 0
    tiles: int = 0
    """All that there are, those that are done among them."""

    @property
    def is_done(self) -> bool:
        return self.done == self.rows.height


class Flow:
    """The windows of several pictures in a row, and the bands that are made of their results."""

    def __init__(
        self, engine: Engine, pictures: Iterable[Passing], plan: Plan, shrink: Shrink, times: WindowTimes
    ) -> None:
        """pictures: each is taken when its first window is wanted. times: what windows take is added there."""
        self._engine, self._plan, self._shrink, self._times = engine, plan, shrink, times
        self._coming = iter(pictures)
        self._begun: deque[Passing] = deque()
        self._open: deque[tuple[Passing, TileRow]] = deque()
        self._apart = 0.0

    def bands(self) -> Iterator[tuple[Passing, Band]]:
        """Yield the results, pictures in order and a row of tiles at a time; nothing larger is held.

        Where memory runs out it goes on from the last band with smaller windows. Raises EngineError where it does not
        suffice for any window.
        """
        while True:
            with closing(self._results()) as results:
                try:
                    while (found := self._next_band(results)) is not None:
                        yield found
                    return
                except (MemoryError, RuntimeError) as error:
                    if not self._open:
                        raise
                    failed = error
            tile = self._open[0][1].tiles[0]
            self._open.clear()
            self._shrink(failed, tile)
            del failed

    def _next_band(self, results: Iterator[Window]) -> tuple[Passing, Band] | None:
        """Wait for a row of tiles; None where all pictures are done."""
        first = next(results, None)
        if first is None:
            return None
        picture, row = self._open[0]
        before = picture.tiles_done

        def after_tile(tile: Tile, part: Pixels) -> None:
            picture.tiles_done += 1
            picture.after_tile(tile, part, min(1.0, picture.tiles_done / picture.tiles))

        try:
            band = row.join(chain((first,), results), self._engine.scale, after_tile)
        except BaseException:
            picture.tiles_done = before
            raise
        self._open.popleft()
        picture.done = row.tiles[0].keep.bottom
        if picture.is_done:
            self._begun.popleft()
        return picture, band

    def _results(self) -> Generator[Window]:
        """Yield the result of every window, and count what they take; reading is no part of it."""
        with closing(run_windows(self._engine, self._windows())) as batches:
            while True:
                started, apart = perf_counter(), self._apart
                batch = next(batches, None)
                if batch is None:
                    return
                seconds = perf_counter() - started - (self._apart - apart)
                self._times.add(batch[0].size // (3 * self._engine.scale**2), seconds, len(batch))
                yield from batch

    def _windows(self) -> Iterator[Window]:
        """Yield the windows of all pictures that are not done, and open their rows of tiles."""
        for picture in chain(tuple(self._begun), self._taken()):
            rows = picture.rows
            plan = self._plan(rows.height, rows.head.width, picture.done)
            picture.tiles = picture.tiles_done + sum(len(tiles) for tiles in plan)
            for tiles in plan:
                row = TileRow(rows, tiles)
                self._open.append((picture, row))
                with self._apart_from_windows():
                    row.read(self._needed_again(picture.done))
                yield from row.windows()

    def _taken(self) -> Iterator[Passing]:
        """Take the pictures that have not begun."""
        while True:
            with self._apart_from_windows():
                picture = next(self._coming, None)
            if picture is None:
                return
            self._begun.append(picture)
            yield picture

    def _needed_again(self, done: int) -> int:
        """Give the first row that a plan which begins at row `done` reads."""
        halo, grid = self._engine.halo, self._engine.grid
        return max(0, min((done - halo) // grid * grid, done - UNIFORM_RADIUS))

    @contextmanager
    def _apart_from_windows(self) -> Iterator[None]:
        """Measure what is done between two windows and is no part of either."""
        started = perf_counter()
        yield
        self._apart += perf_counter() - started
