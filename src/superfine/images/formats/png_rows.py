"""Read a PNG file band by band.

A few rows, still filtered, below the row before them are a small PNG of their own. So Pillow and `files.read` decode
them as they would decode the whole, whatever the depth; this file only inflates.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from superfine.images import files
from superfine.images.bands import Band, BandSource, head_of
from superfine.images.formats.png import SIGNATURE, put_chunk, raw_rows
from superfine.images.metadata import orientation_of

_BAND_BYTES: Final = 1 << 22
_BLOCK: Final = 1 << 18
_SAMPLES: Final = {0: 1, 2: 3, 4: 2, 6: 4}
"""Colour type → samples a pixel; without palettes (3), because only the whole picture shows if one is gray."""
_WITH_ALPHA: Final = (4, 6)


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    """Offset of its content in the file."""
    length: int


def band_source(path: Path) -> BandSource | None:
    """Open a PNG by bands; None if it must be read whole."""
    with path.open("rb") as file:
        chunks = _chunks(file)
        if chunks is None:
            return None
        file.seek(chunks[0].start)
        width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
        others = []
        for chunk in chunks[1:-1]:
            if chunk.kind != b"IDAT":
                file.seek(chunk.start)
                others.append((chunk.kind, file.read(chunk.length)))
    if bits < 8 or colour not in _SAMPLES or interlaced or any(kind == b"acTL" for kind, _ in others):
        return None
    header = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    row = width * _SAMPLES[colour] * bits // 8
    small = _small_png(header, others, bytes(1 + row))
    with Image.open(io.BytesIO(small)) as image:
        image.load()
        if orientation_of(image) != 1:
            return None
    head = head_of(files.read(io.BytesIO(small)))
    meaning = [chunk for chunk in others if chunk[0] == b"tRNS"]
    data = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
    return BandSource(head, height, partial(_bands, path, data, header, meaning, row, height))


def _chunks(file: io.BufferedReader) -> list[_Chunk] | None:
    """List all chunks from IHDR to IEND; None if the file is not made of them or its IDAT chunks are not adjacent."""
    chunks: list[_Chunk] = []
    size = file.seek(0, io.SEEK_END)
    at = len(SIGNATURE)
    while not chunks or chunks[-1].kind != b"IEND":
        file.seek(at)
        start = file.read(8)
        if len(start) < 8:
            return None
        length, kind = struct.unpack(">I4s", start)
        chunks.append(_Chunk(kind, at + 8, length))
        at += 12 + length
        if at > size:
            return None
    kinds = [chunk.kind for chunk in chunks]
    if kinds[0] != b"IHDR" or chunks[0].length != 13 or b"IDAT" not in kinds:
        return None
    first = kinds.index(b"IDAT")
    count = kinds.count(b"IDAT")
    return chunks if kinds[first : first + count] == [b"IDAT"] * count else None


def _bands(
    path: Path, data: list[_Chunk], header: bytes, meaning: list[tuple[bytes, bytes]], row: int, height: int
) -> Iterator[Band]:
    """Decode bands of about _BAND_BYTES."""
    rows = max(1, _BAND_BYTES // row)
    above = b""
    for filtered in _inflated(path, data, 1 + row, rows, height):
        count = len(filtered) // (1 + row)
        over = bool(above)
        size = header[:4] + struct.pack(">I", count + over) + header[8:]
        small = files.read(io.BytesIO(_small_png(size, meaning, above + filtered)))
        pixels = small.pixels[over:]
        alpha = None if small.alpha is None else small.alpha[over:]
        yield pixels, alpha
        # The last row again, not filtered (type 0).
        last = alpha[-1:] if alpha is not None and header[9] in _WITH_ALPHA else None
        above = b"\0" + raw_rows(pixels[-1:], last).tobytes()


def _inflated(path: Path, data: list[_Chunk], row: int, rows: int, height: int) -> Iterator[bytearray]:
    """Yield the file's filtered rows, `rows` at a time. Raises OSError if there are too few of them."""
    inflate = zlib.decompressobj()
    held, left = bytearray(), height
    for block in _blocks(path, data):
        while block and left:
            wanted = row * min(rows, left)
            try:
                held += inflate.decompress(block, wanted - len(held))
                block = inflate.unconsumed_tail
                if len(held) == wanted and wanted == row * left:
                    inflate.decompress(block, 1)  # the checksum, if it is in this block
            except zlib.error:
                raise OSError("broken data stream when reading image file") from None  # as Pillow says it
            if len(held) == wanted:
                left -= wanted // row
                yield held
                held = bytearray()
            elif inflate.eof:
                break
    if left:
        raise OSError(f"{height - left - len(held) // row} rows of {height} are there")


def _blocks(path: Path, data: list[_Chunk]) -> Iterator[bytes]:
    """Yield the content of the IDAT chunks, a piece at a time."""
    with path.open("rb") as file:
        for chunk in data:
            file.seek(chunk.start)
            left = chunk.length
            while left:
                block = file.read(min(left, _BLOCK))
                if not block:
                    return
                left -= len(block)
                yield block


def _small_png(header: bytes, others: list[tuple[bytes, bytes]], filtered: bytes | bytearray) -> bytes:
    """Make a PNG of these filtered rows."""
    file = io.BytesIO()
    file.write(SIGNATURE)
    for kind, content in ((b"IHDR", header), *others, (b"IDAT", zlib.compress(filtered, 0)), (b"IEND", b"")):
        put_chunk(file, kind, content)
    return file.getvalue()
