"""A picture's rows as they are asked for, from the top down: out of memory, or out of a file that is being unpacked."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from PIL import UnidentifiedImageError

from superfine.images import files
from superfine.images.alpha import extend_edges
from superfine.images.bands import Band, Unpacking, head_of, joined
from superfine.images.depth import Pixels
from superfine.images.formats import png_rows, tiff_rows
from superfine.images.formats.png import SIGNATURE
from superfine.images.formats.tiff import is_tiff
from superfine.images.picture import Picture

_ROWS = 256


class Rows(Protocol):
    """What is upscaled: hidden pixels, under full transparency, have the colour of their visible neighbours."""

    @property
    def head(self) -> Picture:
        """The picture without its rows."""
        ...

    @property
    def height(self) -> int: ...
    @property
    def neutral(self) -> bool:
        """Whether all pixels of the whole picture are gray, in one channel or in three."""
        ...

    @property
    def held(self) -> int:
        """Bytes of pixels in memory all the time."""
        ...

    def band(self, top: int, bottom: int) -> Band:
        """Rows top ≤ y < bottom. `top` never falls from call to call, nor goes beyond the last `bottom`."""
        ...


class PictureRows:
    """The rows of a picture in memory."""

    def __init__(self, picture: Picture, *, alpha: bool = True) -> None:
        """alpha: whether transparency is given with the rows; hidden pixels are seen to in any case."""
        self.picture = picture
        cover = picture.alpha
        self._pixels = picture.pixels if cover is None else extend_edges(picture.pixels, cover)
        self._alpha = cover if alpha else None
        self.head, self.height = head_of(replace(picture, alpha=self._alpha)), picture.height
        self.neutral = is_neutral(self._pixels)
        self.held = self._pixels.nbytes + (0 if self._alpha is None else self._alpha.nbytes)

    def band(self, top: int, bottom: int) -> Band:
        return self._pixels[top:bottom], None if self._alpha is None else self._alpha[top:bottom]


class FileRows:
    """The rows of a file that is unpacked as far as they are asked for; only those between are in memory."""

    held = 0

    def __init__(self, unpacking: Unpacking, neutral: bool, name: str, max_pixels: int) -> None:
        self.head, self.height, self.neutral = unpacking.head, unpacking.height, neutral
        self._name, self._max_pixels = name, max_pixels
        self._more = unpacking.bands()
        self._rows: Band = (self.head.pixels, self.head.alpha)
        self._first = 0

    def band(self, top: int, bottom: int) -> Band:
        """Raises ImageError where the file turns out damaged."""
        held, end = [_cut(self._rows, top - self._first)], self._first + len(self._rows[0])
        with files.errors_named(self._name, self._max_pixels):
            while end < bottom:
                more = next(self._more, None)
                if more is None:
                    raise OSError(f"{end} rows of {self.height} are there")
                held.append(more)
                end += len(more[0])
        self._rows, self._first = joined(held), top
        return _cut(self._rows, 0, bottom - top)


def _cut(band: Band, first: int, last: int | None = None) -> Band:
    pixels, alpha = band
    return pixels[first:last], None if alpha is None else alpha[first:last]


def open_rows(
    path: str | os.PathLike[str], *, max_pixels: int = files.DEFAULT_MAX_PIXELS, min_pixels: int = 0
) -> FileRows | None:
    """The rows of a file that can be had one after the other; None where it has to be read whole.

    Files of fewer than `min_pixels`, for which it is not worth while, are left alone too.

    So can those of PNG (8 and 16 bits, not interlaced, no palette, no animation) and TIFF (strips or tiles, one
    page, no palette), upright, without fully transparent pixels: what those look like depends on the whole picture.
    A first walk through the file finds that out, and whether there is any colour; for a photograph it is short.

    Raises ImageError as `files.read` does.
    """
    name, source = files.source_of(path)
    assert isinstance(source, Path)
    with files.errors_named(name, max_pixels):
        unpacking = _unpacking(source, max_pixels, min_pixels)
        neutral = None if unpacking is None else _scan(unpacking)
    return None if unpacking is None or neutral is None else FileRows(unpacking, neutral, name, max_pixels)


def _unpacking(source: Path, max_pixels: int, min_pixels: int) -> Unpacking | None:
    start = files.start_of(source)
    is_png = start.startswith(SIGNATURE)
    if not is_png and not is_tiff(start):
        return None
    try:
        with files.open_header(source, max_pixels) as image:
            if image.width * image.height < min_pixels:
                return None
            return png_rows.unpacking(source) if is_png else tiff_rows.unpacking(source, image)
    except UnidentifiedImageError:
        return None  # whoever reads it whole says what is wrong


def _scan(unpacking: Unpacking) -> bool | None:
    """Whether the picture is neutral; None if it has fully transparent pixels."""
    neutral = True
    for pixels, alpha in unpacking.bands():
        neutral = neutral and is_neutral(pixels)
        if alpha is None and not neutral:
            break
        if alpha is not None and not alpha.all():
            return None
    return neutral


def is_neutral(pixels: Pixels) -> bool:
    """Whether all channels of HWC pixels are equal."""
    if pixels.shape[2] == 1:
        return True
    parts = (pixels[top : top + _ROWS] for top in range(0, len(pixels), _ROWS))  # a photograph's first ones will do
    return all(bool((part == part[:, :, :1]).all()) for part in parts)
