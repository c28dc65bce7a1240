"""Rows of a picture from the top down, out of memory or decoded from a file as they are needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import UnidentifiedImageError

from superfine.images import files
from superfine.images.alpha import extend_edges
from superfine.images.bands import Band, BandSource, head_of, join_bands
from superfine.images.depth import Pixels
from superfine.images.formats import png_rows, tiff_rows
from superfine.images.formats.png import SIGNATURE
from superfine.images.formats.tiff import is_tiff
from superfine.images.picture import Picture

_ROWS = 256


class Rows(Protocol):
    """The rows to upscale; fully transparent pixels already have the colour of their visible neighbours."""

    @property
    def head(self) -> Picture:
        """The picture's metadata, with no rows."""
        ...

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def neutral(self) -> bool:
        """True if all pixels of the whole picture are gray, in one channel or in three."""
        ...

    @property
    def held(self) -> int:
        """Bytes of pixels that are in memory all the time."""
        ...

    def band(self, top: int, bottom: int, keep: int | None = None) -> Band:
        """Return rows top ≤ y < bottom.

        keep: a row above `top` from which on rows may be asked for again. From call to call `top` never falls below the
        last `keep`, or the last `top` without one, nor passes the last `bottom`.
        """
        ...

    def strips(self, tops: Sequence[int], rows: int) -> list[Pixels]:
        """Return `rows` rows from each of `tops` on, which rise, and leave `band` where it is."""
        ...


class PictureRows:
    """The rows of a picture in memory."""

    def __init__(self, picture: Picture, *, alpha: bool = True) -> None:
        """alpha: return alpha with the rows; hidden pixels are filled in any case."""
        self.picture = picture
        cover = picture.alpha
        self._pixels = picture.pixels if cover is None else extend_edges(picture.pixels, cover)
        self._alpha = cover if alpha else None
        self.head, self.height = head_of(replace(picture, alpha=self._alpha)), picture.height
        self.neutral = is_neutral(self._pixels)
        self.held = self._pixels.nbytes + (0 if self._alpha is None else self._alpha.nbytes)

    def band(self, top: int, bottom: int, keep: int | None = None) -> Band:
        """Return views of the rows."""
        return self._pixels[top:bottom], None if self._alpha is None else self._alpha[top:bottom]

    def strips(self, tops: Sequence[int], rows: int) -> list[Pixels]:
        """Return views of the rows."""
        return [self._pixels[top : top + rows] for top in tops]


class FileRows:
    """The rows of a file, decoded on demand; only the rows that may be asked for again are in memory."""

    held = 0

    def __init__(self, band_source: BandSource, neutral: bool, name: str, max_pixels: int) -> None:
        self.head, self.height, self.neutral = band_source.head, band_source.height, neutral
        self._name, self._max_pixels = name, max_pixels
        self._source, self._more = band_source, band_source.bands()
        self._rows: Band = (self.head.pixels, self.head.alpha)
        self._first = 0

    def band(self, top: int, bottom: int, keep: int | None = None) -> Band:
        """Decode further rows as needed. Raises ImageError if the file turns out to be damaged."""
        first = top if keep is None else max(self._first, min(top, keep))
        held, end = [_cut(self._rows, first - self._first)], self._first + len(self._rows[0])
        with files.image_errors(self._name, self._max_pixels):
            while end < bottom:
                more = next(self._more, None)
                if more is None:
                    raise OSError(f"{end} rows of {self.height} are there")
                held.append(more)
                end += len(more[0])
        self._rows, self._first = join_bands(held), first
        return _cut(self._rows, top - first, bottom - first)

    def strips(self, tops: Sequence[int], rows: int) -> list[Pixels]:
        """Decode the file once more, down to the last of the strips. Raises ImageError if it is damaged."""
        found: list[list[Pixels]] = [[] for _ in tops]
        end = 0
        with files.image_errors(self._name, self._max_pixels):
            for pixels, _ in self._source.bands():
                start, end = end, end + len(pixels)
                for top, parts in zip(tops, found, strict=True):
                    if start < top + rows and top < end:
                        parts.append(pixels[max(top - start, 0) : top + rows - start].copy())
                if not tops or end >= tops[-1] + rows:
                    break
        return [np.concatenate(parts) for parts in found]


def _cut(band: Band, first: int, last: int | None = None) -> Band:
    """Slice the rows of a band."""
    pixels, alpha = band
    return pixels[first:last], None if alpha is None else alpha[first:last]


def open_rows(
    path: str | os.PathLike[str], *, max_pixels: int = files.DEFAULT_MAX_PIXELS, min_pixels: int = 0
) -> FileRows | None:
    """Open a file to read its rows one after the other; None if it must be read whole or has under `min_pixels`.

    It works for upright PNG (8 and 16 bits, not interlaced, no palette, no animation) and TIFF (strips or tiles, one
    page, no palette) without fully transparent pixels, whose colour depends on the whole picture. A first pass
    through the file looks for those and for any colour; in a photograph it ends early.

    Raises ImageError as `files.read` does.
    """
    name, source = files.source_of(path)
    assert isinstance(source, Path)
    with files.image_errors(name, max_pixels):
        band_source = _band_source(source, max_pixels, min_pixels)
        neutral = None if band_source is None else _scan(band_source)
    return None if band_source is None or neutral is None else FileRows(band_source, neutral, name, max_pixels)


def _band_source(source: Path, max_pixels: int, min_pixels: int) -> BandSource | None:
    """Open a PNG or TIFF by bands; None for other files."""
    start = files.start_of(source)
    is_png = start.startswith(SIGNATURE)
    if not is_png and not is_tiff(start):
        return None
    try:
        with files.open_header(source, max_pixels) as image:
            if image.width * image.height < min_pixels:
                return None
            return png_rows.band_source(source) if is_png else tiff_rows.band_source(source, image)
    except UnidentifiedImageError:
        return None if is_png else tiff_rows.band_source(source, None)


def _scan(band_source: BandSource) -> bool | None:
    """Return True if the picture is neutral, None if it has fully transparent pixels."""
    neutral = True
    for pixels, alpha in band_source.bands():
        neutral = neutral and is_neutral(pixels)
        if alpha is None and not neutral:
            break
        if alpha is not None and not alpha.all():
            return None
    return neutral


def is_neutral(pixels: Pixels) -> bool:
    """Return True if all channels of HWC pixels are equal."""
    if pixels.shape[2] == 1:
        return True
    parts = (pixels[top : top + _ROWS] for top in range(0, len(pixels), _ROWS))  # a photograph's first ones will do
    return all(bool((part == part[:, :, :1]).all()) for part in parts)
