"""Convert between 8 bits, 16 bits and floating point, always by rounding and never by truncation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.errors import ImageError

Pixels = NDArray[Any]
"""uint8 0..255, uint16 0..65535 or float32 0..1."""

# 65535 = 257 * 255, so v / 257 rounded is (v + 128) // 257: a table of 64 KiB beats arithmetic, and needs no
# temporary of the picture's size.
_SIXTEEN_TO_EIGHT = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)
_ROWS = 256


def as_uint8(values: Pixels) -> NDArray[np.uint8]:
    """Convert to uint8 0..255, rounded to nearest; a uint8 array is returned as it is."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return _SIXTEEN_TO_EIGHT[values]
    return _from_float(values, np.uint8, 255).astype(np.uint8, copy=False)


def as_uint16(values: Pixels) -> NDArray[np.uint16]:
    """Convert to uint16 0..65535 (8 bits times 257, so white stays exact); a uint16 array is returned as it is."""
    if values.dtype == np.uint16:
        return values
    if values.dtype == np.uint8:
        return values.astype(np.uint16) * np.uint16(257)
    return _from_float(values, np.uint16, 65535).astype(np.uint16, copy=False)


def as_float32(values: Pixels) -> NDArray[np.float32]:
    """Convert to float32 0..1; a float32 array is returned as it is."""
    if values.dtype == np.float32:
        return values
    peak = {"uint8": 255, "uint16": 65535}.get(values.dtype.name)
    if peak is None:
        raise ImageError(f"pixels are {values.dtype.name}; want uint8 0..255, uint16 0..65535 or float32 0..1")
    return np.divide(values, np.float32(peak), dtype=np.float32)


def as_type(values: Pixels, dtype: np.dtype[Any] | type) -> Pixels:
    """Convert to uint8, uint16 or float32. Raises ImageError for any other type."""
    name = np.dtype(dtype).name
    if name == "uint8":
        return as_uint8(values)
    if name == "uint16":
        return as_uint16(values)
    if name == "float32":
        return as_float32(values)
    raise ImageError(f"cannot make {name} pixels; want uint8, uint16 or float32")


def _from_float(values: Pixels, dtype: type[np.uint8] | type[np.uint16], peak: int) -> Pixels:
    """Scale, round and clip a band of rows at a time, so that the float temporaries stay small."""
    if values.dtype.kind != "f":
        raise ImageError(f"pixels are {values.dtype.name}; want uint8 0..255, uint16 0..65535 or float32 0..1")
    out: Pixels = np.empty(values.shape, dtype)
    for top in range(0, values.shape[0], _ROWS):
        band = np.rint(np.nan_to_num(values[top : top + _ROWS]) * np.float32(peak))
        np.clip(band, 0, peak, out=band)
        out[top : top + _ROWS] = band
    return out
