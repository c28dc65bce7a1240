"""16-bit PNG, which Pillow cannot write in colour: filtered by NumPy, packed by zlib, a band of rows at a time."""

import struct
import zlib
from collections.abc import Iterator
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

_COLOUR_TYPES: Final = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}
_BAND_BYTES: Final = 1 << 22


def write_png16(
    file: IO[bytes],
    pixels: NDArray[np.uint16],
    alpha: NDArray[np.uint16] | None,
    chunks: list[tuple[bytes, bytes]],
    level: int = 6,
) -> None:
    """Write uint16 pixels (HWC, C = 1 or 3) and alpha (HW or None) as a PNG; `chunks` go between header and pixels.

    Rows are filtered and compressed a band at a time, so that memory stays a few MiB whatever the size.
    """
    height, width, channels = pixels.shape
    colour = _COLOUR_TYPES[channels, alpha is not None]
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    for kind, data in chunks:
        _chunk(file, kind, data)
    # Filtered noise of photographs: Z_FILTERED is zlib's strategy for it, as libpng takes it.
    packer = zlib.compressobj(level, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    for rows in _filtered(pixels, alpha):
        packed = packer.compress(rows)
        if packed:
            _chunk(file, b"IDAT", packed)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _filtered(pixels: NDArray[np.uint16], alpha: NDArray[np.uint16] | None) -> Iterator[bytes]:
    """PNG's Paeth filter over all rows, a band at a time: the best single filter for photographs."""
    height, width, channels = pixels.shape
    samples = channels + (alpha is not None)
    step = 2 * samples
    above = np.zeros((1, step + 2 * width * samples), np.uint8)
    band = max(1, _BAND_BYTES // (2 * width * samples))
    for top in range(0, height, band):
        part = pixels[top : top + band]
        if alpha is not None:
            part = np.concatenate([part, alpha[top : top + band, :, None]], axis=2)
        raw = np.ascontiguousarray(part.astype(">u2")).view(np.uint8).reshape(len(part), -1)
        # One pixel of zeros to the left, one row above: then a, b, c are three windows of one array.
        framed = np.zeros((len(raw) + 1, step + raw.shape[1]), np.uint8)
        framed[0] = above
        framed[1:, step:] = raw
        above = framed[-1:].copy()
        left, up, corner = framed[1:, :-step], framed[:-1, step:], framed[:-1, :-step]
        out = np.empty((len(raw), 1 + raw.shape[1]), np.uint8)
        out[:, 0] = 4
        np.subtract(raw, _paeth(left, up, corner), out=out[:, 1:])
        yield out.tobytes()


def _paeth(left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Whichever of the three lies nearest to left + up - corner (PNG specification, 9.4)."""
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    to_a, to_b = np.abs(b - c), np.abs(a - c)
    to_c = np.abs(a + b - 2 * c)
    return np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner))
