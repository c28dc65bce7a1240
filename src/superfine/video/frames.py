"""Convert between PyAV's frames and planes of numbers, and choose pixel formats."""

from __future__ import annotations

import re
from dataclasses import replace

import av
import numpy as np
from av.video.reformatter import Interpolation

from superfine.errors import VideoError
from superfine.video.colour import WEIGHTS, Layout, Plane

_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT

_YUV = re.compile(r"yuv(a?)j?(420|422|444|440)p(\d*)(?:le)?")
_SPANS = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "440": (1, 2)}


_PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "yuyv422": "yuv422p",
    "uyvy422": "yuv422p", "p010le": "yuv420p10le", "p210le": "yuv422p10le",
    "yuv410p": "yuv444p", "yuv411p": "yuv444p",
}  # fmt: skip
"""Pixel formats with interleaved or rare planes → a planar format with the same numbers."""


def layout_of(pixel_format: str) -> Layout | None:
    """Return the layout of a planar format by FFmpeg's name, without its colour; None for other formats."""
    if found := _YUV.fullmatch(pixel_format):
        across, down = _SPANS[found[2]]
        return Layout("yuv", int(found[3] or 8), across, down, bool(found[1]), full="j" in pixel_format)
    if found := re.fullmatch(r"gray(\d*)(?:le)?", pixel_format):
        return Layout("gray", int(found[1] or 8))
    if found := re.fullmatch(r"gbr(a?)p(\d*)(?:le)?", pixel_format):
        return Layout("rgb", int(found[2] or 8), alpha=bool(found[1]), full=True)
    return None


def planar_format(pixel_format: str) -> str:
    """Return a planar format that holds everything `pixel_format` holds; itself if it is planar."""
    if layout_of(pixel_format):
        return pixel_format
    if pixel_format in _PLANAR:
        return _PLANAR[pixel_format]
    form = av.VideoFormat(pixel_format)
    bits = max(component.bits for component in form.components)
    if not (form.is_rgb or form.has_palette or pixel_format in ("monow", "monob")):
        return "yuv444p" if bits <= 8 else "yuv444p16le"
    alpha = "a" if any(component.is_alpha for component in form.components) or form.has_palette else ""
    return f"gbr{alpha}p" + ("" if bits <= 8 else "16le")


def read_planes(frame: av.VideoFrame, planar: str) -> list[Plane]:
    """Copy the frame's planes in the format `planar` (see `planar_format`); RGB in the order R, G, B."""
    if frame.format.name != planar:
        frame = frame.reformat(format=planar, interpolation=_EXACT)
    layout = layout_of(planar)
    assert layout is not None
    kind = np.uint8 if layout.bits == 8 else np.dtype("<u2")
    planes = []
    for plane, (height, width) in zip(frame.planes, layout.shapes(frame.height, frame.width), strict=True):
        rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
        planes.append(rows[:height, :width].copy())
    return [planes[2], planes[0], planes[1], *planes[3:]] if layout.kind == "rgb" else planes


def make_frame(planes: list[Plane], pixel_format: str) -> av.VideoFrame:
    """Make a frame of planes (RGB in the order R, G, B) in a planar format, or in 8-bit packed RGB (bgr0)."""
    height, width = planes[0].shape
    packed = layout_of(pixel_format) is None
    layout = layout_of("gbrp" if packed else pixel_format)
    assert layout is not None
    frame = av.VideoFrame(width, height, "gbrp" if packed else pixel_format)
    stored = [planes[1], planes[2], planes[0], *planes[3:]] if layout.kind == "rgb" else planes
    for plane, values in zip(frame.planes, stored, strict=True):
        target = np.frombuffer(memoryview(plane), values.dtype).reshape(-1, plane.line_size // values.itemsize)
        target[: values.shape[0], : values.shape[1]] = values
    return frame.reformat(format=pixel_format, interpolation=_EXACT) if packed else frame


def choose_format(source: Layout, offered: list[str], height: int, width: int) -> str:
    """Choose the encoder's format that loses least of `source`, for pictures of this size.

    In order of importance: kind of colour, alpha, bits, chroma resolution; then the smallest format that keeps all.
    Encoders with subsampled chroma need even sizes, so odd sizes need full chroma.
    """
    candidates = []
    for name in offered:
        layout = layout_of("gbrp" if name == "bgr0" else name)
        if layout is None or "j" in name:  # yuvj is an old name for yuv with full range
            continue
        if width % layout.across or height % layout.down:
            continue
        colour = 0 if layout.kind == source.kind else 1 if {layout.kind, source.kind} == {"yuv", "rgb"} else 2
        if source.kind == "gray" and layout.kind == "rgb":
            colour = 3
        lost = (
            2 if source.kind != "gray" and layout.kind == "gray" else 0,
            int(source.alpha and not layout.alpha),
            max(0, source.bits - layout.bits),
            0 if source.kind == "gray" else max(0, layout.across - source.across) + max(0, layout.down - source.down),
        )
        surplus = (
            colour,
            abs(layout.bits - source.bits),
            int(layout.alpha and not source.alpha),
            source.across - layout.across + source.down - layout.down,
        )
        candidates.append((lost, surplus, name))
    if not candidates:
        raise VideoError(f"this codec takes no pictures of {width}x{height}: choose another with --codec")
    return min(candidates)[2]


def with_colour(layout: Layout, matrix: int, full: bool) -> Layout:
    """Fill in the colour of a layout. Raises VideoError for a matrix without linear formulas."""
    if layout.kind == "rgb":
        return replace(layout, full=True)
    if layout.kind == "yuv" and matrix not in WEIGHTS:
        raise VideoError(f"the video's colour matrix has H.273 code {matrix}: known are {', '.join(map(str, WEIGHTS))}")
    return replace(layout, matrix=matrix if matrix in WEIGHTS else 1, full=full)
