"""One network at one scale on pictures of any size: tiles planned, run and stitched, within the memory there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from superfine.engines import Engine
from superfine.engines.base import is_out_of_memory
from superfine.errors import EngineError, PlanError
from superfine.images.bands import Band
from superfine.images.depth import Pixels, as_float32
from superfine.images.picture import Picture
from superfine.images.rows import PictureRows, Rows
from superfine.upscaling.flow import Flow, Passing, WindowTimes
from superfine.upscaling.stitch import magnify_alpha, run_tiles_float
from superfine.upscaling.tiles import Tile, choose_tile, plan_bands

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""

Watch = Callable[[Tile, tuple[int, int], Pixels], None]
"""Called after every tile with the tile, the height and width of the picture in LR pixels, and the tile's part of the
result: HWC, C = 1 or 3, in the picture's type."""

ALPHA_METHODS = ("network", "bicubic")
"""How transparency grows: as sharp as the colour, or at no cost."""


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
        (larger,) = self.stream([picture], progress)
        return larger

    def stream(self, pictures: Iterable[Picture], progress: Progress | None = None) -> Iterator[Picture]:
        """Yield each of several pictures enlarged, in order, as a call does.

        An engine that runs ahead takes pictures before the last result is used, and windows of one size as a batch. An
        error comes after the results of all pictures before. progress: of each picture.
        """
        given: deque[Picture] = deque()

        def passing() -> Iterator[Passing]:
            for picture in pictures:
                given.append(picture)
                by_network = picture.alpha is None or self.alpha == "network"
                yield self._passing(PictureRows(picture, alpha=by_network), progress)

        whole: Band | None = None
        top = 0
        for each, band in self._flow(passing()).bands():
            if whole is None:
                whole = band if each.is_done else _room_for(band, each.rows.height * self.scale)
            if whole is not band:
                part = slice(top, top + len(band[0]))
                whole[0][part] = band[0]
                if whole[1] is not None and band[1] is not None:
                    whole[1][part] = band[1]
            top += len(band[0])
            if each.is_done:
                picture, (pixels, alpha) = given.popleft(), whole
                whole, top = None, 0
                if picture.alpha is not None and alpha is None:
                    alpha = magnify_alpha(picture.alpha, self.scale)
                yield replace(picture, pixels=pixels, alpha=alpha)

    def bands(self, rows: Rows, progress: Progress | None = None) -> Iterator[Band]:
        """Yield the result from the top, a row of tiles at a time; nothing larger than that is held.

        Where memory runs out it goes on from the last band with smaller windows.
        """
        for _, band in self._flow([self._passing(rows, progress)]).bands():
            yield band

    def _flow(self, pictures: Iterable[Passing]) -> Flow:
        return Flow(self.engine, pictures, self.plan_bands, self._shrink_windows, self.times)

    def _passing(self, rows: Rows, progress: Progress | None) -> Passing:
        def after_tile(tile: Tile, part: Pixels, share: float) -> None:
            if self.watch is not None:
                self.watch(tile, (rows.height, rows.head.width), part)
            if progress is not None:
                progress(share)

        return Passing(rows, after_tile)

    def upscale_float(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run HWC uint8 RGB and give HWC float32, about 0..1, neither clamped nor rounded: a protocol rounds it."""
        height, width, _ = rgb.shape
        while True:
            tiles = self.plan(height, width)
            try:
                return run_tiles_float(self.engine, as_float32(rgb), tiles)
            except (MemoryError, RuntimeError) as error:
                self._shrink_windows(error, tiles[0])


def _room_for(band: Band, height: int) -> Band:
    """Make room for a whole picture of the kind of its first band."""
    pixels, alpha = band
    whole = np.empty((height, *pixels.shape[1:]), pixels.dtype)
    return whole, None if alpha is None else np.empty((height, alpha.shape[1]), alpha.dtype)


def check_settings(tile: int | None, alpha: str) -> None:
    """Raise PlanError for a tile below one pixel, or an unknown way for transparency to grow."""
    if alpha not in ALPHA_METHODS:
        raise PlanError(f"alpha grows by network or bicubic, not by {alpha!r}")
    if tile is not None and tile < 1:
        raise PlanError(f"a tile keeps at least 1 pixel, not {tile}")
