"""RGB to luma the way MATLAB's `rgb2ycbcr` does it, the convention of super-resolution papers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Y_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255.0
_Y_OFFSET = 16.0


def rgb_to_y(rgb: ArrayLike) -> NDArray[np.float64]:
    """Luma of an RGB picture: `16 + (65.481 R + 128.553 G + 24.966 B) / 255`, unrounded.

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
