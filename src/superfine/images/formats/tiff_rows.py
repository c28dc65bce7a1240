"""Read a TIFF file band by band.

A few strips, or rows of tiles, with a directory of their own are a small TIFF. So Pillow and `files.read` decode them
as they would decode the whole, whatever the compression and depth; this file only reads and writes directories
(TIFF 6.0, section 2).
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple

from PIL import Image

from superfine.images import files
from superfine.images.bands import Band, BandSource
from superfine.images.metadata import ORIENTATION
from superfine.images.picture import assemble

_BAND_BYTES: Final = 1 << 22
_LARGEST_UNIT: Final = 1 << 26
"""Bytes of pixels. If a single strip is larger, reading one at a time gains nothing."""
_LARGEST_VALUE: Final = 1 << 26

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES = 256, 257, 258, 259, 262, 277, 284
_STRIPS, _STRIP_BYTES, _STRIP_ROWS = 273, 279, 278
_TILES, _TILE_BYTES, _TILE_WIDTH, _TILE_ROWS = 324, 325, 322, 323
_OLD_JPEG, _PALETTE, _YCBCR = 6, 3, 6
_PIXEL_TAGS: Final = (
    254, _WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _SAMPLES, _PLANES, 292, 293, 317, _TILE_WIDTH, _TILE_ROWS,
    332, 333, 334, 336, 338, 339, 340, 341, 347, 529, 530, 531, 532, 34675, 50674,
)  # fmt: skip
"""Tags that say how bytes become pixels; offsets and heights are new in every band."""

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SHORT, _LONG = 3, 4


class _Entry(NamedTuple):
    """One entry of a directory."""

    kind: int
    number: int
    """Number of values."""
    raw: bytes


class _Unit(NamedTuple):
    """A strip, part of an uncompressed strip, or a row of tiles."""

    parts: tuple[tuple[int, int], ...]
    """Offset and length of each strip or tile in the file."""
    rows: int


@dataclass(frozen=True)
class _Directory:
    """The first directory of a file."""

    order: str
    """Byte order, as struct writes it."""
    entries: dict[int, _Entry]
    last: bool

    def values(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the whole numbers of a tag."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _CODES:
            return default
        return struct.unpack(f"{self.order}{entry.number}{_CODES[entry.kind]}", entry.raw)

    def value(self, tag: int, default: int) -> int:
        """Return the first whole number of a tag."""
        return (*self.values(tag), default)[0]


def band_source(path: Path, image: Image.Image) -> BandSource | None:
    """Open a TIFF by bands, `image` being the opened file; None if it must be read whole."""
    with path.open("rb") as file:
        directory = _read(file)
    if directory is None or not directory.last or image.mode in ("P", "PA"):
        return None
    if directory.value(ORIENTATION, 1) != 1 or directory.value(_COMPRESSION, 1) == _OLD_JPEG:
        return None
    if directory.value(_PLANES, 1) != 1 or directory.value(_PHOTOMETRIC, 1) == _PALETTE:
        return None
    units = _units(directory)
    if units is None:
        return None
    with path.open("rb") as file:
        first = files.read(_small_tiff(file, directory, units[:1]))
    alpha = None if first.alpha is None else first.alpha[:0].copy()
    head = assemble(image, first.pixels[:0].copy(), alpha, first.icc, image.mode)
    return BandSource(head, directory.value(_HEIGHT, 0), partial(_bands, path, directory, units))


def _read(file: IO[bytes]) -> _Directory | None:
    """Read the first directory of a classic TIFF or BigTIFF; None if it is damaged."""
    try:
        start = file.read(16)
        order = {b"II": "<", b"MM": ">"}[start[:2]]
        big = struct.unpack_from(order + "H", start, 2)[0] == 43
        at = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)[0]
        file.seek(at)
        (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
        layout = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        table = file.read(min(count, 65535) * layout.size)
        (following,) = struct.unpack(order + ("Q" if big else "I"), file.read(8 if big else 4))
        entries = {}
        for tag, kind, number, inline in layout.iter_unpack(table):
            size = number * _SIZES.get(kind, 0)
            if size > len(inline):
                if size > _LARGEST_VALUE:
                    return None
                file.seek(struct.unpack(order + ("Q" if big else "I"), inline)[0])
            raw = inline[:size] if size <= len(inline) else file.read(size)
            if len(raw) < size:
                return None
            entries[tag] = _Entry(kind, number, raw)
        return _Directory(order, entries, following == 0)
    except (struct.error, KeyError):
        return None


def _units(directory: _Directory) -> list[_Unit] | None:
    """List what can be decoded on its own, from the top; None if that is too large or the directory inconsistent."""
    width, height = directory.value(_WIDTH, 0), directory.value(_HEIGHT, 0)
    bits = directory.values(_BITS, (1,))
    pixel_bits = bits[0] * directory.value(_SAMPLES, 1)
    row_bytes = -(-width * pixel_bits // 8)
    tiled = _TILES in directory.entries
    if tiled:
        rows, tile_width = directory.value(_TILE_ROWS, 0), directory.value(_TILE_WIDTH, 0)
        places = list(zip(directory.values(_TILES), directory.values(_TILE_BYTES), strict=False))
        across = -(-width // tile_width) if tile_width else 0
    else:
        rows = min(directory.value(_STRIP_ROWS, height), height)
        places = list(zip(directory.values(_STRIPS), directory.values(_STRIP_BYTES), strict=False))
        across = 1
    if min(width, height, rows, across) < 1 or len(places) != across * -(-height // rows):
        return None
    units = [
        _Unit(tuple(places[index * across : (index + 1) * across]), min(rows, height - index * rows))
        for index in range(len(places) // across)
    ]
    if not tiled and directory.value(_COMPRESSION, 1) == 1 and directory.value(_PHOTOMETRIC, 1) != _YCBCR:
        return [part for unit in units for part in _parts(unit, row_bytes)]
    return units if rows * row_bytes <= _LARGEST_UNIT else None


def _parts(unit: _Unit, row_bytes: int) -> Iterator[_Unit]:
    """Cut an uncompressed strip into pieces."""
    rows = max(1, _BAND_BYTES // row_bytes)
    ((offset, length),) = unit.parts
    for top in range(0, unit.rows, rows):
        count = min(rows, unit.rows - top)
        start = top * row_bytes
        yield _Unit(((offset + start, max(0, min(count * row_bytes, length - start))),), count)


def _bands(path: Path, directory: _Directory, units: list[_Unit]) -> Iterator[Band]:
    """Decode bands of about _BAND_BYTES."""
    row_bytes = directory.value(_WIDTH, 0) * directory.values(_BITS, (1,))[0] * directory.value(_SAMPLES, 1) // 8
    together = max(1, _BAND_BYTES // max(1, row_bytes * units[0].rows))
    with path.open("rb") as file:
        for index in range(0, len(units), together):
            band = files.read(_small_tiff(file, directory, units[index : index + together]))
            yield band.pixels, band.alpha


def _small_tiff(file: IO[bytes], directory: _Directory, units: list[_Unit]) -> io.BytesIO:
    """Make a classic TIFF of these units alone."""
    order = directory.order
    tiled = _TILES in directory.entries
    out = io.BytesIO()
    out.write(b"II*\0" if order == "<" else b"MM\0*")
    out.write(bytes(4))
    places = []
    for unit in units:
        for offset, length in unit.parts:
            file.seek(offset)
            places.append((out.tell(), out.write(file.read(length))))
    entries = {tag: _narrow(order, directory.entries[tag]) for tag in _PIXEL_TAGS if tag in directory.entries}
    rows = sum(unit.rows for unit in units)
    entries[_HEIGHT] = _longs(order, [rows])
    entries[_TILES if tiled else _STRIPS] = _longs(order, [offset for offset, _ in places])
    entries[_TILE_BYTES if tiled else _STRIP_BYTES] = _longs(order, [length for _, length in places])
    if not tiled:
        entries[_STRIP_ROWS] = _longs(order, [units[0].rows])
    _put_directory(out, order, entries)
    out.seek(0)
    return out


def _put_directory(out: io.BytesIO, order: str, entries: dict[int, _Entry]) -> None:
    """Write a directory and link it from the header."""
    table = struct.pack(order + "H", len(entries))
    for tag in sorted(entries):
        kind, count, raw = entries[tag]
        if len(raw) > 4:
            at = out.tell() + out.tell() % 2
            out.seek(at)
            out.write(raw)
            raw = struct.pack(order + "I", at)
        table += struct.pack(order + "HHI4s", tag, kind, count, raw)
    at = out.tell() + out.tell() % 2
    out.seek(at)
    out.write(table + bytes(4))
    out.seek(4)
    out.write(struct.pack(order + "I", at))


def _narrow(order: str, entry: _Entry) -> _Entry:
    """Convert 64-bit numbers, which only BigTIFF has, to 32 bits."""
    if entry.kind not in (16, 17, 18):
        return entry
    return _longs(order, [value & 0xFFFFFFFF for value in struct.unpack(f"{order}{entry.number}Q", entry.raw)])


def _longs(order: str, values: list[int]) -> _Entry:
    """Make an entry of 32-bit numbers."""
    return _Entry(_LONG, len(values), struct.pack(f"{order}{len(values)}I", *values))
