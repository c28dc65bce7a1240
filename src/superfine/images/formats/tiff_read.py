"""Read the samples of a TIFF: any depth of 1 to 16 bits or float, strips or tiles, chunky or planar.

libtiff inside Pillow only unpacks bytes here (LZW, PackBits, Zstandard, LZMA); this file gives them their meaning,
because Pillow forgets WhiteIsZero in 16 bits, does not scale 12 bits, and cuts colour and associated alpha to 8 bits.
JPEG and fax data, YCbCr, CIE LAB and 32-bit integers are left to Pillow.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine.errors import ImageError
from superfine.images.bands import Band
from superfine.images.depth import Pixels, as_uint8
from superfine.images.formats import tiff_directory as td
from superfine.images.formats.png import map_in_threads
from superfine.images.metadata import ORIENTATION, current_xmp, descriptive_exif
from superfine.images.picture import Picture, assemble, check_size, cmyk_to_srgb, turn_upright, unit_floats

_PLAIN, _LZW, _PACKBITS, _WEBP = 1, 5, 32773, 50001
_DEFLATE: Final = (8, 32946)
_BY_LIBTIFF: Final = (_LZW, _PACKBITS, 34925, 50000)
_BY_IMAGECODECS: Final = {34887: "lerc", 34712: "jpeg2k", 33003: "jpeg2k", 33005: "jpeg2k", 50002: "jpegxl"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
_COLOURS: Final = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, PALETTE: 1, CMYK: 4}
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_ASSOCIATED: Final = 1
_REVERSED: Final = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_DENSEST: Final = 30_000
"""Unpacked bytes per stored byte that no real file reaches."""


@dataclass(frozen=True)
class Layout:
    """The meaning of a page's bytes."""

    directory: td.Directory
    width: int
    samples: int
    bits: int
    kind: int
    """Sample format: _UNSIGNED, _SIGNED or _FLOAT."""
    photometric: int
    planar: bool
    alpha: int | None
    """Index of the alpha sample."""
    associated: bool
    """Colour is premultiplied by alpha."""
    compression: int
    predictor: int


def layout_of(directory: td.Directory) -> Layout | None:
    """Read the layout of a page; None for one that is left to Pillow."""
    bits = directory.values(td.BITS, (1,))
    samples = directory.value(td.SAMPLES, 1)
    photometric = directory.value(td.PHOTOMETRIC, _BLACK_IS_ZERO)
    kinds = directory.values(td.SAMPLE_FORMAT, (_UNSIGNED,))
    kind = _UNSIGNED if kinds[0] == 4 else kinds[0]
    if photometric not in _COLOURS or len(set(bits)) != 1 or len(set(kinds)) != 1 or bits[0] < 1:
        return None
    deep = {_UNSIGNED: range(1, 17), _SIGNED: (8, 16), _FLOAT: (16, 32, 64)}.get(kind, ())
    compression = directory.value(td.COMPRESSION, _PLAIN)
    known = (_PLAIN, _WEBP, *_DEFLATE, *_BY_LIBTIFF, *_BY_IMAGECODECS)
    extra = samples - _COLOURS[photometric]
    if bits[0] not in deep or compression not in known or extra < 0:
        return None
    if photometric == PALETTE and (kind != _UNSIGNED or td.COLOUR_MAP not in directory.entries):
        return None
    meanings = directory.values(td.EXTRA_SAMPLES, (2,) * min(extra, 1))
    alpha = next((place for place, meaning in enumerate(meanings[:extra]) if meaning in (1, 2)), None)
    return Layout(
        directory=directory,
        width=directory.value(td.WIDTH, 0),
        samples=samples,
        bits=bits[0],
        kind=kind,
        photometric=photometric,
        planar=directory.value(td.PLANES, 1) == 2 and samples > 1,
        alpha=None if alpha is None else _COLOURS[photometric] + alpha,
        associated=alpha is not None and meanings[alpha] == _ASSOCIATED,
        compression=compression,
        predictor=directory.value(td.PREDICTOR, 1),
    )


# Bytes ------------------------------------------------------------------------------------------


def _unpacked(layout: Layout, data: bytes, rows: int, width: int) -> NDArray[Any]:
    """Unpack a strip or tile of rows x width pixels into its samples, (rows, width, samples of a plane)."""
    count = 1 if layout.planar else layout.samples
    if layout.compression == _WEBP or layout.compression in _BY_IMAGECODECS:
        return _decoded_picture(layout, data, rows, width, count)
    row = -(-width * count * layout.bits // 8)
    if layout.directory.value(td.FILL_ORDER, 1) == 2:
        data = data.translate(_REVERSED)
    if layout.compression in _DEFLATE:
        try:
            data = zlib.decompressobj().decompress(data, rows * row)
        except zlib.error as error:
            raise OSError(f"broken data: {error}") from None
    elif layout.compression != _PLAIN:
        data = _by_libtiff(layout, data, rows, row)
    if len(data) < rows * row:
        raise OSError(f"{len(data)} bytes of pixels where {rows * row} are due")
    values = np.frombuffer(data, np.uint8, rows * row).reshape(rows, row)
    return _samples_of(layout, values, width, count)


def _by_libtiff(layout: Layout, data: bytes, rows: int, row: int) -> bytes:
    """Unpack bytes with libtiff, as a gray picture of 8 bits and `row` columns."""
    if rows * row > _DENSEST * (len(data) + 100):
        raise OSError(f"{len(data)} bytes cannot hold {rows * row} bytes of pixels")
    entries = {
        td.WIDTH: row, td.HEIGHT: rows, td.BITS: 8, td.COMPRESSION: layout.compression, td.PHOTOMETRIC: 1,
        td.STRIPS: 8, td.SAMPLES: 1, td.STRIP_ROWS: rows, td.STRIP_BYTES: len(data),
    }  # fmt: skip
    with td.StripFile(io.BytesIO(td.tiff_of_strip(entries, data))) as image:
        return image.tobytes()


def _decoded_picture(layout: Layout, data: bytes, rows: int, width: int, count: int) -> NDArray[Any]:
    """Decode a strip or tile that is a picture file of its own: WebP, JPEG 2000, JPEG XL, LERC."""
    if layout.compression == _WEBP:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            values: NDArray[Any] = np.asarray(image)
    else:
        name = _BY_IMAGECODECS[layout.compression]
        try:
            import imagecodecs
        except ImportError:
            raise ImageError(
                f"unpacking this TIFF ({name}) needs imagecodecs: pip install 'superfine[formats]'"
            ) from None
        values = np.asarray(getattr(imagecodecs, f"{name}_decode")(data))
    values = values.reshape(values.shape[0], values.shape[1], -1)
    if values.shape[2] > count or values.shape[:2] < (rows, width):
        raise OSError(f"a part of {values.shape} where {(rows, width, count)} is due")
    if values.shape[2] < count:  # WebP leaves out an alpha that is opaque everywhere
        opaque = np.full((*values.shape[:2], count - values.shape[2]), 255, np.uint8)
        values = np.concatenate([values, opaque], axis=2)
    return values[:rows, :width]


def _samples_of(layout: Layout, values: NDArray[np.uint8], width: int, count: int) -> NDArray[Any]:
    """Turn bytes into numbers of the native byte order, and undo the predictor (TIFF 6.0, section 14)."""
    rows, bits, order = len(values), layout.bits, layout.directory.order
    if layout.predictor == 3 and layout.kind == _FLOAT:
        # Adobe's technical note 3: bytes of equal weight side by side, then differences of bytes.
        sums = np.cumsum(values.reshape(rows, -1, count), axis=1, dtype=np.uint8).reshape(rows, bits // 8, -1)
        packed = np.ascontiguousarray(np.swapaxes(sums, 1, 2)).reshape(rows, -1)
        return _native(packed.view(f">f{bits // 8}").reshape(rows, width, count))
    if bits in (8, 16, 32, 64):
        numbers = _native(values.view(f"{order}u{bits // 8}").reshape(rows, width, count))
        if layout.predictor == 2:
            numbers = np.cumsum(numbers, axis=1, dtype=numbers.dtype)
    elif layout.predictor != 1:
        raise ImageError(f"a TIFF of {bits} bits with differences has no meaning; convert it with ImageMagick first")
    else:
        numbers = _bits_of(values, width * count, bits).reshape(rows, width, count)
    letter = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f"}[layout.kind]
    return numbers.view(f"{letter}{numbers.itemsize}")


def _native(values: NDArray[Any]) -> NDArray[Any]:
    """Convert to the machine's byte order."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _bits_of(values: NDArray[np.uint8], count: int, bits: int) -> NDArray[Any]:
    """Read `count` numbers of `bits` bits a row, most significant bit first."""
    flags = np.unpackbits(values, axis=1, count=count * bits).reshape(len(values), count, bits)
    numbers = np.zeros((len(values), count), np.uint8 if bits <= 8 else np.uint16)
    for place in range(bits):
        numbers <<= 1
        numbers |= flags[:, :, place]
    return numbers


# Meaning ----------------------------------------------------------------------------------------


def _meaning(layout: Layout, samples: NDArray[Any]) -> Band:
    """Turn samples (rows, width, count) into pixels and straight alpha."""
    colours = _COLOURS[layout.photometric]
    if layout.photometric == PALETTE:
        pixels = _palette(layout)[samples[:, :, 0]]
        alpha = None if layout.alpha is None else as_uint8(_full_range(layout, samples[:, :, layout.alpha]))
        return pixels, alpha
    values = _full_range(layout, samples)
    pixels = values[:, :, :colours]
    alpha = None if layout.alpha is None else np.ascontiguousarray(values[:, :, layout.alpha])
    peak = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    if layout.photometric == _WHITE_IS_ZERO:
        pixels = peak - pixels
    if layout.associated and alpha is not None:
        pixels = _unpremultiplied(pixels, alpha, peak)
    if layout.photometric == CMYK:
        ink = Image.fromarray(np.ascontiguousarray(as_uint8(pixels)), mode="CMYK")
        pixels = np.asarray(cmyk_to_srgb(ink, profile_of(layout.directory)))
        alpha = None if alpha is None else as_uint8(alpha)
    return np.ascontiguousarray(pixels), alpha


def _full_range(layout: Layout, values: NDArray[Any]) -> Pixels:
    """Scale samples to uint8, uint16 or float32 0..1."""
    if layout.kind == _FLOAT:
        return unit_floats(values)
    if layout.kind == _SIGNED:
        if values.min(initial=0) < 0:
            raise ImageError("a TIFF of signed numbers holds values below 0; scale it to 0..65535 first")
        return values.astype(np.uint8 if layout.bits == 8 else np.uint16)
    top = (1 << layout.bits) - 1
    peak = 255 if layout.bits <= 8 else 65535
    if top == peak:
        return values
    table = ((np.arange(top + 1, dtype=np.uint64) * peak * 2 + top) // (2 * top)).astype(values.dtype)
    scaled: Pixels = table[values]
    return scaled


def _palette(layout: Layout) -> NDArray[np.uint8]:
    """Return the palette as (colours, 3)."""
    colours = np.array(layout.directory.values(td.COLOUR_MAP), np.uint16)
    size = 1 << layout.bits
    if len(colours) < 3 * size:
        raise OSError(f"a palette of {len(colours)} numbers where {3 * size} are due")
    # By the high byte: some programs write level * 256 and others level * 257.
    return (colours[: 3 * size].reshape(3, size).T >> 8).astype(np.uint8)


def _unpremultiplied(pixels: Pixels, alpha: Pixels, peak: int) -> Pixels:
    """Divide premultiplied colour (TIFF's associated alpha) by its alpha, rounded in the depth of the file."""
    cover = alpha[:, :, None].astype(np.float64)
    colour = np.divide(pixels * float(peak), cover, out=np.zeros(pixels.shape), where=cover > 0)
    return np.minimum(np.rint(colour) if pixels.dtype.kind == "u" else colour, peak).astype(pixels.dtype)


def profile_of(directory: td.Directory) -> bytes | None:
    """Return the ICC profile of a page."""
    entry = directory.entries.get(td.PROFILE)
    return entry.raw if entry is not None and entry.raw else None


# Pages ------------------------------------------------------------------------------------------


def bands(layout: Layout, file: IO[bytes], units: list[td.Unit]) -> Iterator[Band]:
    """Decode units in parallel, in order."""

    def parts() -> Iterator[tuple[td.Unit, list[bytes]]]:
        for unit in units:
            data = []
            for offset, length in unit.parts:
                file.seek(offset)
                data.append(file.read(length))
            yield unit, data

    yield from map_in_threads(partial(_band, layout), parts())


def _band(layout: Layout, part: tuple[td.Unit, list[bytes]]) -> Band:
    """Decode one unit: a strip, or a row of tiles, of every plane."""
    unit, data = part
    directory = layout.directory
    rows, width, across = unit.rows, layout.width, 1
    if td.TILES in directory.entries:
        rows, width = directory.value(td.TILE_ROWS, 0), directory.value(td.TILE_WIDTH, 0)
        across = -(-layout.width // width)
    blocks = [_unpacked(layout, each, rows, width) for each in data]
    planes = [blocks[first : first + across] for first in range(0, len(blocks), across)]
    joined = [each[0] if across == 1 else np.concatenate(each, axis=1) for each in planes]
    samples = joined[0] if len(joined) == 1 else np.concatenate(joined, axis=2)
    return _meaning(layout, samples[: unit.rows, : layout.width])


def _grayed(pixels: Pixels, layout: Layout) -> Pixels:
    """Reduce a palette picture to one channel if all its colours are gray and it has no RGB profile."""
    icc = profile_of(layout.directory)
    if layout.photometric != PALETTE or (icc is not None and icc[16:20] != b"GRAY"):
        return pixels
    return np.ascontiguousarray(pixels[:, :, :1]) if bool((pixels == pixels[:, :, :1]).all()) else pixels


def read_page(
    source: Path | IO[bytes], max_pixels: int, page: int = 0, image: Image.Image | None = None
) -> Picture | None:
    """Read a page; None for a TIFF that is left to Pillow, and for a page that does not exist.

    image: Pillow's image that stands at the page, for the metadata; None if Pillow cannot open the file.
    Raises ImageError over `max_pixels`, OSError for a damaged file.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_page(file, max_pixels, page, image)
    directory = td.read_directory(source, page)
    layout = None if directory is None else layout_of(directory)
    units = None if directory is None else td.units_of(directory)
    if directory is None or layout is None or units is None:
        return None
    height = directory.value(td.HEIGHT, 0)
    check_size(layout.width, height, max_pixels)
    pixels: Pixels | None = None
    alpha: Pixels | None = None
    top = 0
    for rows, cover in bands(layout, source, units):
        if pixels is None:
            pixels = np.empty((height, layout.width, rows.shape[2]), rows.dtype)
            alpha = None if cover is None else np.empty((height, layout.width), cover.dtype)
        pixels[top : top + len(rows)] = rows
        if alpha is not None:
            alpha[top : top + len(rows)] = cover
        top += len(rows)
    assert pixels is not None
    icc = None if layout.photometric == CMYK else profile_of(directory)
    if image is not None:
        return assemble(image, _grayed(pixels, layout), alpha, icc, image.mode)
    return picture_of(_grayed(pixels, layout), alpha, icc, directory, source if page == 0 else None)


def picture_of(
    pixels: Pixels, alpha: Pixels | None, icc: bytes | None, directory: td.Directory, file: IO[bytes] | None
) -> Picture:
    """Build a Picture with the metadata of a directory; EXIF only if a file is given."""
    orientation = directory.value(ORIENTATION, 1)
    orientation = orientation if 1 <= orientation <= 8 else 1
    exif = None
    if file is not None:
        try:
            found = Image.Exif()
            file.seek(0)
            with warnings.catch_warnings(action="ignore"):
                found.load_from_fp(file)  # an EXIF block is a TIFF, so Pillow's reader of those reads this one's tags
            exif = descriptive_exif(found)
        except Exception:  # metadata must not cost the pixels; Pillow raises half a dozen types here
            exif = None
    xmp = directory.entries.get(td.XMP)
    return Picture(
        turn_upright(pixels, orientation),
        None if alpha is None else turn_upright(alpha, orientation),
        icc=icc,
        exif=exif,
        dpi=_dpi_of(directory, turned=orientation >= 5),
        mode=f"TIFF of {directory.value(td.BITS, 1)} bits",
        xmp=current_xmp(xmp.raw) if xmp is not None and xmp.raw else None,
    )


def _dpi_of(directory: td.Directory, *, turned: bool) -> tuple[float, float] | None:
    """Return the resolution in dots per inch; None if there is none."""
    unit = {2: 1.0, 3: 2.54}.get(directory.value(td.RESOLUTION_UNIT, 2))
    found = []
    for tag in td.RESOLUTION:
        entry = directory.entries.get(tag)
        if unit is None or entry is None or len(entry.raw) < 8:
            return None
        above, below = struct.unpack_from(directory.order + "II", entry.raw)
        if not above or not below:
            return None
        found.append(above / below * unit)
    return (found[1], found[0]) if turned else (found[0], found[1])


def count_pages(source: Path | IO[bytes]) -> int:
    """Count the pages of a TIFF, thumbnails included."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return count_pages(file)
    count = 0
    while count < 10_000 and td.read_directory(source, count) is not None:
        count += 1
    return count


def is_thumbnail(source: Path | IO[bytes], page: int) -> bool:
    """Return True for a page that says it is a reduced copy of another."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return is_thumbnail(file, page)
    directory = td.read_directory(source, page)
    return directory is not None and bool(directory.value(td.SUBFILE, 0) & 1)
