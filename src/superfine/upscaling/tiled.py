"""One network at one scale on pictures of any size: tiles planned, run and stitched, within the memory there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from superfine.engines import Engine
from superfine.engines.base import is_out_of_memory
from superfine.errors import EngineError, PlanError
from superfine.images.alpha import UNIFORM_RADIUS
from superfine.images.bands import Band
from superfine.images.depth import Pixels, as_float32
from superfine.images.picture import Picture
from superfine.images.profile import decode_linear, encode_linear, is_linear
from superfine.images.rows import PictureRows, Rows
from superfine.upscaling.stitch import magnify_alpha, run_alpha, run_tiles, run_tiles_float
from superfine.upscaling.tiles import Tile, choose_tile, plan_bands

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""

Watch = Callable[[Tile, tuple[int, int], Pixels], None]
"""Called after every tile with the tile, the height and width of the picture in LR pixels, and the tile's part of the
result: HWC, C = 1 or 3, in the picture's type."""

ALPHA_METHODS = ("network", "bicubic")
"""How transparency grows: as sharp as the colour, or at no cost."""


class WindowTimes:
    """Seconds that windows took, by their number of pixels; the first window of a size, which may compile, apart."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._later: dict[int, tuple[int, float]] = {}
        self._sizes: set[int] = set()
        self.seconds = 0.0
        """Sum over all windows."""

    def add(self, pixels: int, seconds: float) -> None:
        """Count one window."""
        self.seconds += seconds
        if pixels not in self._sizes:
            self._sizes.add(pixels)
            self._first[pixels] = seconds
            return
        count, total = self._later.get(pixels, (0, 0.0))
        self._later[pixels] = count + 1, total + seconds

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


class TiledUpscaler:
    """One engine, hence one network at one scale, on pictures of any size.

    tile: LR pixels an inner tile keeps, at most; None chooses. The result is the same for every value.
    alpha: one of ALPHA_METHODS.
    watch: sees the result as it grows; what it raises ends the run.
    """

    def __init__(
        self, engine: Engine, tile: int | None = None, alpha: str = "network", watch: Watch | None = None
    ) -> None:
        check_settings(tile, alpha)
        self.engine, self.tile, self.alpha, self.watch = engine, tile, alpha, watch
        side: int | None = getattr(engine, "side", None)  # graphs of other programs may have windows of one size
        if side is not None:
            most = max(1, (side - 2 * engine.halo) // engine.grid * engine.grid - (engine.grid - 1))
            self.tile = most if tile is None else min(tile, most)
        self._largest_window = engine.window
        self._rows: int | None = None
        self.times = WindowTimes()

    @property
    def scale(self) -> int:
        return self.engine.scale

    def limit(self, window: int | None, rows: int | None = None) -> None:
        """Keep to windows of at most so many LR pixels, and to bands of at most so many LR rows.

        None means what runs best.
        """
        self.engine.limit(self._largest_window if window is None else min(window, self._largest_window))
        self._rows = rows

    def plan(self, height: int, width: int) -> list[Tile]:
        """Cut a picture of height x width LR pixels into tiles."""
        return [tile for band in self.plan_bands(height, width) for tile in band]

    def plan_bands(self, height: int, width: int, done: int = 0) -> list[list[Tile]]:
        """Cut a picture into tiles, a list for each row of them; the first `done` LR rows are left out."""
        halo = self.engine.halo
        tile = self.tile or choose_tile(height, width, halo, self.engine.window, self._rows)
        return plan_bands(height, width, tile, halo, done, self.engine.grid)

    def _shrink_windows(self, error: Exception, tile: Tile) -> None:
        """Halve the windows after memory ran out in `tile`; the result is the same for every size.

        The pictures that follow keep them. Raises EngineError when the window was the smallest, and `error` itself
        if it is another kind of failure.
        """
        if not is_out_of_memory(error):
            raise error
        height, width, context = tile.read.height, tile.read.width, 2 * self.engine.halo + 1
        fixed = getattr(self.engine, "side", None) is not None
        if fixed or height * width <= min(height, context) * min(width, context):
            raise EngineError(
                f"out of memory with the smallest window, {width}x{height} pixels: "
                "close other programs, or take a smaller scale"
            ) from error
        self.tile, self._largest_window = None, height * width // 2
        self.engine.limit(self._largest_window)

    def __call__(self, picture: Picture, progress: Progress | None = None) -> Picture:
        """Give the picture `scale` times as wide and high, with everything that is not pixels.

        Gray stays gray and neutral RGB neutral. Raises EngineError where memory does not suffice for any window.
        """
        if picture.alpha is None or self.alpha == "network":
            pixels, alpha = self._whole(PictureRows(picture), progress)
        else:
            pixels, _ = self._whole(PictureRows(picture, alpha=False), progress)
            alpha = magnify_alpha(picture.alpha, self.scale)
        return replace(picture, pixels=pixels, alpha=alpha)

    def _whole(self, rows: Rows, progress: Progress | None) -> Band:
        """Join all bands."""
        height, head = rows.height * self.scale, rows.head
        size = (height, head.width * self.scale)
        whole: Band | None = None
        top = 0
        for pixels, alpha in self.bands(rows, progress):
            if len(pixels) == height:
                return pixels, alpha
            if whole is None:
                cover = None if alpha is None else np.empty(size, alpha.dtype)
                whole = np.empty((*size, pixels.shape[2]), pixels.dtype), cover
            part = slice(top, top + len(pixels))
            whole[0][part] = pixels
            if alpha is not None and whole[1] is not None:
                whole[1][part] = alpha
            top += len(pixels)
        assert whole is not None
        return whole

    def bands(self, rows: Rows, progress: Progress | None = None) -> Iterator[Band]:
        """Yield the result from the top, a row of tiles at a time; nothing larger than that is held.

        Where memory runs out it goes on from the last band with smaller windows.
        """
        rows_done = tiles_done = 0

        def count_tile(tile: Tile, part: Pixels) -> None:
            nonlocal tiles_done
            tiles_done += 1
            if self.watch is not None:
                self.watch(tile, (rows.height, rows.head.width), part)
            if progress is not None:
                progress(min(1.0, tiles_done / total))

        while rows_done < rows.height:
            plan = self.plan_bands(rows.height, rows.head.width, rows_done)
            total = tiles_done + sum(len(tiles) for tiles in plan)
            for tiles in plan:
                before = tiles_done
                try:
                    band = self._band(rows, tiles, count_tile)
                except (MemoryError, RuntimeError) as error:
                    self._shrink_windows(error, tiles[0])
                    tiles_done = before
                    break
                yield band
                rows_done = tiles[0].keep.bottom

    def _band(self, rows: Rows, tiles: Sequence[Tile], after_tile: Callable[[Tile, Pixels], None]) -> Band:
        """Run one row of tiles. Values that a profile calls linear go through the network on sRGB's tone curve."""
        first, last = tiles[0].keep.top, tiles[0].keep.bottom
        top = max(0, min(tiles[0].read.top, first - UNIFORM_RADIUS))
        pixels, alpha = rows.band(top, min(rows.height, max(tiles[0].read.bottom, last + UNIFORM_RADIUS)))
        gray, linear = pixels.shape[2] == 1, is_linear(rows.head.icc)
        given = pixels[:, :, :1] if rows.neutral else pixels
        window, since = tiles[0].read.height * tiles[0].read.width, perf_counter()

        def after_window() -> None:
            nonlocal since
            now = perf_counter()
            self.times.add(window, now - since)
            since = now

        def after_colour(tile: Tile, part: Pixels) -> None:
            nonlocal since
            after_window()
            after_tile(tile, part)
            since = perf_counter()

        larger = run_tiles(self.engine, encode_linear(given) if linear else given, tiles, after_colour, top)
        if linear:
            larger = decode_linear(larger, pixels.dtype)
        if rows.neutral and not gray:
            larger = larger.repeat(3, axis=2)
        return larger, None if alpha is None else run_alpha(self.engine, alpha, tiles, top, after_window)

    def upscale_float(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run HWC uint8 RGB and give HWC float32, about 0..1, neither clamped nor rounded: a protocol rounds it."""
        height, width, _ = rgb.shape
        while True:
            tiles = self.plan(height, width)
            try:
                return run_tiles_float(self.engine, as_float32(rgb), tiles)
            except (MemoryError, RuntimeError) as error:
                self._shrink_windows(error, tiles[0])


def check_settings(tile: int | None, alpha: str) -> None:
    """Raise PlanError for a tile below one pixel, or an unknown way for transparency to grow."""
    if alpha not in ALPHA_METHODS:
        raise PlanError(f"alpha grows by network or bicubic, not by {alpha!r}")
    if tile is not None and tile < 1:
        raise PlanError(f"a tile keeps at least 1 pixel, not {tile}")
