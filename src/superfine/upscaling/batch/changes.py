"""List what a result does not have of its source, for the line at the end of a batch."""

from typing import Final

import numpy as np

from superfine.images.colour_codes import is_hdr
from superfine.images.formats.encode import FORMATS, WASHED_OUT
from superfine.images.formats.frames import ANIMATED
from superfine.images.picture import Picture
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.source import Settings, result_suffix

LOSSY: Final = ("JPEG", "WebP", "AVIF", "HEIC", "JPEG XL")
"""Formats that have a quality."""
LIGHT: Final = ("OpenEXR", "Radiance")
"""Formats of linear light."""


def list_changes(
    source: Picture, picture: Picture, job: Job, settings: Settings, *, animated: bool = False
) -> tuple[str, ...]:
    """List what is converted on the way from a picture's file to its result's, and settings without effect."""
    suffix = result_suffix(job, settings)
    form = FORMATS[suffix]
    changes = []
    kind = "gray" if picture.is_gray else "RGB"
    if picture.mode in ("P", "PA") and form.name != "GIF":
        changes.append(f"palette to {kind}")
    if picture.mode in ("CMYK", "LAB"):
        changes.append(f"{picture.mode} to sRGB")
    if picture.alpha is not None and not form.alpha:
        changes.append("transparency to a white background")
    if source.mode in LIGHT and is_hdr(picture.icc):
        changes.append("linear light to PQ (HDR), 1.0 being 203 cd/m²")
    elif source.mode in LIGHT and form.name != "TIFF":
        changes.append("linear light to sRGB's curve")
    if is_hdr(source.icc) and not is_hdr(picture.icc):
        changes.append("HDR to standard range")
    hdr, animated = is_hdr(picture.icc), animated and suffix in ANIMATED
    if (
        source.mode not in LIGHT
        and picture.pixels.dtype != np.uint8
        and (form.eight_bits or (form.name == "AVIF" and not hdr))
    ):
        changes.append("16 bits to 8")
    if hdr and (form.eight_bits or animated):
        changes.append(f"HDR to {form.name} of 8 bits ({WASHED_OUT})")
    changes += [f"{each} left out" for each in source.left_out]
    if settings.quality is not None and form.name not in LOSSY:
        changes.append(f"--quality has no effect on {form.name}")
    return tuple(changes)
