"""Convert between planes of a video frame and RGB in 0..1 by ITU-R H.273, in floating point with one rounding.

swscale, which video programs use for this, shifts full-range chroma by half a level and 10-bit luma by more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]
Floats = NDArray[np.float32]

WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.470 BG, BT.601 625 lines
    6: (0.299, 0.114),  # SMPTE 170M, BT.601 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}
"""H.273 code of matrix coefficients → weights of red and blue in luma; green has the rest."""


@dataclass(frozen=True)
class Layout:
    """The planes of a frame and the meaning of their integers."""

    kind: str
    """"yuv", "gray" (Y alone) or "rgb" (planes in the order R, G, B)."""
    bits: int
    """Bits of a sample, 8 to 16; more than 8 are stored in 16."""
    across: int = 1
    """Luma samples for one chroma sample horizontally: 1 or 2."""
    down: int = 1
    """Luma samples for one chroma sample vertically: 1 or 2."""
    alpha: bool = False
    """True if a full-range plane of alpha comes last."""
    matrix: int = 1
    """Key of WEIGHTS."""
    full: bool = False
    """Full range (0..2^bits-1) instead of video range (luma 16..235, chroma 16..240, times 2^(bits-8))."""

    @property
    def top(self) -> int:
        """Largest sample value."""
        return (1 << self.bits) - 1

    def shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return height and width of every plane; odd sizes are rounded up."""
        small = (-(-height // self.down), -(-width // self.across))
        colour = {"yuv": [(height, width), small, small], "gray": [(height, width)], "rgb": [(height, width)] * 3}
        return colour[self.kind] + [(height, width)] * self.alpha


def to_rgb(planes: list[Plane], layout: Layout) -> Floats:
    """Convert planes to HWC float32, RGB or RGBA in 0..1 (clipped: some YUV triples are no colour)."""
    height, width = planes[0].shape
    alpha = [planes[-1].astype(np.float32) / np.float32(layout.top)] if layout.alpha else []
    if layout.kind == "rgb":
        channels = [plane.astype(np.float32) / np.float32(layout.top) for plane in planes[:3]]
        return np.stack([*channels, *alpha], axis=-1)
    zero, span, _ = _levels(layout)
    y = (planes[0].astype(np.float32) - zero) / span
    if layout.kind == "gray":
        channels = [y, y, y]
    else:
        u, v = (_chroma(plane, layout, height, width) for plane in planes[1:3])
        red, blue = WEIGHTS[layout.matrix]
        # Green as luma less what the colour differences give, so that neutral pixels stay neutral to the bit.
        r, b = np.float32(2 * (1 - red)) * v, np.float32(2 * (1 - blue)) * u
        g = (np.float32(red) * r + np.float32(blue) * b) / np.float32(1 - red - blue)
        channels = [y + r, y - g, y + b]
    return np.clip(np.stack([*channels, *alpha], axis=-1), 0, 1)


def from_rgb(rgb: Floats, layout: Layout) -> list[Plane]:
    """Convert HWC float32, RGB or RGBA in 0..1, to planes, rounded to nearest."""
    alpha = [_rounded(rgb[:, :, 3] * layout.top, layout)] if layout.alpha else []
    if layout.kind == "rgb":
        return [_rounded(rgb[:, :, c] * layout.top, layout) for c in range(3)] + alpha
    red, blue = WEIGHTS[layout.matrix]
    zero, span, chroma_span = _levels(layout)
    luma = np.array([red, 1 - red - blue, blue], np.float32)
    y: Floats = rgb[:, :, :3] @ luma
    planes = [_rounded(y * span + zero, layout)]
    if layout.kind == "yuv":
        middle = np.float32(1 << (layout.bits - 1))
        for channel, weight in ((2, blue), (0, red)):
            difference: Floats = (rgb[:, :, channel] - y) / np.float32(2 * (1 - weight))
            planes.append(_rounded(_shrink(difference, layout) * chroma_span + middle, layout))
    return planes + alpha


def _levels(layout: Layout) -> tuple[np.float32, np.float32, np.float32]:
    """Return the level of black, the span from black to white, and the span of chroma."""
    if layout.full:
        return np.float32(0), np.float32(layout.top), np.float32(layout.top)
    unit = 1 << (layout.bits - 8)
    return np.float32(16 * unit), np.float32(219 * unit), np.float32(224 * unit)


def _chroma(plane: Plane, layout: Layout, height: int, width: int) -> Floats:
    """Return the colour difference in -0.5..0.5, at the size of luma."""
    values = (plane.astype(np.float32) - np.float32(1 << (layout.bits - 1))) / _levels(layout)[2]
    if layout.down == 2:
        values = _grow_rows(values)[:height]
    if layout.across == 2:
        values = _grow_columns(values)[:, :width]
    return values


def _grow_columns(values: Floats) -> Floats:
    """Double the width; every old sample stands on an even new one (as MPEG-2, H.264 and H.265 place them)."""
    padded = np.pad(values, ((0, 0), (1, 2)), "edge")
    grown = np.empty((values.shape[0], 2 * values.shape[1]), np.float32)
    grown[:, 0::2] = values
    grown[:, 1::2] = (9 * (padded[:, 1:-2] + padded[:, 2:-1]) - padded[:, :-3] - padded[:, 3:]) / 16  # Catmull-Rom
    return grown


def _grow_rows(values: Floats) -> Floats:
    """Double the height; every old sample stands midway between two new ones."""
    near = np.array([-3, 29, 111, -9], np.float32) / 128  # Catmull-Rom at three quarters of the way
    padded = np.pad(values, ((2, 2), (0, 0)), "edge")
    rows = values.shape[0]
    shifted = [padded[i : i + rows] for i in range(5)]
    grown = np.empty((2 * rows, values.shape[1]), np.float32)
    grown[0::2] = sum(w * s for w, s in zip(near, shifted[:4], strict=True))
    grown[1::2] = sum(w * s for w, s in zip(near[::-1], shifted[1:], strict=True))
    return grown


def _shrink(values: Floats, layout: Layout) -> Floats:
    """Halve by the inverse placement: columns weighted 1 2 1 around the even ones, rows averaged in pairs."""
    if layout.across == 2:
        padded = np.pad(values, ((0, 0), (1, 1 + values.shape[1] % 2)), "edge")
        values = (padded[:, 0:-2:2] + 2 * padded[:, 1:-1:2] + padded[:, 2::2]) / np.float32(4)
    if layout.down == 2:
        padded = np.pad(values, ((0, values.shape[0] % 2), (0, 0)), "edge")
        values = (padded[0::2] + padded[1::2]) / np.float32(2)
    return values


def _rounded(values: Floats, layout: Layout) -> Plane:
    """Round and clip to the samples of a layout."""
    kind = np.uint8 if layout.bits == 8 else np.uint16
    return np.rint(np.clip(values, 0, layout.top)).astype(kind)
