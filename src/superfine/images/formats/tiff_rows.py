"""Read a TIFF file band by band, without the whole of it in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from PIL import Image

from superfine.images import files
from superfine.images.bands import Band, BandSource
from superfine.images.formats import tiff_directory as td
from superfine.images.formats import tiff_read
from superfine.images.metadata import ORIENTATION
from superfine.images.picture import assemble

_LARGEST_UNIT: Final = 1 << 26
"""Bytes of pixels. If a single strip is larger, reading one at a time gains nothing."""
_OLD_JPEG: Final = 6


def band_source(path: Path, image: Image.Image | None) -> BandSource | None:
    """Open a TIFF by bands, `image` being Pillow's opened file, if it can; None if the file must be read whole."""
    with path.open("rb") as file:
        directory = td.read_directory(file)
        units = None if directory is None else td.units_of(directory)
        if directory is None or directory.following or units is None or directory.value(ORIENTATION, 1) != 1:
            return None
        # Old JPEG has tables elsewhere in the file; only the whole picture shows if a palette is gray.
        if (
            directory.value(td.COMPRESSION, 1) == _OLD_JPEG
            or directory.value(td.PHOTOMETRIC, 1) == tiff_read.PALETTE
            or units[0].rows * td.row_bytes_of(directory) > _LARGEST_UNIT
        ):
            return None
        layout = tiff_read.layout_of(directory)
        if layout is None:
            return None if image is None else _pillow_bands(path, directory, units, image)
        pixels, alpha = next(tiff_read.bands(layout, file, units[:1]))
        pixels, alpha = pixels[:0].copy(), None if alpha is None else alpha[:0].copy()
        icc = None if layout.photometric == tiff_read.CMYK else tiff_read.profile_of(directory)
        head = (
            tiff_read.picture_of(pixels, alpha, icc, directory, file)
            if image is None
            else assemble(image, pixels, alpha, icc, image.mode)
        )
    return BandSource(head, directory.value(td.HEIGHT, 0), partial(_bands, layout, path, units))


def _bands(layout: tiff_read.Layout, path: Path, units: list[td.Unit]) -> Iterator[Band]:
    """Decode all rows."""
    with path.open("rb") as file:
        yield from tiff_read.bands(layout, file, units)


def _pillow_bands(path: Path, directory: td.Directory, units: list[td.Unit], image: Image.Image) -> BandSource | None:
    """Decode by Pillow, as small TIFFs of a few units."""
    if directory.value(td.PLANES, 1) != 1 or image.mode in ("P", "PA"):
        return None
    together = max(1, td.BAND_BYTES // max(1, td.row_bytes_of(directory) * units[0].rows))

    def bands() -> Iterator[Band]:
        with path.open("rb") as file:
            for index in range(0, len(units), together):
                band = files.read(td.small_tiff(file, directory, units[index : index + together]))
                yield band.pixels, band.alpha

    with path.open("rb") as file:
        first = files.read(td.small_tiff(file, directory, units[:1]))
    alpha = None if first.alpha is None else first.alpha[:0].copy()
    head = assemble(image, first.pixels[:0].copy(), alpha, first.icc, image.mode)
    return BandSource(head, directory.value(td.HEIGHT, 0), bands)
