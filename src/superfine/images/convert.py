"""Convert pictures for formats that hold no alpha, no profile or only 8 bits."""

import io
from dataclasses import replace
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from superfine.images.depth import as_uint8, as_uint16
from superfine.images.picture import Picture
from superfine.images.profile import is_linear

_ROWS: Final = 256


def flatten(picture: Picture, background: tuple[int, int, int]) -> Picture:
    """Composite the picture over a colour (RGB 0..255); a picture without alpha is returned as it is.

    Gray stays gray over a gray background, and becomes RGB over a coloured one.
    """
    if picture.alpha is None:
        return picture
    pixels, alpha = picture.pixels, picture.alpha
    if picture.is_gray and len(set(background)) > 1:
        pixels = np.repeat(pixels, 3, axis=2)
    peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    under = np.array(background[: pixels.shape[2]], np.float32) * np.float32(peak / 255)
    out = np.empty_like(pixels)
    for top in range(0, len(pixels), _ROWS):
        rows = slice(top, top + _ROWS)
        share = alpha[rows, :, None].astype(np.float32) / np.float32(peak)
        mixed = pixels[rows] * share + under * (1 - share)
        out[rows] = np.rint(mixed) if pixels.dtype.kind == "u" else mixed
    return replace(picture, pixels=out, alpha=None)


def to_eight_bits(picture: Picture) -> Picture:
    """Round the values of pixels and alpha to uint8."""
    alpha = None if picture.alpha is None else as_uint8(picture.alpha)
    return replace(picture, pixels=as_uint8(picture.pixels), alpha=alpha)


def to_srgb(picture: Picture) -> Picture:
    """Convert the picture to sRGB without a profile.

    16-bit and float RGB become 16 bits if imagecodecs (in `superfine[formats]`) is installed; otherwise Pillow, whose
    colour engine works in 8 bits, rounds to 8. A profile that cannot be used is dropped; the pixels then stay as
    they are.
    """
    if picture.icc is None:
        return picture
    plain = replace(picture, icc=None)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
        if (profile.profile.profile_description or "").startswith("sRGB") and not is_linear(picture.icc):
            return plain  # nothing to convert, and 16 bits stay 16
        deep = _deep_to_srgb(picture)
        if deep is not None:
            return deep
        eight = as_uint8(picture.pixels)
        image = Image.fromarray(eight[:, :, 0] if picture.is_gray else eight)
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return plain
    if converted is None:
        return plain
    pixels = np.asarray(converted)
    plain = to_eight_bits(plain)  # alpha too must be of the pixels' type
    return replace(plain, pixels=np.ascontiguousarray(pixels[:, :, :1]) if picture.is_gray else pixels)


def _deep_to_srgb(picture: Picture) -> Picture | None:
    """Convert to sRGB in 16 bits; None for an 8-bit or gray picture, and where imagecodecs cannot do it."""
    if picture.icc is None or picture.pixels.dtype == np.uint8 or picture.is_gray:
        return None
    try:
        import imagecodecs
    except ImportError:
        return None
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    try:
        # Left to itself, LittleCMS speeds 16 bits up with a coarse table: 12 levels off at the edge of the gamut.
        exactly = imagecodecs.CMS.FLAGS.NOOPTIMIZE
        pixels = imagecodecs.cms_transform(
            as_uint16(picture.pixels), picture.icc, srgb, colorspace="rgb", outcolorspace="rgb", flags=exactly
        )
    except (ValueError, RuntimeError):
        return None
    alpha = None if picture.alpha is None else as_uint16(picture.alpha)
    return replace(picture, pixels=np.asarray(pixels), alpha=alpha, icc=None)
