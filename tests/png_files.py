"""PNG files of every colour type and depth, put together from the specification."""

import struct
import zlib

import numpy as np

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type → samples a pixel."""
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: np.ndarray, bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of HWC samples, not filtered; `chunks` go before the pixels."""
    height, width = samples.shape[:2]
    if bits < 8:
        flags = (samples.reshape(height, -1)[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(flags.reshape(height, -1).astype(np.uint8), axis=1)
    else:
        rows = samples.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = b"".join(chunk(kind, content) for kind, content in chunks)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + body + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
