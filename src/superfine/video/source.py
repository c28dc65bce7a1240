"""Read a video file: its picture stream, its frames with time stamps, and its colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition

from superfine.errors import VideoError
from superfine.video.colour import Layout, Plane
from superfine.video.frames import layout_of, planar_format, read_planes, with_colour

UNSPECIFIED = 2
"""H.273's code for an unspecified colour property."""


_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Codec → FFmpeg's decoder that reads its alpha."""


@dataclass(frozen=True)
class Colour:
    """H.273 codes and range that the output will state."""

    matrix: int
    primaries: int
    transfer: int
    full: bool

    @property
    def is_hdr(self) -> bool:
        """True if the transfer is PQ or HLG."""
        return self.transfer in (16, 18)


@dataclass
class Frame:
    """One decoded frame."""

    pts: int
    """In units of the stream's time base; strictly rising."""
    duration: int
    """In the same units; 0 if unknown."""
    planes: list[Plane]
    layout: Layout


class Source:
    """A video opened for reading; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise VideoError(f"{path} is a folder: name a video file")
        if path.exists() and not path.is_file():
            raise VideoError(f"{path} is not an ordinary file: a video is read more than once, so save it first")
        try:
            self.container = av.open(str(path), "r", metadata_errors="replace")
        except (FFmpegError, OSError, ValueError) as error:
            raise VideoError(f"cannot read {path} as a video: {_reason(error)}") from error
        pictures = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not pictures or pictures[0].codec_context is None:
            self.container.close()
            raise VideoError(f"{path} holds no video stream that can be decoded")
        self.stream = pictures[0]
        self.stream.thread_type = "AUTO"
        context = self.stream.codec_context
        if not context.width or not context.height or context.pix_fmt is None:
            self.container.close()
            raise VideoError(f"{path}: no size of its pictures can be told; it is damaged or cut short")
        self.width, self.height, self.pixel_format = context.width, context.height, str(context.pix_fmt)
        self._alpha_decoder = _ALPHA_DECODERS.get(context.name) if self._has_webm_alpha() else None
        if self._alpha_decoder:
            self.pixel_format = self.pixel_format.replace("yuv", "yuva", 1)
        self.planar_format = planar_format(self.pixel_format)
        self.colour = self._colour()
        self.damaged = 0
        """Packets skipped so far because they could not be decoded."""
        layout = layout_of(self.planar_format)
        assert layout is not None
        self.layout = with_colour(layout, self.colour.matrix, self.colour.full)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.container.close()

    @property
    def time_base(self) -> Fraction:
        """Unit of the time stamps, in seconds."""
        return self.stream.time_base or Fraction(1, 1000)

    @property
    def rate(self) -> Fraction:
        """Frames a second, on average; 25 if unknown."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def expected_frames(self) -> int:
        """Number of frames by the container, or estimated from its duration; 0 if unknown."""
        if self.stream.frames:
            return int(self.stream.frames)
        if self.stream.duration:
            return round(self.stream.duration * self.time_base * self.rate)
        return round(Fraction(self.container.duration, 1_000_000) * self.rate) if self.container.duration else 0

    def frames(self, after: int | None = None, *, deinterlace: bool | None = None) -> Iterator[Frame]:
        """Yield every frame in order of presentation, or those whose pts is above `after`.

        deinterlace: True deinterlaces (bwdif, one frame for one frame), False takes frames as they are; None raises
        VideoError on the first interlaced frame. Damaged packets are skipped.
        """
        seeking = after is not None and not deinterlace and self._seek(after)
        last: int | None = None
        for frame in self._decoded(deinterlace, fresh=not seeking):
            pts = self._pts(frame, last)
            last = pts
            if after is not None and pts <= after:
                continue
            if (frame.width, frame.height) != (self.width, self.height):
                raise VideoError(
                    f"{self.path}: pictures change from {self.width}x{self.height} to {frame.width}x{frame.height}; "
                    "cut the file there and upscale the pieces"
                )
            if frame.interlaced_frame and deinterlace is None:
                raise VideoError(
                    f"{self.path} is interlaced: pass --deinterlace, or --no-deinterlace to take its frames as they are"
                )
            planar = self.planar_format if frame.format.name == self.pixel_format else planar_format(frame.format.name)
            layout = layout_of(planar)
            assert layout is not None
            duration = int((frame.duration or 0) * (frame.time_base or self.time_base) / self.time_base)
            yield Frame(
                pts, duration, read_planes(frame, planar), with_colour(layout, self.colour.matrix, self.colour.full)
            )

    def display_matrix(self) -> list[int] | None:
        """Return the nine numbers by which players turn the picture; None if there are none."""
        data = self._first_side_data().get(SideDataType.DISPLAYMATRIX)
        return None if data is None else [int(value) for value in np.frombuffer(data, "<i4")[:9]]

    def is_turned(self) -> bool:
        """Return True if players show the picture turned by a quarter."""
        matrix = self.display_matrix()
        return matrix is not None and abs(matrix[1]) > abs(matrix[0])

    def light(self) -> tuple[bytes | None, bytes | None]:
        """Return FFmpeg's structures of HDR10: mastering display and content light level; None if missing."""
        data = self._first_side_data()
        return data.get(SideDataType.MASTERING_DISPLAY_METADATA), data.get(SideDataType.CONTENT_LIGHT_LEVEL)

    def _first_side_data(self) -> dict[Any, bytes]:
        """Read the side data of the first frame, by type, from a second opening of the file."""
        with av.open(str(self.path), "r", metadata_errors="replace") as container:
            stream = container.streams[self.stream.index]
            try:
                frame = next(iter(container.decode(stream)), None)
            except FFmpegError:
                return {}
            if not isinstance(frame, av.VideoFrame):
                return {}
            side_data: Any = frame.side_data
            return {data.type: bytes(data) for data in side_data}

    def _colour(self) -> Colour:
        """Read the colour description; an unspecified matrix becomes the one that players assume."""
        context = self.stream.codec_context
        is_rgb = av.VideoFormat(self.pixel_format).is_rgb
        matrix = int(context.colorspace)
        if matrix in (UNSPECIFIED, 0) and not is_rgb:
            # Every player assumes this. It must be stated now, or players would take the larger picture for HD.
            matrix = 1 if self.height >= 720 or self.width >= 1280 else 6
        full = is_rgb or int(context.color_range) == 2 or self.pixel_format.startswith("yuvj")
        return Colour(1 if is_rgb else matrix, int(context.color_primaries), int(context.color_trc), full)

    def _has_webm_alpha(self) -> bool:
        """Return True for VP8 or VP9 with alpha, which FFmpeg's own decoders leave out without a word."""
        tags = {key.lower(): value for key, value in self.stream.metadata.items()}
        return tags.get("alpha_mode") == "1"

    def _seek(self, pts: int) -> bool:
        """Seek to the last key frame at or before `pts` and return True; stay at the beginning if that fails."""
        try:
            self.container.seek(pts, stream=self.stream, backward=True)
            first = next((p for p in self.container.demux(self.stream) if p.pts is not None), None)
            if first is not None and first.pts is not None and first.pts <= pts:
                self.container.seek(pts, stream=self.stream, backward=True)
                return True
            self.container.seek(0, backward=True, any_frame=False)
        except FFmpegError:
            self._reopen()
        return False

    def _reopen(self) -> None:
        """Open the file again, to start from its beginning."""
        self.container.close()
        other = Source(self.path)
        self.container, self.stream = other.container, other.stream

    def _decoded(self, deinterlace: bool | None, *, fresh: bool) -> Iterator[av.VideoFrame]:
        """Decode frames, from the beginning if `fresh`."""
        if fresh:
            self._reopen()
        graph = self._deinterlacer() if deinterlace else None
        good = 0
        decoder: Any = av.CodecContext.create(self._alpha_decoder, "r") if self._alpha_decoder else None
        for packet in packets_of(self.container, self.stream):
            try:
                frames = packet.decode() if decoder is None else decoder.decode(packet)
            except FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                if isinstance(frame, av.VideoFrame):
                    good += 1
                    yield from self._filtered(graph, frame)
        if graph is not None:
            yield from self._filtered(graph, None)
        if not good:
            found = f"{self.damaged} damaged packets" if self.damaged else "none"
            raise VideoError(f"{self.path}: no picture could be decoded (found {found}); it is damaged or cut short")

    def _deinterlacer(self) -> Any:
        """Build a filter graph that deinterlaces."""
        graph = av.filter.Graph()
        entry = graph.add_buffer(template=self.stream)
        # Only frames marked as interlaced are touched; one frame comes out for one that goes in.
        bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        entry.link_to(bwdif)
        bwdif.link_to(graph.add("buffersink"))
        graph.configure()
        return graph

    @staticmethod
    def _filtered(graph: Any, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Pass a frame (None: the end) through the graph, if there is one."""
        if graph is None:
            if frame is not None:
                yield frame
            return
        graph.push(frame)
        while True:
            try:
                yield graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def _pts(self, frame: av.VideoFrame, last: int | None) -> int:
        """Return the frame's pts in the stream's time base; an estimate if it is missing or does not rise."""
        step = max(1, round(1 / (self.rate * self.time_base)))
        if frame.pts is None:
            return 0 if last is None else last + step
        pts = round(frame.pts * (frame.time_base or self.time_base) / self.time_base)
        return pts if last is None or pts > last else last + 1


def packets_of(container: Any, *streams: Any) -> Iterator[Any]:
    """Yield packets of `streams` in file order, up to the end or to damage that cannot be skipped."""
    packets = container.demux(*streams)
    while True:
        try:
            yield next(packets)
        except (StopIteration, FFmpegError):
            return


def _reason(error: Exception) -> str:
    """Describe an error on one line."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).strip().splitlines()[0] if str(text).strip() else type(error).__name__
