"""Make Pictures of linear light (OpenEXR, Radiance, 32-bit PSD): standard range where it fits, otherwise HDR."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.errors import ImageError
from superfine.images.colour_codes import SRGB, Primaries, codes_of, matrix_between, profile_of_codes, profile_of_gamma
from superfine.images.depth import as_uint16
from superfine.images.picture import Picture
from superfine.images.profile import encode_linear
from superfine.images.tone_map import WHITE, light_to_pq

_SLACK = 1 / 255  # resampling overshoots a little
_LINEAR = (1, 8)
_ROWS = 256


def picture_of_light(
    light: NDArray[Any], alpha: NDArray[Any] | None, mode: str, place: Primaries | None = None
) -> Picture:
    """Make a Picture of linear light: HWC floats (1 or 3 channels, not premultiplied), 1.0 being white.

    Up to 1 it stays float and linear, with a profile that says so. Beyond, it becomes HDR: PQ with BT.2020 primaries in
    16 bits, white at 203 cd/m², cut at 10,000. Negative light is black. Raises ImageError for NaN.
    """
    if np.isnan(light).any():
        raise ImageError("its light holds NaN; want numbers")
    gray = light.shape[2] == 1
    cover = None if alpha is None else np.clip(alpha, 0, 1).astype(np.float32)
    if float(light.max()) <= 1 + _SLACK:
        plain = np.clip(light, 0, 1).astype(np.float32)
        special = None if place is None else profile_of_gamma(1.0, place, gray=gray)
        return Picture(plain, cover, icc=special or profile_of_codes(*_LINEAR, gray=gray), mode=mode)
    turned = None if gray else matrix_between(SRGB if place is None else place, 9).T.astype(np.float32)
    pixels = np.empty(light.shape, np.uint16)
    for top in range(0, len(light), _ROWS):
        part = np.clip(light[top : top + _ROWS], 0, 65504).astype(np.float32)
        part = part if turned is None else np.maximum(part @ turned, 0)
        pixels[top : top + _ROWS] = as_uint16(light_to_pq(part * np.float32(WHITE)))
    hdr = profile_of_codes(9, 16, gray=gray)
    return Picture(pixels, None if cover is None else as_uint16(cover), icc=hdr, mode=mode)


def is_light(picture: Picture) -> bool:
    """Return True for float pixels of linear light with sRGB's primaries."""
    return picture.pixels.dtype == np.float32 and codes_of(picture.icc) == _LINEAR


def to_srgb_curve(picture: Picture) -> Picture:
    """Give such a picture sRGB's curve and 16 bits, for formats of whole numbers: linear ones lack dark tones."""
    alpha = None if picture.alpha is None else as_uint16(picture.alpha)
    return replace(picture, pixels=as_uint16(encode_linear(picture.pixels)), alpha=alpha, icc=None)
