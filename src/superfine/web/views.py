"""Copies of a job's pictures that every browser shows pixel for pixel: 8 bits, sRGB, lossless."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from PIL import Image

from superfine.atomic import whole_file
from superfine.images.convert import to_eight_bits, to_srgb
from superfine.images.files import read
from superfine.images.picture import Picture, to_pil
from superfine.images.resize import resize
from superfine.upscaling.plan import Plan

Of = Literal["result", "source", "bicubic"]

MOST_PIXELS: Final = 36_000_000
"""Pixels of a view. A larger picture is shown smaller, because browsers give up on it."""

SHOWN: Final = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif",
}  # fmt: skip
"""Suffix of formats that every browser shows as they are → media type."""


def view_of(of: Of, source: Path, result: Path, plan: Plan, max_pixels: int) -> tuple[Path, str]:
    """Return a file that a browser shows, and its media type; it is made beside the result the first time.

    The source stays at its size, bicubic has that of the result; both shrink where that is over MOST_PIXELS.
    Raises ImageError where a picture cannot be read.
    """
    path, size = (result, plan.output) if of == "result" else (source, plan.source)
    if of != "bicubic" and path.suffix in SHOWN and size[0] * size[1] <= MOST_PIXELS:
        return path, SHOWN[path.suffix]
    made = result.with_name(f"view-{of}.png")
    if not made.exists():
        picture = to_eight_bits(to_srgb(read(path, max_pixels=max_pixels)))
        if of == "bicubic":
            picture = enlarge(picture, plan)
        image = to_pil(picture)
        image.info = {}
        target = _within(picture.width, picture.height)
        if target != image.size:
            image = image.resize(target, Image.Resampling.BOX)
        with whole_file(made) as file:
            image.save(file, "PNG", compress_level=1)
    return made, "image/png"


def enlarge(picture: Picture, plan: Plan) -> Picture:
    """Bring a picture to a plan's size by MATLAB's bicubic, or as near to it as a view may be large."""
    width, height = _within(*plan.resized)
    pixels = resize(picture.pixels, (height, width))
    alpha = None if picture.alpha is None else resize(picture.alpha, (height, width))
    if plan.crop is not None:
        across, down = width / plan.resized[0], height / plan.resized[1]
        rows = slice(round(plan.crop.top * down), round(plan.crop.bottom * down))
        columns = slice(round(plan.crop.left * across), round(plan.crop.right * across))
        pixels, alpha = np.ascontiguousarray(pixels[rows, columns]), None if alpha is None else alpha[rows, columns]
    return replace(picture, pixels=pixels, alpha=alpha)


def _within(width: int, height: int) -> tuple[int, int]:
    """Shrink a size to MOST_PIXELS if it is over."""
    factor = min(1.0, (MOST_PIXELS / (width * height)) ** 0.5)
    return max(1, int(width * factor)), max(1, int(height * factor))
