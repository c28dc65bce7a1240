"""Run pixels through an engine, tile by tile, straight into the result.

Nothing of the result's size is ever held in float: a tile is rounded to the picture's type before
it is put in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from superfine.engines import Engine
from superfine.images.alpha import is_uniform_around
from superfine.images.depth import Pixels, as_float32, as_type
from superfine.images.resize import resize
from superfine.upscaling.tiles import Box, Tile, plan_tiles

_CUBIC_REACH = 2
"""LR pixels a bicubic sample sees to each side when magnifying."""
_ALPHA_TILE = 512


def run_tiles(
    engine: Engine,
    pixels: Pixels,
    tiles: Sequence[Tile],
    after_tile: Callable[[Tile, Pixels], None] | None = None,
    top: int = 0,
) -> Pixels:
    """Run HWC pixels (C = 1 or 3; uint8, uint16 or float32 0..1); give the same type, `engine.scale` times as large.

    tiles: all of a picture, or a row of them, whose kept rows are the result. pixels: the rows they read, the first
    being row `top` of the picture. after_tile: called after every tile, with its part of the result. Gray runs as RGB
    with three equal channels and comes back as their mean. Values are clamped to the type's range, and rounded half to
    even.
    """
    given, kept = _areas(pixels, tiles, top)
    scale = engine.scale
    out = np.empty((kept.height * scale, kept.width * scale, pixels.shape[2]), pixels.dtype)
    for tile in tiles:
        sr = _run(engine, _cut(pixels, tile.read.inside(given)))
        part = _cut(out, tile.keep.inside(kept).scaled(scale))
        part[:] = _cut(sr, tile.keep.inside(tile.read).scaled(scale))
        if after_tile is not None:
            after_tile(tile, part)
    return out


def run_tiles_float(engine: Engine, rgb: NDArray[np.float32], tiles: Sequence[Tile]) -> NDArray[np.float32]:
    """Run HWC float32 RGB 0..1; give HWC float32 as the network does, neither clamped nor rounded."""
    scale = engine.scale
    out = np.empty((rgb.shape[0] * scale, rgb.shape[1] * scale, 3), np.float32)
    for tile in tiles:
        sr = engine.run(_planes(_cut(rgb, tile.read)))[0].transpose(1, 2, 0)
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


def run_alpha(
    engine: Engine,
    alpha: Pixels,
    tiles: Sequence[Tile],
    top: int = 0,
    after_window: Callable[[], None] | None = None,
) -> Pixels:
    """Magnify HW alpha by the network, as sharp as the colour beside it; `tiles` and `top` as for colour.

    after_window: called after every tile that has an edge.

    Where alpha is even it stays exactly so: what is opaque or clear may not become nearly so. Tiles
    without an edge cost nothing.
    """
    given, kept = _areas(alpha, tiles, top)
    scale = engine.scale
    even = is_uniform_around(alpha)
    out = _repeated(_cut(alpha, kept.inside(given)), scale)
    for tile in tiles:
        edges = ~_cut(even, tile.keep.inside(given))
        if edges.any():
            sr = _run(engine, _cut(alpha, tile.read.inside(given))[:, :, None])[:, :, 0]
            larger = _cut(sr, tile.keep.inside(tile.read).scaled(scale))
            np.copyto(_cut(out, tile.keep.inside(kept).scaled(scale)), larger, where=_repeated(edges, scale))
            if after_window is not None:
                after_window()
    return out


def _areas(values: Pixels, tiles: Sequence[Tile], top: int) -> tuple[Box, Box]:
    """Give the part of the picture that `values` holds, from row `top` on, and the part that the tiles keep."""
    height, width = values.shape[:2]
    return Box(top, 0, top + height, width), Box(tiles[0].keep.top, 0, tiles[-1].keep.bottom, width)


def _repeated(values: Pixels, scale: int) -> Pixels:
    return values.repeat(scale, axis=0).repeat(scale, axis=1)


def _run(engine: Engine, window: Pixels) -> Pixels:
    """Run one window, HWC in and out, of the same type and channels."""
    if window.dtype == np.uint8 and window.shape[2] == 3:
        return engine.run_uint8(window)
    sr = engine.run(_planes(as_float32(window)))[0]
    if window.shape[2] == 1:
        sr = sr.mean(axis=0, keepdims=True)
    rgb: NDArray[np.float32] = np.clip(sr.transpose(1, 2, 0), 0, 1)
    return as_type(rgb, window.dtype)


def _planes(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """HWC → (1, 3, h, w); one channel is repeated."""
    planes = window.transpose(2, 0, 1)[None]
    return np.ascontiguousarray(planes.repeat(3, axis=1) if window.shape[2] == 1 else planes)


def _cut(values: Pixels, box: Box) -> Pixels:
    return values[box.top : box.bottom, box.left : box.right]
