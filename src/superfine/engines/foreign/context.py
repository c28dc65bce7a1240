"""Measure how much of a picture around a pixel a network sees, by running it: for networks whose layers are not known.

A block of pixels is changed a great deal; what changes in the result is what depends on it. Where that is more than
tiles can carry, results of smaller windows are compared with those of a larger one, and the difference is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Run = Callable[[Picture], Picture]
"""NCHW float32 0..1 → the same, `scale` times as large."""

GRIDS = (1, 2, 4, 6, 7, 8, 12, 16)
"""Alignments tried: windows of attention and strides of networks are among them or their multiples."""

ENOUGH = 1 / 510
"""A halo is enough if tiles then differ from the whole by no more: half a level of 255."""

_SAME, _NOISE = 1e-3, 1e-4
"""Two results came from the same alignment if they differ by no more; below the second, by rounding alone."""


@dataclass(frozen=True)
class Context:
    """The surroundings of a tile that its result depends on, as measured."""

    halo: int
    """LR pixels to each side."""
    grid: int
    """Windows give the same result only if they begin at multiples of so many pixels."""
    difference: float
    """Largest difference between tiles with this halo and the whole picture, on values of 0..1; 0 if they are equal."""


def measure_context(run: Run, scale: int, multiple: int = 1, most: int | None = None, heavy: bool = False) -> Context:
    """Measure the context of a network. The same network gives the same context every time.

    multiple: sides that the network takes are multiples of it, and so are windows. most: side of the largest window
    that it takes, if it is limited. heavy: its runs take seconds, so that it is run on few large windows.
    """
    sides = sorted({_side(each, multiple, most) for each in (64, 96)})
    grid, difference = _measure_grid(run, _test_picture(sides[0]), scale, multiple)
    for side in sides[:1] if heavy else sides:
        picture = _test_picture(side)
        whole = run(picture)
        block = slice(side // 2 // grid * grid, side // 2 // grid * grid + grid)
        reach = _measure_reach(run, picture, whole, scale, block)
        if reach < min(block.start, side - block.stop):
            return Context(math.ceil(reach / grid) * grid, grid, difference)
    if heavy:
        picture = _test_picture(sides[-1])
        whole = run(picture)
    return _measure_halo(run, picture, whole, scale, grid, difference)


def _side(wanted: int, multiple: int, most: int | None) -> int:
    """Choose a window's side near `wanted`, of a multiple and within what the network takes."""
    step = math.lcm(multiple, 8)
    side = -(-wanted // step) * step
    return side if most is None else min(side, most // multiple * multiple)


def _test_picture(side: int) -> Picture:
    """Draw edges, smooth places and noise, alike in no two places."""
    random = np.random.default_rng(7)
    coarse = random.random((1, 3, side // 8 + 1, side // 8 + 1), np.float32)
    shapes = coarse.repeat(8, axis=2).repeat(8, axis=3)[..., :side, :side]
    return np.ascontiguousarray(0.8 * shapes + 0.2 * random.random(shapes.shape, np.float32))


def _measure_grid(run: Run, picture: Picture, scale: int, multiple: int) -> tuple[int, float]:
    """Find the smallest alignment at which a window that begins elsewhere gives the same result in its middle.

    Also return by how much the two differ, 0 where they are equal but for rounding.
    """
    side = picture.shape[2]
    size = side * 3 // 4 // multiple * multiple
    first = run(picture[..., :size, :size])
    found: dict[int, float] = {}
    for grid in (each for each in GRIDS if each % multiple == 0 and each <= side - size):
        other = run(picture[..., grid : grid + size, grid : grid + size])
        middle, half = (size + grid) // 2, min(4, (size - grid) // 4)
        a, b = (slice((middle - half - left) * scale, (middle + half - left) * scale) for left in (0, grid))
        found[grid] = float(np.abs(first[..., a, a] - other[..., b, b]).max())
        if found[grid] <= _SAME:
            break
    if not found:
        return multiple, 0.0
    least = min(found.values())  # a network that sees everything is the same nowhere
    grid = next(grid for grid, difference in found.items() if difference <= max(_SAME, 1.5 * least))
    return grid, found[grid] if found[grid] > _NOISE else 0.0


def _measure_reach(run: Run, picture: Picture, whole: Picture, scale: int, block: slice) -> int:
    """Change a block of pixels so much that faint influences count; return how many LR pixels away it is seen."""
    changed = picture.copy()
    area = changed[..., block, block]
    area[:] = np.random.default_rng(8).normal(0, 1e12, area.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        differs = (run(changed) != whole).any(axis=(0, 1))
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not rows.size:
        return int(picture.shape[2])  # nothing is seen of it: nothing can be said
    first = int(min(rows[0], columns[0])) // scale
    last = int(max(rows[-1], columns[-1])) // scale + 1
    reach: int = max(0, block.start - first, last - block.stop)
    return reach


def _measure_halo(run: Run, picture: Picture, whole: Picture, scale: int, grid: int, difference: float) -> Context:
    """Find the smallest of a few halos with which a window's middle is near enough to the whole picture's."""
    side = picture.shape[2]
    start = side // 2 // grid * grid
    stop = start + grid * max(1, 8 // grid)
    room = min(start, side - stop)
    halos = sorted({-(-each // grid) * grid for each in (16, 24, 32)} & set(range(room + 1)))
    apart = 0.0
    for halo in halos or [room // grid * grid]:
        window = slice(start - halo, stop + halo)
        part = run(picture[..., window, window])
        inside = slice(halo * scale, (halo + stop - start) * scale)
        expected = slice(start * scale, stop * scale)
        apart = float(np.abs(part[..., inside, inside] - whole[..., expected, expected]).max())
        if apart <= ENOUGH:
            break
    return Context(halo, grid, max(apart, difference))
