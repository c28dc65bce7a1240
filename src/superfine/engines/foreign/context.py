"""Measure how much of a picture around a pixel a network sees, by running it: for networks whose layers are not known.

A block of pixels is changed a great deal; what changes in the result is what depends on it. Where that is more than
tiles can carry, results of smaller windows are compared with those of a larger one, and the difference is reported.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Run = Callable[[Picture], Picture]
"""NCHW float32 0..1 → the same, `scale` times as large."""

GRIDS = (1, 2, 4, 6, 7, 8, 12, 16, 24, 32)
"""Alignments tried: windows of attention and strides of networks are among them or their multiples."""

ENOUGH = 1 / 510
"""A halo is enough if tiles then differ from the whole by no more: half a level of 255."""

_SAME = 2e-4
"""Two results that differ by no more came from the same alignment: a twentieth of a level."""

_SLOW = 0.4
"""Seconds of a window of 48x48 pixels beyond which the probe takes smaller windows."""


@dataclass(frozen=True)
class Context:
    """The surroundings of a tile that its result depends on, as measured."""

    halo: int
    """LR pixels to each side."""
    grid: int
    """Windows give the same result only if they begin at multiples of so many pixels."""
    difference: float
    """Largest difference between tiles with this halo and the whole picture, on values of 0..1; 0 if they are equal."""


def measure_context(run: Run, scale: int, multiple: int = 1, most: int | None = None) -> Context:
    """Measure the context of a network.

    multiple: sides that the network takes are multiples of it, and so are windows. most: side of the largest window
    that it takes, if it is limited.
    """
    side = _side(run, multiple, most)
    picture = _test_picture(side)
    whole = run(picture)
    grid = _measure_grid(run, picture, scale, multiple)
    block = slice(side // 2 // grid * grid, side // 2 // grid * grid + grid)
    reach = _measure_reach(run, picture, whole, scale, block)
    room = min(block.start, side - block.stop)
    if reach < room:
        return Context(math.ceil(reach / grid) * grid, grid, 0.0)
    return _measure_halo(run, picture, whole, scale, block, grid, room)


def _side(run: Run, multiple: int, most: int | None) -> int:
    """Choose the window's side: large for fast networks, within what the network takes."""
    step = math.lcm(multiple, 8)
    small = max(step, 48 // step * step)
    if most is not None and most <= 96:
        return most // multiple * multiple
    started = time.perf_counter()
    run(_test_picture(small))
    slow = time.perf_counter() - started > _SLOW
    side = -(-(96 if slow else 128) // step) * step
    return side if most is None else min(side, most // multiple * multiple)


def _test_picture(side: int) -> Picture:
    """Draw edges, smooth places and noise, alike in no two places."""
    random = np.random.default_rng(7)
    coarse = random.random((1, 3, side // 8 + 1, side // 8 + 1), np.float32)
    shapes = coarse.repeat(8, axis=2).repeat(8, axis=3)[..., :side, :side]
    return np.ascontiguousarray(0.8 * shapes + 0.2 * random.random(shapes.shape, np.float32))


def _measure_grid(run: Run, picture: Picture, scale: int, multiple: int) -> int:
    """Find the smallest alignment at which a window that begins elsewhere gives the same result in its middle."""
    side = picture.shape[2]
    size = side * 3 // 4 // multiple * multiple
    first = run(picture[..., :size, :size])
    found: dict[int, float] = {}
    for grid in (each for each in GRIDS if each % multiple == 0 and each <= side - size):
        other = run(picture[..., grid : grid + size, grid : grid + size])
        middle = (size + grid) // 2
        half = min(4, (size - grid) // 4)
        a, b = (
            slice((middle - half - origin) * scale, (middle + half - origin) * scale) for origin in (0, grid)
        )
        found[grid] = float(np.abs(first[..., a, a] - other[..., b, b]).max())
        if found[grid] <= _SAME:
            return grid
    if not found:
        return multiple
    least = min(found.values())  # a network that sees everything is the same nowhere
    return next(grid for grid, difference in found.items() if difference <= 1.5 * least)


def _measure_reach(run: Run, picture: Picture, whole: Picture, scale: int, block: slice) -> int:
    """Change a block of pixels a great deal, so that faint influences count; return how far, in LR pixels, it is seen."""
    changed = picture.copy()
    area = changed[..., block, block]
    area[:] = np.random.default_rng(8).normal(0, 1e4, area.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        differs = (run(changed) != whole).any(axis=(0, 1))
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not rows.size:
        return picture.shape[2]  # nothing is seen of it: nothing can be said
    first = min(rows[0], columns[0]) // scale
    last = max(rows[-1], columns[-1]) // scale + 1
    return max(0, block.start - int(first), int(last) - block.stop)


def _measure_halo(
    run: Run, picture: Picture, whole: Picture, scale: int, block: slice, grid: int, room: int
) -> Context:
    """Find the smallest of a few halos with which a window's middle is near enough to the whole picture's."""
    halos = sorted({-(-each // grid) * grid for each in (16, 24, 32, 40)} & set(range(room + 1))) or [
        room // grid * grid
    ]
    difference = 0.0
    for halo in halos:
        window = slice(block.start - halo, block.stop + halo)
        part = run(picture[..., window, window])
        inside = slice(halo * scale, (halo + grid) * scale)
        expected = slice(block.start * scale, block.stop * scale)
        difference = float(np.abs(part[..., inside, inside] - whole[..., expected, expected]).max())
        if difference <= ENOUGH:
            break
    return Context(halo, grid, difference)
