"""TIFF files of every layout, packed here bit by bit from the specification (TIFF 6.0)."""

import struct
import zlib

import numpy as np

Tags = dict[int, tuple[int, ...]]


def packed(samples: np.ndarray, bits: int, order: str) -> bytes:
    """Pack rows as TIFF does: whole bytes in `order` ("<" or ">"), other depths most significant bit first."""
    if samples.dtype.kind == "f" or bits in (8, 16, 32):
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    rows = samples.reshape(len(samples), -1).astype(np.uint32)
    flags = (rows[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(flags.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def tiff(
    samples: np.ndarray, bits: int, photometric: int, *, order: str = "<", extra: tuple[int, ...] = (),
    tile: int | None = None, rows: int = 5, planar: bool = False, deflate: bool = False, more: Tags | None = None,
) -> bytes:  # fmt: skip
    """A TIFF of HWC samples."""
    height, width, count = samples.shape
    planes = [samples[:, :, plane : plane + 1] for plane in range(count)] if planar else [samples]
    parts = []
    for plane in planes:
        if tile is None:
            parts += [plane[top : top + rows] for top in range(0, height, rows)]
            continue
        padded = np.zeros((-(-height // tile) * tile, -(-width // tile) * tile, plane.shape[2]), samples.dtype)
        padded[:height, :width] = plane
        for top in range(0, height, tile):
            parts += [padded[top : top + tile, left : left + tile] for left in range(0, width, tile)]
    blocks = [packed(part, bits, order) for part in parts]
    blocks = [zlib.compress(block) for block in blocks] if deflate else blocks
    tags: Tags = {256: (width,), 257: (height,), 258: (bits,) * count, 259: (8 if deflate else 1,), 262: (photometric,)}
    tags |= {277: (count,), 284: (2 if planar else 1,), 339: (3 if samples.dtype.kind == "f" else 1,) * count}
    tags |= {338: extra} if extra else {}
    tags |= {278: (rows,)} if tile is None else {322: (tile,), 323: (tile,)}
    data, places = b"", []
    for block in blocks:
        places.append(8 + len(data))
        data += block + bytes(len(block) % 2)
    tags |= {(273 if tile is None else 324): tuple(places), (279 if tile is None else 325): tuple(map(len, blocks))}
    tags |= more or {}
    return _file(tags, data, order)


def _file(tags: Tags, data: bytes, order: str) -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    table, outside = struct.pack(order + "H", len(tags)), b""
    start = 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        values = tags[tag]
        code, kind = ("H", 3) if tag in (258, 259, 262, 277, 284, 320, 338, 339) else ("I", 4)
        raw = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(raw) > 4:
            table += struct.pack(order + "HHII", tag, kind, len(values), start + len(outside))
            outside += raw + bytes(len(raw) % 2)
        else:
            table += struct.pack(order + "HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return head + data + table + bytes(4) + outside
