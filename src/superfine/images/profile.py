"""Tone curves and luma: find linear-light ICC profiles, convert to and from sRGB's curve, compute Y."""

import struct
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superfine.images.depth import Pixels, as_type

HEADER_BYTES: Final = 128
_CURVES: Final = (b"rTRC", b"gTRC", b"bTRC", b"kTRC")


def is_linear(icc: bytes | None) -> bool:
    """Return True if all tone curves of the profile are straight (gamma 1); False for none or a damaged profile."""
    if icc is None or len(icc) < HEADER_BYTES + 4:
        return False
    try:
        (count,) = struct.unpack_from(">I", icc, HEADER_BYTES)
        tags = [struct.unpack_from(">4sII", icc, HEADER_BYTES + 4 + 12 * index) for index in range(min(count, 100))]
        curves = [icc[start : start + size] for name, start, size in tags if name in _CURVES]
        return bool(curves) and all(_is_straight(curve) for curve in curves)
    except struct.error:
        return False


def _is_straight(curve: bytes) -> bool:
    """Check one tone curve (ICC.1:2010, 10.5 curveType: nothing, a gamma, or samples; 10.15 parametricCurveType)."""
    if curve[:4] == b"curv":
        (count,) = struct.unpack_from(">I", curve, 8)
        if count == 0:
            return True
        if count == 1:
            return bool(struct.unpack_from(">H", curve, 12)[0] == 256)
        samples = np.frombuffer(curve, ">u2", count=min(count, (len(curve) - 12) // 2), offset=12)
        return bool(np.abs(samples - np.linspace(0, 65535, len(samples))).max() < 64)
    if curve[:4] == b"para":
        kind, _, gamma = struct.unpack_from(">HHi", curve, 8)
        return bool(kind == 0 and gamma == 65536)
    return False


def encode_linear(values: Pixels) -> Pixels:
    """Convert linear light to sRGB's curve (IEC 61966-2-1), which networks expect: uint16, or float32 for float."""
    if values.dtype.kind == "f":
        return _encode(values)
    steps = np.linspace(0, 1, np.iinfo(values.dtype).max + 1, dtype=np.float32)
    table = np.rint(_encode(steps) * 65535).astype(np.uint16)
    encoded: Pixels = table[values]
    return encoded


def decode_linear(values: Pixels, dtype: np.dtype[np.generic]) -> Pixels:
    """Undo `encode_linear`: uint16 or float32 in, linear values of `dtype` out."""
    if values.dtype.kind == "f":
        return as_type(_decode(values), dtype)
    table = as_type(_decode(np.linspace(0, 1, 65536, dtype=np.float32)), dtype)
    decoded: Pixels = table[values]
    return decoded


def _encode(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    curve = 1.055 * np.power(np.maximum(linear, 0.0031308), np.float32(1 / 2.4)) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve).astype(np.float32)


def _decode(encoded: NDArray[np.float32]) -> NDArray[np.float32]:
    curve = np.power((np.maximum(encoded, 0.04045) + 0.055) / 1.055, np.float32(2.4))
    return np.where(encoded <= 0.04045, encoded / 12.92, curve).astype(np.float32)


_Y_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255.0
_Y_OFFSET = 16.0


def rgb_to_y(rgb: ArrayLike) -> NDArray[np.float64]:
    """Compute luma of an RGB picture: `16 + (65.481 R + 128.553 G + 24.966 B) / 255`, unrounded.

    Args:
        rgb: `(..., 3)`, any real type, values on 0..255 (a uint8 picture, or floats on that range).

    Returns:
        `(...)` float64 on 16..235.

    Raises:
        ValueError: the last axis does not hold three channels.
    """
    values = np.asarray(rgb)
    if values.ndim < 1 or values.shape[-1] != 3:
        raise ValueError(f"rgb_to_y got an array of shape {values.shape}; the last axis must hold R, G and B")
    # Channel by channel and not as a matrix product: the result is then the same on every BLAS.
    y = values[..., 0] * _Y_WEIGHTS[0]
    y += values[..., 1] * _Y_WEIGHTS[1]
    y += values[..., 2] * _Y_WEIGHTS[2]
    y += _Y_OFFSET
    return np.asarray(y, dtype=np.float64)
