"""Bring HDR pictures (PQ, HLG) to standard range: sRGB, by the EETF of ITU-R BT.2390-11, section 5.4.1."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superfine.images.colour_codes import codes_of, matrix_between
from superfine.images.depth import Pixels, as_float32, as_type
from superfine.images.picture import Picture
from superfine.images.profile import encode_linear

Floats = NDArray[np.float32]

WHITE: Final = 203.0
"""cd/m² of the white of standard range inside HDR (ITU-R BT.2408, table 1)."""
_PQ: Final = 16
_HLG_PEAK: Final = 1000.0
"""cd/m² of the display that HLG is mapped to, whose system gamma is 1.2 (ITU-R BT.2100, table 5)."""
_ROWS: Final = 256
_HIGHLIGHTS: Final = 0.9999
"""Share of the pixels that may not be brighter than the peak: a few sparks must not darken the rest."""


def to_standard_range(picture: Picture) -> Picture:
    """Convert an HDR picture to sRGB of the same depth; any other picture is returned as it is.

    Up to a knee the light stays as it is, 203 cd/m² being white; above it, up to the brightest light of this picture,
    it is compressed smoothly. The largest of R, G and B decides, and all three are scaled alike, so hues stay. Colours
    outside sRGB lose saturation, not lightness.
    """
    codes = codes_of(picture.icc)
    if codes is None or codes[1] not in (_PQ, 18):
        return picture
    parts = range(0, picture.height, _ROWS)
    brightest = np.concatenate([_light(picture.pixels[top : top + _ROWS], codes).max(axis=2).ravel() for top in parts])
    source = max(WHITE, float(np.quantile(brightest, _HIGHLIGHTS, method="higher")))
    del brightest
    out = np.empty_like(picture.pixels)
    for top in parts:
        light = _light(picture.pixels[top : top + _ROWS], codes)
        top_light = light.max(axis=2, keepdims=True)
        light *= eetf(top_light, source, WHITE) / np.maximum(top_light, 1e-6) / np.float32(WHITE)
        out[top : top + _ROWS] = as_type(encode_linear(np.minimum(light, 1)), picture.pixels.dtype)
    return replace(picture, pixels=out, icc=None)


def pq_to_light(values: Floats) -> Floats:
    """Convert PQ values 0..1 to cd/m² (SMPTE ST 2084)."""
    power = np.maximum(values, 0) ** np.float32(1 / 78.84375)
    ratio = np.maximum(power - np.float32(0.8359375), 0) / (np.float32(18.8515625) - np.float32(18.6875) * power)
    return np.asarray(10_000 * ratio ** np.float32(1 / 0.1593017578125), np.float32)


def light_to_pq(light: Floats | float) -> Floats:
    """Convert cd/m² to PQ values 0..1."""
    power = (np.clip(light, 0, 10_000) / 10_000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375, np.float32)


def eetf(light: Floats, source: float, target: float) -> Floats:
    """Map light of 0..source cd/m² to 0..target; both are black at 0."""
    peak = float(light_to_pq(source))
    top = float(light_to_pq(target)) / peak
    values = np.minimum(light_to_pq(light) / np.float32(peak), 1)
    knee = 1.5 * top - 0.5
    if top >= 1:
        return np.minimum(light, np.float32(target))
    at = (values - knee) / (1 - knee)
    curve = (2 * at**3 - 3 * at**2 + 1) * knee + (at**3 - 2 * at**2 + at) * (1 - knee) + (3 * at**2 - 2 * at**3) * top
    return np.asarray(np.where(values < knee, light, pq_to_light(np.asarray(curve * peak, np.float32))), np.float32)


def _light(values: Pixels, codes: tuple[int, int]) -> Floats:
    """Return light in cd/m² with sRGB's primaries, inside their gamut."""
    encoded = as_float32(values)
    primaries, transfer = codes
    gray = values.shape[2] == 1
    if transfer == _PQ:
        light = pq_to_light(encoded)
    else:
        upper = (np.exp((encoded - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(encoded <= 0.5, encoded**2 / 3, upper)
        luma = scene if gray else scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)[:, None]
        light = _HLG_PEAK * scene * np.maximum(luma, 1e-9) ** np.float32(0.2)
    light = light.astype(np.float32, copy=False)
    if gray or primaries == 1:
        return light
    light = light @ matrix_between(primaries, 1).T.astype(np.float32)
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)[:, None]
    least = light.min(axis=2, keepdims=True)
    share = np.where(least < 0, luminance / np.maximum(luminance - least, 1e-6), 1)
    inside = np.maximum(luminance + (light - luminance) * np.clip(share, 0, 1), 0)
    return np.asarray(inside, np.float32)
