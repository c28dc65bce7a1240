"""A picture whose rows come in bands, from the top down: what need never be whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from superfine.images.depth import Pixels
from superfine.images.picture import Picture

Band = tuple[Pixels, Pixels | None]
"""Rows of a picture: HWC pixels and their HW alpha, or None."""


@dataclass(frozen=True)
class Scroll:
    """A picture as a head and bands of rows; a Picture in memory is one of a single band."""

    head: Picture
    """A Picture of no rows: width, channels, type, and everything a file says beside its pixels."""
    height: int
    bands: Iterable[Band]
    """All rows in order. They may be in the making, so they are gone through once."""

    @classmethod
    def of(cls, picture: Picture) -> Scroll:
        return cls(head_of(picture), picture.height, [(picture.pixels, picture.alpha)])

    @property
    def width(self) -> int:
        return self.head.width

    @property
    def channels(self) -> int:
        """Samples of a pixel, alpha among them."""
        return int(self.head.pixels.shape[2]) + (self.head.alpha is not None)

    @property
    def row_bytes(self) -> int:
        return self.width * self.channels * self.head.pixels.itemsize


@dataclass(frozen=True)
class Unpacking:
    """How the rows of a file are had without having them all."""

    head: Picture
    height: int
    bands: Callable[[], Iterator[Band]]
    """Gives all rows, from the first, each time anew; they raise OSError where the file is damaged."""


def head_of(picture: Picture) -> Picture:
    """The picture without its rows."""
    # Copies: a slice of no rows would keep the whole array alive.
    alpha = None if picture.alpha is None else picture.alpha[:0].copy()
    return replace(picture, pixels=picture.pixels[:0].copy(), alpha=alpha)


def regroup(bands: Iterable[Band], rows: int) -> Iterator[Band]:
    """The same rows in bands of `rows` each, the last with what is left; views wherever one band suffices."""
    held: list[Band] = []
    missing = rows
    for pixels, alpha in bands:
        top = 0
        while top < len(pixels):
            part = slice(top, top + missing)
            held.append((pixels[part], None if alpha is None else alpha[part]))
            top, missing = top + len(held[-1][0]), missing - len(held[-1][0])
            if missing == 0:
                yield joined(held)
                held, missing = [], rows
    if held:
        yield joined(held)


def joined(bands: list[Band]) -> Band:
    """Bands, at least one, as a single one."""
    if len(bands) == 1:
        return bands[0]
    alphas = [alpha for _, alpha in bands if alpha is not None]
    return np.concatenate([pixels for pixels, _ in bands]), np.concatenate(alphas) if alphas else None
