"""Tile plans: integers in, integers out.

Every tile of a picture reads a window of one size. A window that would stick out is moved inside, so
a window's border is the picture's border wherever it touches it, and an engine sees one shape. What a
tile keeps lies at least a halo inside its window, except at the picture's own borders; the kept boxes
partition the picture. A network whose receptive field fits the halo therefore gives, tile by tile,
exactly what it gives for the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from superfine.errors import PlanError


@dataclass(frozen=True)
class Box:
    """Rows top ≤ y < bottom, columns left ≤ x < right, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def scaled(self, scale: int) -> Box:
        """Give the same box in a picture `scale` times as large."""
        return Box(self.top * scale, self.left * scale, self.bottom * scale, self.right * scale)

    def moved(self, down: int) -> Box:
        """Move the box so many rows down."""
        return Box(self.top + down, self.left, self.bottom + down, self.right)

    def inside(self, other: Box) -> Box:
        """Give this box in the coordinates of `other`, of which it is a part."""
        return Box(self.top - other.top, self.left - other.left, self.bottom - other.top, self.right - other.left)


@dataclass(frozen=True)
class Tile:
    """One run of the engine: the window it reads and the part of it that is kept, both in LR pixels."""

    read: Box
    keep: Box


def plan_tiles(height: int, width: int, tile: int | tuple[int, int], halo: int, grid: int = 1) -> list[Tile]:
    """Cut a picture of height x width LR pixels into tiles, rows first.

    tile: how many LR pixels an inner tile keeps at most, down and across (one number for both); tiles
    are evened out below it. halo: LR pixels of context. A picture that one window covers is one tile.
    grid: windows begin at multiples of so many pixels, and a tile keeps a multiple at least; the last window then
    is up to grid - 1 pixels larger than the others.

    Raises PlanError unless height, width and tile are at least 1 and halo at least 0.
    """
    down, across = (tile, tile) if isinstance(tile, int) else tile
    if height < 1 or width < 1:
        raise PlanError(f"a picture of {width}x{height} pixels cannot be tiled")
    if down < 1 or across < 1 or halo < 0:
        raise PlanError(f"a tile keeps at least 1 pixel and a halo is at least 0, not {tile} and {halo}")
    return [
        Tile(Box(top, left, bottom, right), Box(first, begin, last, end))
        for top, bottom, first, last in _spans(height, down, halo, grid)
        for left, right, begin, end in _spans(width, across, halo, grid)
    ]


def plan_bands(
    height: int, width: int, tile: int | tuple[int, int], halo: int, done: int = 0, grid: int = 1
) -> list[list[Tile]]:
    """Cut a picture into the tiles of `plan_tiles`, a list for each row of them; leave out its first `done` rows.

    The rest is planned as a picture of its own that begins a halo above row `done`, at a multiple of `grid`: no tile
    reads a row before that.
    """
    start = max(0, done - halo) // grid * grid
    bands: dict[int, list[Tile]] = {}
    for each in plan_tiles(height - start, width, tile, halo, grid):
        read, keep = each.read.moved(start), each.keep.moved(start)
        bands.setdefault(keep.top, []).append(Tile(read, replace(keep, top=max(done, keep.top))))
    return list(bands.values())


def choose_tile(height: int, width: int, halo: int, most: int, tallest: int | None = None) -> tuple[int, int]:
    """Find the tile (down, across) that computes least, of those whose window has at most `most` LR pixels.

    tallest: how many rows it keeps at most, where that is limited.
    Context is computed and thrown away, so few large windows win; a window as wide as the picture
    needs none at its sides. Below (2·halo + 1)² there is no way to tile, and that window is taken.
    """
    best: tuple[int, int, tuple[int, int]] | None = None
    for across in _sizes(width, halo):
        window_width = min(width, across + 2 * halo)
        room = max(most // window_width, 2 * halo + 1)  # rows a window may have
        down = height if room >= height else room - 2 * halo
        down = down if tallest is None else max(1, min(down, tallest))
        rows = _count(height, down, halo)
        down = _even(height, rows, halo)
        window = min(height, down + 2 * halo) * window_width
        work = rows * _count(width, across, halo) * window
        excess = max(0, window - most)
        if best is None or (excess, work) < best[:2]:
            best = (excess, work, (down, across))
    assert best is not None
    return best[2]


def _sizes(length: int, halo: int) -> list[int]:
    """List every evened-out tile size along one axis, from one tile to tiles of one pixel, large first."""
    sizes, count = [length], 2
    while sizes[-1] > 1 and length > 2 * halo + 1:
        size = _even(length, count, halo)
        if size < sizes[-1]:
            sizes.append(size)
        count = max(count + 1, _count(length, max(size - 1, 1), halo))
    return sizes


def _count(length: int, tile: int, halo: int) -> int:
    """Count the tiles that cover an axis: the outer two keep a halo more, as their far side is a real border."""
    return max(1, -(-(length - 2 * halo) // tile))


def _even(length: int, count: int, halo: int) -> int:
    """Find the smallest tile with which `count` of them cover an axis."""
    return length if count == 1 else -(-(length - 2 * halo) // count)


def _spans(length: int, tile: int, halo: int, grid: int) -> list[tuple[int, int, int, int]]:
    """List (read from, read to, keep from, keep to) of each tile along one axis."""
    tile = _even(length, _count(length, tile, halo), halo)
    window = -(-tile // grid) * grid + 2 * halo
    if window >= length:
        return [(0, length, 0, length)]
    last = (length - window) // grid * grid
    starts = [*range(0, last, window - 2 * halo), last]
    cuts = [0, *(start + halo for start in starts[1:]), length]
    ends = [*(start + window for start in starts[:-1]), length]
    return [(start, ends[i], cuts[i], cuts[i + 1]) for i, start in enumerate(starts)]
