"""Choose how the larger frames are encoded: codec, quality, pixel format, colour."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError
from av.format import ContainerFormat

from superfine.errors import VideoError
from superfine.video.colour import Layout
from superfine.video.frames import choose_format, layout_of, with_colour
from superfine.video.source import Colour

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes to the terminal by itself; 1: errors only

_GLOBAL_HEADER_WANTED = 0x0040
"""FFmpeg's AVFMT_GLOBALHEADER: the container keeps the codec's headers apart from its packets."""
_GLOBAL_HEADER = 1 << 22
"""FFmpeg's AV_CODEC_FLAG_GLOBAL_HEADER."""
_BITEXACT = 1 << 23
"""FFmpeg's AV_CODEC_FLAG_BITEXACT: no build-specific notes in the stream."""


@dataclass(frozen=True)
class Codec:
    """An encoder and its default settings."""

    encoder: str
    """FFmpeg's name."""
    quality: int | None
    """Default constant quality (CRF); None: the codec has no such scale."""
    worst: int
    """Largest value of that scale."""
    options: dict[str, str]


CODECS: dict[str, Codec] = {
    # Without cpu-independent, x264 makes other bytes of the same small frames from run to run; with it none, as fast.
    "h264": Codec("libx264", 17, 51, {"preset": "medium", "x264-params": "cpu-independent=1"}),
    "hevc": Codec("libx265", 18, 51, {"preset": "medium"}),
    "av1": Codec("libsvtav1", 22, 63, {"preset": "6"}),
    "vp9": Codec("libvpx-vp9", 22, 63, {"b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1"}),
    "prores": Codec("prores_ks", None, 0, {}),
    "ffv1": Codec("ffv1", None, 0, {"level": "3", "slicecrc": "1"}),
}
"""--codec → encoder. ffv1 is lossless."""


@dataclass(frozen=True)
class Encoding:
    """All settings that decide the bytes of the encoded frames."""

    codec: str
    """Key of CODECS."""
    pixel_format: str
    layout: Layout
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    colour: Colour
    aspect: Fraction | None
    """Shape of a pixel, width over height; None if unknown."""
    global_header: bool
    options: dict[str, str] = field(default_factory=dict)

    def configure(self, context: Any) -> None:
        """Set up an encoder's context (PyAV's CodecContext, or the stream of one) for these frames."""
        context.width, context.height, context.pix_fmt = self.width, self.height, self.pixel_format
        context.time_base, context.framerate = self.time_base, self.rate
        if self.aspect:
            context.sample_aspect_ratio = self.aspect
        context.colorspace = 0 if self.layout.kind == "rgb" else self.colour.matrix
        context.color_primaries, context.color_trc = self.colour.primaries, self.colour.transfer
        context.color_range = 2 if self.layout.full else 1
        context.flags = context.flags | (_GLOBAL_HEADER if self.global_header else 0) | _BITEXACT
        context.options = dict(self.options)

    def label(self, frame: av.VideoFrame, pts: int) -> av.VideoFrame:
        """Set the time stamp and the colour description of a frame."""
        frame.pts, frame.time_base = pts, self.time_base
        frame.colorspace = 0 if self.layout.kind == "rgb" else self.colour.matrix
        frame.color_range = 2 if self.layout.full else 1
        frame.color_primaries, frame.color_trc = self.colour.primaries, self.colour.transfer
        return frame

    def open(self) -> Any:
        """Open a new encoder for one piece of the video. Raises VideoError if it refuses the settings."""
        context: Any = av.CodecContext.create(CODECS[self.codec].encoder, "w")
        self.configure(context)
        try:
            context.open()
        except (FFmpegError, ValueError) as error:
            size = f"{self.width}x{self.height} {self.pixel_format}"
            asked = " ".join(f"{key}={value}" for key, value in self.options.items())
            raise VideoError(f"{self.codec} refuses {size} with {asked}: choose another --codec or --preset") from error
        return context


def plan_encoding(
    source_layout: Layout,
    colour: Colour,
    size: tuple[int, int],
    timing: tuple[Fraction, Fraction],
    suffix: str,
    *,
    codec: str | None = None,
    quality: int | None = None,
    preset: str | None = None,
    pixel_format: str | None = None,
    aspect: Fraction | None = None,
    light: tuple[bytes | None, bytes | None] = (None, None),
) -> Encoding:
    """Choose every setting the user left open.

    size: (height, width) of the larger frames. timing: (time base, frames a second). suffix: of the output, ".mp4".
    light: HDR10's structures, see `Source.light`. Raises VideoError if the container or codec cannot do it.
    """
    container = container_of(suffix)
    name = codec or _default_codec(suffix, source_layout, colour)
    if name not in CODECS:
        raise VideoError(f"no codec {name!r}: choose one of {', '.join(CODECS)}")
    kind = CODECS[name]
    offered = [each.name for each in av.Codec(kind.encoder, "w").video_formats or []]
    if not keeps_alpha(name, container):
        offered = [each for each in offered if not each.startswith(("yuva", "gbra"))]
    elif name == "vp9":
        # libvpx names other formats with alpha too and refuses them.
        offered = [each for each in offered if each == "yuva420p" or not each.startswith(("yuva", "gbra"))]
    chosen = pixel_format or choose_format(source_layout, offered, *size)
    if chosen not in offered or (layout := layout_of("gbrp" if chosen == "bgr0" else chosen)) is None:
        known = ", ".join(each for each in offered if layout_of(each))
        raise VideoError(f"{name} does not take the pixel format {chosen!r}: choose one of {known}")
    options = dict(kind.options)
    if quality is not None and kind.quality is None:
        raise VideoError(f"{name} has no quality scale")
    if quality is not None and not 0 <= quality <= kind.worst:
        raise VideoError(f"{name} takes a quality of 0 (best) to {kind.worst}, not {quality}")
    if kind.quality is not None:
        options["crf"] = str(kind.quality if quality is None else quality)
    if preset is not None:
        options["preset" if name != "vp9" else "cpu-used"] = preset
    options |= _own_parameters(name, light)
    if name == "vp9" and layout.alpha:
        options["auto-alt-ref"] = "0"  # libvpx has no alpha with alternate reference frames
    return Encoding(
        codec=name,
        pixel_format=chosen,
        layout=with_colour(layout, colour.matrix, colour.full),
        width=size[1],
        height=size[0],
        time_base=timing[0],
        rate=timing[1],
        colour=replace(colour, full=colour.full or layout.kind == "rgb"),
        aspect=aspect,
        global_header=bool(ContainerFormat(container, "w").flags & _GLOBAL_HEADER_WANTED),
        options=options,
    )


_CONTAINERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi", ".ts": "mpegts"
}  # fmt: skip


def container_of(suffix: str) -> str:
    """Return FFmpeg's name of the container for a file's ending. Raises VideoError for unknown endings."""
    if suffix.lower() not in _CONTAINERS:
        ending = f"with the ending {suffix!r}" if suffix else "without an ending"
        raise VideoError(f"no video is written {ending}: choose one of {', '.join(_CONTAINERS)}")
    return _CONTAINERS[suffix.lower()]


_WITH_ALPHA = {".mov": "prores", ".mkv": "ffv1", ".avi": "ffv1", ".webm": "vp9"}
"""Ending → codec for videos with transparency."""


def keeps_alpha(codec: str, container: str) -> bool:
    """Return True if this codec can store transparency in this container (VP9: only beside Matroska's blocks)."""
    return codec in ("prores", "ffv1") or (codec == "vp9" and container in ("webm", "matroska"))


def _default_codec(suffix: str, layout: Layout, colour: Colour) -> str:
    """Choose the codec if the user named none."""
    if layout.alpha and suffix.lower() in _WITH_ALPHA:
        return _WITH_ALPHA[suffix.lower()]
    if suffix.lower() == ".webm":
        return "vp9" if layout.bits == 8 else "av1"
    return "hevc" if layout.bits > 8 or colour.is_hdr else "h264"


def _own_parameters(codec: str, light: tuple[bytes | None, bytes | None]) -> dict[str, str]:
    """Make an encoder's own options: HDR10's static metadata, and no messages."""
    display = None if light[0] is None else _mastering_display(light[0], codec)
    level = None if light[1] is None else ",".join(map(str, struct.unpack_from("<2I", light[1])))
    name = "master-display" if codec == "hevc" else "mastering-display"
    names = {name: display, "max-cll" if codec == "hevc" else "content-light": level}
    parts = [f"{key}={value}" for key, value in names.items() if value]
    if codec == "hevc":
        return {"x265-params": ":".join(["log-level=error", *parts])}
    return {"svtav1-params": ":".join(parts)} if codec == "av1" and parts else {}


def _mastering_display(data: bytes, codec: str) -> str | None:
    """Format FFmpeg's AVMasteringDisplayMetadata as G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min).

    x265 counts chromaticities in 0.00002 and luminance in 0.0001 cd/m²; SVT-AV1 takes plain numbers.
    """
    values = struct.unpack_from("<22i", data)
    if not (values[20] and values[21]):
        return None
    numbers = [Fraction(values[i], values[i + 1] or 1) for i in range(0, 20, 2)]
    x265 = codec == "hevc"

    def text(value: Fraction, unit: int) -> str:
        return str(round(value * unit)) if x265 else f"{float(value):.5f}"

    points = [f"({text(numbers[i], 50000)},{text(numbers[i + 1], 50000)})" for i in range(0, 8, 2)]
    red, green, blue, white = points
    return f"G{green}B{blue}R{red}WP{white}L({text(numbers[9], 10000)},{text(numbers[8], 10000)})"
