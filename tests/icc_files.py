"""ICC profiles put together from the specification (ICC.1:2001-04): curves and spaces no real file here covers."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
# Columns of RGB → XYZ, adapted to D50.
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def rgb_profile(primaries: tuple[tuple[float, ...], ...], curve: bytes, name: str = "test") -> bytes:
    """A display profile of three primaries and one tone curve."""
    tags = {b"wtpt": _xyz(D50), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        tags[tag] = _xyz(column)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags, name)


def gray_profile(curve: bytes) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": curve}, "gray")


def gamma(value: float | None) -> bytes:
    """curveType: no entry at all is a straight line, one entry a power."""
    if value is None:
        return b"curv" + struct.pack(">II", 0, 0)
    return b"curv" + struct.pack(">IIHH", 0, 1, round(value * 256), 0)


def samples(values: np.ndarray) -> bytes:
    """curveType of samples 0..1."""
    data = np.rint(values * 65535).astype(">u2").tobytes()
    return b"curv" + struct.pack(">II", 0, len(values)) + data + bytes(-len(data) % 4)


def parametric(value: float) -> bytes:
    """parametricCurveType, a plain power."""
    return b"para" + struct.pack(">IHHi", 0, 0, 0, round(value * 65536))


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    text = name.encode() + b"\0"
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        **tags,
    }
    at, table, content = 132 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", tag, at + len(content), len(data))
        content += data
    size = at + len(content)
    illuminant = struct.pack(">3i", *(round(value * 65536) for value in D50))
    header = struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, kind, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + illuminant
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content
