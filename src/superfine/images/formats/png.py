"""Write PNG of 8 and 16 bits: filtered by NumPy and deflated, with segments of rows in parallel on all cores.

Pillow writes no colour of 16 bits, copies the whole picture first, and compresses on one core with an effort that
photographs do not repay.
"""

import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from superfine.cores import cores
from superfine.images.bands import BandedImage, regroup
from superfine.images.depth import Pixels
from superfine.images.formats.deflate import RAW, choose_effort

Item = TypeVar("Item")
Result = TypeVar("Result")

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES: Final = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}
_SEGMENT_BYTES: Final = 1 << 22
# Filtered a few rows at a time: the Paeth filter's dozen passes run inside the processor's cache.
_BAND_BYTES: Final = 1 << 16
_PAETH: Final = 4
_SAMPLE_BYTES: Final = 1 << 16
_ADLER: Final = 65521


def write_png(file: IO[bytes], image: BandedImage, chunks: list[tuple[bytes, bytes]]) -> None:
    """Write rows of uint8 or uint16 as a PNG, as they are produced.

    `chunks`, (four letters, content), go between header and pixels. Needs a few MiB a core beside the bands.
    """
    head = image.head
    colour = _COLOUR_TYPES[head.pixels.shape[2], head.alpha is not None]
    file.write(SIGNATURE)
    size = struct.pack(">IIBBBBB", image.width, image.height, 8 * head.pixels.itemsize, colour, 0, 0, 0)
    put_chunk(file, b"IHDR", size)
    for kind, data in chunks:
        put_chunk(file, kind, data)
    # A zlib stream is a header, deflated blocks and a checksum: blocks compressed separately may be joined.
    start, total = b"\x78\x01", 1
    for data, checksum, count in map_in_threads(_compress_segment, _segments(image)):
        put_chunk(file, b"IDAT", start + data)
        start, total = b"", _combined_adler32(total, checksum, count)
    put_chunk(file, b"IDAT", struct.pack(">I", total))
    put_chunk(file, b"IEND", b"")


def put_chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    """Write one chunk: length, four letters, content, checksum."""
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


@dataclass(frozen=True)
class _Segment:
    """Rows that are compressed together."""

    pixels: Pixels
    alpha: Pixels | None
    above: NDArray[np.uint8] | None
    """The row before the first in PNG's byte order; None at the top of the picture."""
    last: bool

    def raw(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Return rows top ≤ y < bottom in PNG's byte order."""
        return raw_rows(self.pixels[top:bottom], None if self.alpha is None else self.alpha[top:bottom])


def raw_rows(pixels: Pixels, alpha: Pixels | None) -> NDArray[np.uint8]:
    """Lay rows out as PNG does: samples side by side, the high byte first."""
    samples = pixels if alpha is None else np.concatenate([pixels, alpha[:, :, None]], axis=2)
    if samples.itemsize == 2:
        samples = samples.astype(">u2")
    return np.ascontiguousarray(samples).view(np.uint8).reshape(len(samples), -1)


def _segments(image: BandedImage) -> Iterator[_Segment]:
    """Cut the picture into segments of about _SEGMENT_BYTES."""
    above, left = None, image.height
    for pixels, alpha in regroup(image.bands, max(1, _SEGMENT_BYTES // image.row_bytes)):
        left -= len(pixels)
        segment = _Segment(pixels, alpha, above, left == 0)
        above = segment.raw(len(pixels) - 1, len(pixels))
        yield segment


def packing_threads() -> int:
    """Return how many threads filter and deflate: one a core, up to 16, which are faster than any network.

    Each takes memory, so that more of them would only make pictures not fit on processors of many cores.
    """
    return min(cores(), 16)


def map_in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `work(item)` in the order of the items, computed in as many threads as `packing_threads` says.

    Items are taken only when there is room for them, so they may be produced on demand.
    """
    workers = packing_threads()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _compress_segment(segment: _Segment) -> tuple[bytes, int, int]:
    """Filter and deflate a segment by itself; return the data, and the Adler-32 and length before compression."""
    packer = choose_effort(lambda: _sample(segment)).packer(RAW)
    parts, checksum, count = [], 1, 0
    for rows in _filtered_rows(segment, 0, len(segment.pixels)):
        parts.append(packer.compress(rows.data))
        checksum, count = zlib.adler32(rows.data, checksum), count + rows.size
    parts.append(packer.flush(zlib.Z_FINISH if segment.last else zlib.Z_SYNC_FLUSH))
    return b"".join(parts), checksum, count


def _sample(segment: _Segment) -> bytes:
    """Return some filtered rows from the middle."""
    count, row = len(segment.pixels), segment.raw(0, 1).size
    rows = min(count, max(count // 64, -(-_SAMPLE_BYTES // row)))
    top = (count - rows) // 2
    return b"".join(part.tobytes() for part in _filtered_rows(segment, top, top + rows))


def _filtered_rows(segment: _Segment, top: int, bottom: int) -> Iterator[NDArray[np.uint8]]:
    """Yield filtered rows, a few at a time."""
    above = segment.raw(top - 1, top) if top else segment.above
    band = max(1, _BAND_BYTES // segment.raw(0, 1).size)
    for start in range(top, bottom, band):
        raw = segment.raw(start, min(start + band, bottom))
        yield _filtered(raw, above, raw.shape[1] // segment.pixels.shape[1])
        above = raw[-1:]


def _combined_adler32(first: int, second: int, count: int) -> int:
    """Combine the Adler-32 of two stretches of bytes; `count` is the length of the second (RFC 1950, 8.2)."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + count * ((first & 0xFFFF) - 1)
    return (high % _ADLER) << 16 | low % _ADLER


def _filtered(raw: NDArray[np.uint8], above: NDArray[np.uint8] | None, step: int) -> NDArray[np.uint8]:
    """Apply the Paeth filter: subtract from every byte its best predictor (PNG specification, 9.4)."""
    # One pixel of zeros to the left, one row above: then the three are windows of one array.
    framed = np.zeros((len(raw) + 1, step + raw.shape[1]), np.uint8)
    framed[1:, step:] = raw
    if above is not None:
        framed[0, step:] = above
    left, up, corner = framed[1:, :-step], framed[:-1, step:], framed[:-1, :-step]
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner))
    out = np.empty((len(raw), 1 + raw.shape[1]), np.uint8)
    out[:, 0] = _PAETH
    np.subtract(raw, nearest, out=out[:, 1:])
    return out
