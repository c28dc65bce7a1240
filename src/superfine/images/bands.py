"""Pictures as bands of rows from the top down, so that the whole never has to be in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from superfine.images.depth import Pixels
from superfine.images.picture import Picture

Band = tuple[Pixels, Pixels | None]
"""Rows of a picture: HWC pixels and their HW alpha, or None."""


@dataclass(frozen=True)
class BandedImage:
    """A picture as a head and bands of rows."""

    head: Picture
    """A Picture with no rows: it holds width, channels, type and all metadata."""
    height: int
    bands: Iterable[Band]
    """All rows in order. They may be computed on demand, so iterate over them only once."""

    @classmethod
    def of(cls, picture: Picture) -> BandedImage:
        """Wrap a picture in memory as a single band."""
        return cls(head_of(picture), picture.height, [(picture.pixels, picture.alpha)])

    @property
    def width(self) -> int:
        """Pixels."""
        return self.head.width

    @property
    def channels(self) -> int:
        """Samples per pixel, alpha included."""
        return int(self.head.pixels.shape[2]) + (self.head.alpha is not None)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, alpha included."""
        return self.width * self.channels * self.head.pixels.itemsize


@dataclass(frozen=True)
class BandSource:
    """A file whose rows can be read band by band."""

    head: Picture
    height: int
    bands: Callable[[], Iterator[Band]]
    """Iterates over all rows from the first, anew at each call; raises OSError where the file is damaged."""


def head_of(picture: Picture) -> Picture:
    """Return the picture with all its metadata and no rows."""
    # Copies: a slice of no rows would keep the whole array alive.
    alpha = None if picture.alpha is None else picture.alpha[:0].copy()
    return replace(picture, pixels=picture.pixels[:0].copy(), alpha=alpha)


def regroup(bands: Iterable[Band], rows: int) -> Iterator[Band]:
    """Yield the same rows in bands of `rows` rows (the last may be shorter); views wherever one band suffices."""
    held: list[Band] = []
    missing = rows
    for pixels, alpha in bands:
        top = 0
        while top < len(pixels):
            part = slice(top, top + missing)
            held.append((pixels[part], None if alpha is None else alpha[part]))
            top, missing = top + len(held[-1][0]), missing - len(held[-1][0])
            if missing == 0:
                yield join_bands(held)
                held, missing = [], rows
    if held:
        yield join_bands(held)


def join_bands(bands: list[Band]) -> Band:
    """Concatenate at least one band into a single one."""
    if len(bands) == 1:
        return bands[0]
    alphas = [alpha for _, alpha in bands if alpha is not None]
    return np.concatenate([pixels for pixels, _ in bands]), np.concatenate(alphas) if alphas else None
