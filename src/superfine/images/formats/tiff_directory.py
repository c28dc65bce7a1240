"""Read the directories of a TIFF, and write a few strips or tiles under a directory of their own (TIFF 6.0, section 2).

A few strips, or rows of tiles, with a directory of their own are a small TIFF, which decodes like the whole.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final, NamedTuple

from PIL import Image, ImageFile, TiffImagePlugin

BAND_BYTES: Final = 1 << 22
_LARGEST_VALUE: Final = 1 << 26

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES = 256, 257, 258, 259, 262, 277, 284
FILL_ORDER, PREDICTOR, COLOUR_MAP, EXTRA_SAMPLES, SAMPLE_FORMAT, PROFILE = 266, 317, 320, 338, 339, 34675
SUBFILE, RESOLUTION_UNIT, XMP = 254, 296, 700
RESOLUTION: Final = (282, 283)
STRIPS, STRIP_BYTES, STRIP_ROWS = 273, 279, 278
TILES, TILE_BYTES, TILE_WIDTH, TILE_ROWS = 324, 325, 322, 323
_YCBCR = 6
_PIXEL_TAGS: Final = (
    254, WIDTH, BITS, COMPRESSION, PHOTOMETRIC, 266, SAMPLES, PLANES, 292, 293, 317, TILE_WIDTH, TILE_ROWS,
    332, 333, 334, 336, 338, 339, 340, 341, 347, 529, 530, 531, 532, 34675, 50674,
)  # fmt: skip
"""Tags that say how bytes become pixels; offsets and heights are new in every band."""

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SHORT, _LONG = 3, 4


class Entry(NamedTuple):
    """One entry of a directory."""

    kind: int
    number: int
    """Number of values."""
    raw: bytes


class Unit(NamedTuple):
    """A strip, part of an uncompressed strip, or a row of tiles."""

    parts: tuple[tuple[int, int], ...]
    """Offset and length of each strip or tile in the file."""
    rows: int


@dataclass(frozen=True)
class Directory:
    """The directory of one page."""

    order: str
    """Byte order, as struct writes it."""
    entries: dict[int, Entry]
    following: int
    """Offset of the next directory; 0 for the last."""

    def values(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the whole numbers of a tag."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _CODES:
            return default
        return struct.unpack(f"{self.order}{entry.number}{_CODES[entry.kind]}", entry.raw)

    def value(self, tag: int, default: int) -> int:
        """Return the first whole number of a tag."""
        return (*self.values(tag), default)[0]


def read_directory(file: IO[bytes], page: int = 0) -> Directory | None:
    """Read the directory of a page of a classic TIFF or BigTIFF; None if it is damaged or there is no such page."""
    try:
        file.seek(0)
        start = file.read(16)
        order = {b"II": "<", b"MM": ">"}[start[:2]]
        big = struct.unpack_from(order + "H", start, 2)[0] == 43
        at = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)[0]
        for _ in range(page):
            at = _following(file, order, big, at)
            if at == 0:
                return None
        return _directory_at(file, order, big, at)
    except (struct.error, KeyError, OverflowError):
        return None


def _following(file: IO[bytes], order: str, big: bool, at: int) -> int:
    """Return the offset of the directory after the one at `at`."""
    file.seek(at)
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    file.seek((20 if big else 12) * count, io.SEEK_CUR)
    (following,) = struct.unpack(order + ("Q" if big else "I"), file.read(8 if big else 4))
    return int(following)


def _directory_at(file: IO[bytes], order: str, big: bool, at: int) -> Directory | None:
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
        entries[tag] = Entry(kind, number, raw)
    return Directory(order, entries, following)


def units_of(directory: Directory) -> list[Unit] | None:
    """List what can be decoded on its own, from the top; None if the directory is inconsistent."""
    width, height = directory.value(WIDTH, 0), directory.value(HEIGHT, 0)
    tiled = TILES in directory.entries
    if tiled:
        rows, tile_width = directory.value(TILE_ROWS, 0), directory.value(TILE_WIDTH, 0)
        places = list(zip(directory.values(TILES), directory.values(TILE_BYTES), strict=False))
        across = -(-width // tile_width) if tile_width else 0
    else:
        rows = min(directory.value(STRIP_ROWS, height), height)
        places = list(zip(directory.values(STRIPS), directory.values(STRIP_BYTES), strict=False))
        across = 1
    planes = directory.value(SAMPLES, 1) if directory.value(PLANES, 1) == 2 else 1
    if min(width, height, rows, across, planes) < 1 or len(places) != planes * across * -(-height // rows):
        return None
    count = -(-height // rows)
    units = [
        Unit(
            tuple(
                place
                for plane in range(planes)
                for place in places[(plane * count + index) * across : (plane * count + index + 1) * across]
            ),
            min(rows, height - index * rows),
        )
        for index in range(count)
    ]
    plain = directory.value(COMPRESSION, 1) == 1 and directory.value(PHOTOMETRIC, 1) != _YCBCR
    if plain and not tiled:
        one_plane = -(-width * directory.value(BITS, 1) // 8) if planes > 1 else row_bytes_of(directory)
        return [part for unit in units for part in _parts(unit, one_plane)]
    return units


def row_bytes_of(directory: Directory) -> int:
    """Bytes of an unpacked row of pixels, all planes together."""
    bits = directory.value(BITS, 1) * directory.value(SAMPLES, 1)
    return -(-directory.value(WIDTH, 0) * bits // 8)


def _parts(unit: Unit, row_bytes: int) -> Iterator[Unit]:
    """Cut an uncompressed strip, or the strips of all planes, into pieces; row_bytes: of one of them."""
    rows = max(1, BAND_BYTES // (row_bytes * len(unit.parts)))
    for top in range(0, unit.rows, rows):
        count = min(rows, unit.rows - top)
        start = top * row_bytes
        pieces = ((offset + start, max(0, min(count * row_bytes, length - start))) for offset, length in unit.parts)
        yield Unit(tuple(pieces), count)


def small_tiff(file: IO[bytes], directory: Directory, units: list[Unit]) -> io.BytesIO:
    """Make a classic TIFF of these units alone."""
    order = directory.order
    tiled = TILES in directory.entries
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
    entries[HEIGHT] = _longs(order, [rows])
    entries[TILES if tiled else STRIPS] = _longs(order, [offset for offset, _ in places])
    entries[TILE_BYTES if tiled else STRIP_BYTES] = _longs(order, [length for _, length in places])
    if not tiled:
        entries[STRIP_ROWS] = _longs(order, [units[0].rows])
    _put_directory(out, order, entries)
    out.seek(0)
    return out


def tiff_of_strip(values: dict[int, int], data: bytes) -> bytes:
    """Make a TIFF of one strip, which lies at offset 8."""
    out = io.BytesIO()
    out.write(b"II*\0\0\0\0\0" + data)
    _put_directory(out, "<", {tag: _longs("<", [value]) for tag, value in values.items()})
    return out.getvalue()


def _put_directory(out: io.BytesIO, order: str, entries: dict[int, Entry]) -> None:
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


def _narrow(order: str, entry: Entry) -> Entry:
    """Convert 64-bit numbers, which only BigTIFF has, to 32 bits."""
    if entry.kind not in (16, 17, 18):
        return entry
    return _longs(order, [value & 0xFFFFFFFF for value in struct.unpack(f"{order}{entry.number}Q", entry.raw)])


def _longs(order: str, values: list[int]) -> Entry:
    """Make an entry of 32-bit numbers."""
    return Entry(_LONG, len(values), struct.pack(f"{order}{len(values)}I", *values))


class StripFile(TiffImagePlugin.TiffImageFile):
    """Open a TIFF of one strip whose size has been checked: Pillow's limit of pixels would count its bytes."""

    def load_prepare(self) -> None:
        """Make the memory for the pixels."""
        self.im = Image.new(self.mode, self.size).im
        ImageFile.ImageFile.load_prepare(self)
