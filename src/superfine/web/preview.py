"""Small copies of a result's tiles, for a page that shows the result as it grows."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from superfine.images.depth import Pixels, as_uint8
from superfine.upscaling.plan import Plan
from superfine.upscaling.tiles import Tile

LONG_EDGE = 1280
"""Pixels of the long edge of what the page shows before the result is there."""
_QUALITY = 85


@dataclass(frozen=True)
class PreviewTile:
    """A part of the result: its place as shares of the result's width and height, and a JPEG of it in base64."""

    left: float
    top: float
    width: float
    height: float
    jpeg: str


def preview_tile(plan: Plan, tile: Tile, size: tuple[int, int], pixels: Pixels, icc: bytes | None) -> PreviewTile:
    """Make a small copy of a tile's result.

    tile, size: the tile, and height and width of the picture it is cut from, in the same pixels. pixels: HWC, C = 1
    or 3. icc: the profile of the pixels.
    """
    high, wide = size
    across, down = plan.output
    cut_left, cut_top = (0, 0) if plan.crop is None else (plan.crop.left, plan.crop.top)
    horizontal, vertical = plan.resized[0] / wide / across, plan.resized[1] / high / down
    left, top = tile.keep.left * horizontal - cut_left / across, tile.keep.top * vertical - cut_top / down
    width, height = tile.keep.width * horizontal, tile.keep.height * vertical
    shrink = min(1.0, LONG_EDGE / max(across, down))
    target = max(1, round(width * across * shrink)), max(1, round(height * down * shrink))
    values = np.ascontiguousarray(as_uint8(pixels))
    image = Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    if target[0] < image.width:
        image = image.resize(target, Image.Resampling.BOX, reducing_gap=2.0)
    file = BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, icc_profile=icc)
    return PreviewTile(left, top, width, height, base64.b64encode(file.getvalue()).decode("ascii"))
