"""Cut pictures into windows for an engine, and put the results together, tile by tile, straight into the result.

Nothing of the result's size is ever held in float: a tile is rounded to the picture's type before
it is put in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from superfine.engines import Engine
from superfine.engines.base import Window, run_windows
from superfine.images.alpha import UNIFORM_RADIUS, is_uniform_around
from superfine.images.bands import Band
from superfine.images.depth import Pixels, as_float32, as_type
from superfine.images.profile import decode_linear, encode_linear, is_linear
from superfine.images.resize import resize
from superfine.images.rows import Rows
from superfine.upscaling.tiles import Box, Tile, plan_tiles

_CUBIC_REACH = 2
"""LR pixels a bicubic sample sees to each side when magnifying."""
_ALPHA_TILE = 512


class TileRow:
    """A row of tiles of one picture: gives an engine its windows, and makes a band of the results.

    Gray runs as RGB with three equal channels and comes back as their mean. Values that a profile calls linear go
    through the network on sRGB's tone curve. Results are clamped to the type's range, and rounded half to even. Where
    alpha is even it stays exactly so: what is opaque or clear may not become nearly so. Alpha without an edge in a tile
    needs no window there.
    """

    def __init__(self, rows: Rows, tiles: Sequence[Tile]) -> None:
        self.tiles = tiles
        self._rows = rows
        self._type, self._channels = rows.head.pixels.dtype, rows.head.pixels.shape[2]
        self._linear = is_linear(rows.head.icc)

    def read(self, keep: int) -> None:
        """Read the rows that the tiles need; rows from `keep` on may be asked for again. Raises ImageError."""
        first, last = self.tiles[0].keep.top, self.tiles[0].keep.bottom
        top = max(0, min(self.tiles[0].read.top, first - UNIFORM_RADIUS))
        bottom = min(self._rows.height, max(self.tiles[0].read.bottom, last + UNIFORM_RADIUS))
        pixels, self._alpha = self._rows.band(top, bottom, keep)
        self._given = Box(top, 0, top + pixels.shape[0], pixels.shape[1])
        self._kept = Box(first, 0, last, self.tiles[-1].keep.right)
        self._pixels = pixels[:, :, :1] if self._rows.neutral else pixels

    def windows(self) -> Iterator[Window]:
        """Yield what the engine is to run: a window for each tile, then one for each tile where alpha has an edge."""
        pixels = encode_linear(self._pixels) if self._linear else self._pixels
        del self._pixels
        self._ran = pixels.dtype, pixels.shape[2]
        self._edges = [] if self._alpha is None else self._find_edges(self._alpha)
        for tile in self.tiles:
            yield _as_window(_cut(pixels, tile.read.inside(self._given)))
        del pixels
        for tile, _ in self._edges:
            assert self._alpha is not None
            yield _as_window(_cut(self._alpha, tile.read.inside(self._given))[:, :, None])

    def _find_edges(self, alpha: Pixels) -> list[tuple[Tile, NDArray[np.bool_]]]:
        """List the tiles in which alpha is not even, with the pixels where it is not."""
        even = is_uniform_around(alpha)
        found = [(tile, ~_cut(even, tile.keep.inside(self._given))) for tile in self.tiles]
        return [(tile, edges) for tile, edges in found if edges.any()]

    def join(self, results: Iterator[Window], scale: int, after_tile: Callable[[Tile, Pixels], None]) -> Band:
        """Put the results of all windows together, in their order.

        after_tile: called after every tile of colour, with its part of the result.
        """
        kept, (dtype, channels) = self._kept, self._ran
        larger = np.empty((kept.height * scale, kept.width * scale, channels), dtype)
        for tile in self.tiles:
            part = _cut(larger, tile.keep.inside(kept).scaled(scale))
            _put(next(results), tile.keep.inside(tile.read).scaled(scale), part)
            after_tile(tile, part)
        alpha = None if self._alpha is None else self._join_alpha(self._alpha, results, scale)
        if self._linear:
            larger = decode_linear(larger, self._type)
        return larger.repeat(3, axis=2) if channels < self._channels else larger, alpha

    def _join_alpha(self, alpha: Pixels, results: Iterator[Window], scale: int) -> Pixels:
        out = _repeated(_cut(alpha, self._kept.inside(self._given)), scale)
        for tile, edges in self._edges:
            larger = np.empty((tile.keep.height * scale, tile.keep.width * scale, 1), alpha.dtype)
            _put(next(results), tile.keep.inside(tile.read).scaled(scale), larger)
            place = _cut(out, tile.keep.inside(self._kept).scaled(scale))
            np.copyto(place, larger[:, :, 0], where=_repeated(edges, scale))
        return out


def run_tiles_float(engine: Engine, rgb: NDArray[np.float32], tiles: Sequence[Tile]) -> NDArray[np.float32]:
    """Run HWC float32 RGB 0..1; give HWC float32 as the network does, neither clamped nor rounded."""
    scale = engine.scale
    out = np.empty((rgb.shape[0] * scale, rgb.shape[1] * scale, 3), np.float32)
    results = chain.from_iterable(run_windows(engine, (_planes(_cut(rgb, tile.read)) for tile in tiles)))
    for tile, planes in zip(tiles, results, strict=True):
        sr = planes[0].transpose(1, 2, 0)
        _cut(out, tile.keep.scaled(scale))[:] = _cut(sr, tile.keep.inside(tile.read).scaled(scale))
    return out


def magnify_alpha(alpha: Pixels, scale: int) -> Pixels:
    """Magnify HW alpha by MATLAB's bicubic; in tiles, because its arithmetic is in float64.

    An opaque or evenly transparent picture stays exactly so.
    """
    height, width = alpha.shape
    first = alpha[0, 0]
    if (alpha == first).all():
        return np.full((height * scale, width * scale), first, alpha.dtype)
    out = np.empty((height * scale, width * scale), alpha.dtype)
    for tile in plan_tiles(height, width, _ALPHA_TILE, _CUBIC_REACH + 1):
        size = (tile.read.height * scale, tile.read.width * scale)
        larger = resize(_cut(alpha, tile.read), size)
        _cut(out, tile.keep.scaled(scale))[:] = _cut(larger, tile.keep.inside(tile.read).scaled(scale))
    return np.clip(out, 0, 1, out=out) if out.dtype.kind == "f" else out


def _repeated(values: Pixels, scale: int) -> Pixels:
    return values.repeat(scale, axis=0).repeat(scale, axis=1)


def _as_window(pixels: Pixels) -> Window:
    """Turn HWC pixels into what an engine takes: uint8 RGB as it is, other kinds as float32."""
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return pixels
    return _planes(as_float32(pixels))


def _put(sr: Window, box: Box, out: Pixels) -> None:
    """Put a part of an engine's result into HWC pixels of 1 or 3 channels, clamped and rounded to their type."""
    if sr.dtype == np.uint8:
        out[:] = _cut(sr, box)
        return
    planes = sr[0, :, box.top : box.bottom, box.left : box.right]
    if out.shape[2] == 1:
        planes = planes.mean(axis=0, keepdims=True)
    values = planes.transpose(1, 2, 0)
    if out.dtype == np.float32:
        np.clip(values, 0, 1, out=out)
    else:
        out[:] = as_type(np.clip(values, 0, 1), out.dtype)


def _planes(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """HWC → (1, 3, h, w); one channel is repeated."""
    planes = window.transpose(2, 0, 1)[None]
    return np.ascontiguousarray(planes.repeat(3, axis=1) if window.shape[2] == 1 else planes)


def _cut(values: Pixels, box: Box) -> Pixels:
    return values[box.top : box.bottom, box.left : box.right]
