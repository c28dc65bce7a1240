"""16-bit colour PNG, which Pillow opens but cuts to 8 bits: both bytes read, both bytes written."""

import struct
import zlib
from collections.abc import Iterator
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

# Pillow's raw mode for 16-bit samples keeps the high byte; the same mode for the other byte order
# keeps what is our low byte. So two passes of its own decoder give all 16 bits, interlaced or not.
_HIGH_AND_LOW: Final = {
    "RGB;16B": (("RGB", "RGB;16B"), ("RGB", "RGB;16L")),
    "RGBA;16B": (("RGBA", "RGBA;16B"), ("RGBA", "RGBA;16L")),
}
_GRAY_ALPHA: Final = "LA;16B"
_COLOUR_TYPES: Final = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}
_BAND_BYTES: Final = 1 << 22


def is_png16(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded image is a PNG of 16-bit gray+alpha, RGB or RGBA."""
    if not isinstance(image, PngImagePlugin.PngImageFile):
        return False
    return any(tile.args in (*_HIGH_AND_LOW, _GRAY_ALPHA) for tile in image.tile)


def read_png16(image: Image.Image, again: Image.Image) -> NDArray[np.uint16]:
    """HWC uint16, C = 2, 3 or 4, of a PNG opened twice; both images are loaded by it. OSError where it is damaged."""
    assert isinstance(image, PngImagePlugin.PngImageFile)
    raw = image.tile[0].args
    if raw == _GRAY_ALPHA:
        _decode_as(again, "RGBA", "RGBA")  # the four bytes of gray and alpha, as they are
        image.load()
        return np.ascontiguousarray(again).view(">u2").astype(np.uint16)
    high, low = _HIGH_AND_LOW[str(raw)]
    _decode_as(image, *high)
    _decode_as(again, *low)
    out = np.asarray(image).astype(np.uint16)
    out <<= 8
    out |= np.asarray(again)
    return out


def _decode_as(image: Image.Image, mode: str, raw: str) -> None:
    assert isinstance(image, PngImagePlugin.PngImageFile)
    image._mode = mode
    image.tile = [tile._replace(args=raw) for tile in image.tile]
    image.load()


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
