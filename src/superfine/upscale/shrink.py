"""The one fine downscale after the network: Lanczos, stretched so that nothing aliases."""

from __future__ import annotations

import numpy as np
from PIL import Image

from superfine.images.depth import Pixels


def shrink(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """HWC or HW pixels (uint8, uint16 or float32 0..1) at `size` = (width, height), the same type.

    Channel by channel: a picture of hundreds of megapixels then needs little more memory than its result.
    Values are rounded and clipped to the type's range (Lanczos overshoots at edges).
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    out = np.empty((size[1], size[0], *pixels.shape[2:]), pixels.dtype)
    if pixels.ndim == 2:
        out[:] = _channel(pixels, size)
        return out
    for index in range(pixels.shape[2]):
        out[:, :, index] = _channel(pixels[:, :, index], size)
    return out


def _channel(values: Pixels, size: tuple[int, int]) -> Pixels:
    kind = values.dtype
    plane = np.ascontiguousarray(values if kind == np.uint8 else values.astype(np.float32, copy=False))
    small: Pixels = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS))
    if kind == np.uint8:
        return small
    if kind.kind == "f":
        return np.clip(small, 0, 1)
    return np.clip(np.rint(small), 0, np.iinfo(kind).max).astype(kind)
