"""Pictures the way protocols want them: 8-bit RGB, and nothing converted behind the user's back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from superfine import images
from superfine.errors import DataError


def read_rgb(path: Path) -> tuple[NDArray[np.uint8], bool]:
    """A picture as (H, W, 3) uint8 RGB, and whether its file is gray.

    Raises:
        DataError: a picture of more than 8 bits, or with transparent pixels.
        ImageError: a file that cannot be read.
    """
    picture = images.read(path)
    if picture.pixels.dtype != np.uint8:
        kind = "16-bit" if picture.pixels.dtype == np.uint16 else "floating-point"
        raise DataError(f"{path} is a {kind} picture; protocols are defined on 8 bits, so convert it first")
    if picture.alpha is not None and int(picture.alpha.min()) < 255:
        raise DataError(f"{path} has transparent pixels, which no protocol compares; flatten it first")
    gray = picture.is_gray
    return np.repeat(picture.pixels, 3, axis=2) if gray else picture.pixels, gray
