"""Write the output file: the larger frames, and every other stream as it was."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from superfine.errors import VideoError
from superfine.video.encode import CODECS, Encoding, container_of
from superfine.video.pieces import Chunk, Pieces
from superfine.video.source import Source, packets_of

_OWN_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id"}
"""Tags the container or the encoder writes for itself."""
_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS_")
"""Matroska's counts of a stream, true of the old pictures only."""


@dataclass
class Report:
    """Which other streams of the input are copied and which are left out."""

    indices: list[int] = field(default_factory=list)
    """Indices of the streams to copy."""
    copied: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def check_streams(video: Source, container: str, encoding: Encoding, *, drop: bool) -> Report:
    """Find out which streams can be copied into `container`, before hours of work.

    Data streams that do not fit (camera telemetry) are dropped and reported. Raises VideoError for audio, subtitles,
    pictures or attachments that do not fit, unless `drop`, and for an encoding that is not possible.
    """
    encoding.open()
    if not _fits(container, encoding):
        raise VideoError(f"{container} cannot hold {encoding.codec}: choose another --codec or ending")
    report = Report()
    for stream in video.container.streams:
        if stream.index == video.stream.index:
            continue
        name = f"#{stream.index} {stream.type} {getattr(stream, 'name', None) or 'of unknown kind'}"
        if _fits(container, encoding, stream):
            report.indices.append(stream.index)
            report.copied.append(name)
        elif drop or stream.type in ("data", "unknown"):
            report.dropped.append(name)
        else:
            raise VideoError(f"{container} cannot hold stream {name}: choose an output ending in .mkv, or --drop it")
    return report


def _fits(container: str, encoding: Encoding, stream: Any = None) -> bool:
    """Return True if this container can hold the encoded video, and `stream` beside it."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            _add_video(trial, encoding)
            if stream is not None:
                _copy_of(trial, stream)
            trial.start_encoding()
    except (ValueError, OSError, FFmpegError):
        return False
    return True


def mux(video: Source, out: Path, encoding: Encoding, pieces: Pieces, report: Report) -> None:
    """Write the pieces and the copied streams to `out`, which appears when it is whole."""
    partial = pieces.folder / f"whole{out.suffix}"
    try:
        with (
            av.open(str(video.path), "r", metadata_errors="replace") as old,
            av.open(str(partial), "w", format=container_of(out.suffix)) as new,
        ):
            _describe(old, new)
            target = _video_stream(new, video, encoding)
            copies = {index: _copy_of(new, old.streams[index]) for index in report.indices}
            new.set_chapters(old.chapters())
            _interleave(old, new, target, copies, _packets(pieces, encoding))
        partial.replace(out)
    except (OSError, ValueError, FFmpegError) as error:
        raise VideoError(f"cannot write {out}: {error}; the frames are kept, so running it again is quick") from error


def _describe(old: Any, new: Any) -> None:
    """Copy the tags of the file."""
    """Copy the tags of the file."""
    new.metadata.update({key: value for key, value in old.metadata.items() if key.lower() not in _OWN_TAGS})


def _video_stream(new: Any, video: Source, encoding: Encoding) -> Any:
    """Add the video stream with its tags, role and display matrix."""
    """Add the video stream with its tags, role and display matrix."""
    stream = _add_video(new, encoding)
    tags = {
        key: value
        for key, value in video.stream.metadata.items()
        if key.lower() not in _OWN_TAGS and not key.startswith(_STATISTICS)
    }
    stream.metadata.update(tags)
    stream.disposition = video.stream.disposition
    stream.set_display_matrix(video.display_matrix())
    return stream


def _add_video(new: Any, encoding: Encoding) -> Any:
    """Add a video stream of this encoding."""
    """Add a video stream of this encoding."""
    stream = new.add_stream(CODECS[encoding.codec].encoder, rate=encoding.rate, time_base=encoding.time_base)
    encoding.configure(stream.codec_context)
    return stream


def _copy_of(new: Any, stream: Any) -> Any:
    """Add a copy of a stream, without its packets."""
    """Add a copy of a stream, without its packets."""
    copy = (
        new.add_attachment(stream.name or "attachment", stream.mimetype or "application/octet-stream", stream.data)
        if stream.type == "attachment"
        else new.add_stream_from_template(stream, opaque=True)
    )
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy


def _packets(pieces: Pieces, encoding: Encoding) -> Iterator[av.Packet[Any]]:
    """Yield the encoded frames with decoding times, which must rise over all pieces and never exceed the pts.

    The n-th packet is decoded at the n-th smallest pts, minus one shift that makes this early enough for all.
    """
    order = [pts for index in pieces.done for pts, _, _ in index.packets]
    rising = sorted(order)
    shift = max((b - a for a, b in zip(order, rising, strict=True)), default=0)
    following = {a: b - a for a, b in pairwise(rising)}
    last = pieces.done[-1].last_duration or round(1 / (encoding.rate * encoding.time_base))
    for chunk, time in zip(pieces.chunks(), rising, strict=True):
        yield _packet(chunk, time - shift, following.get(chunk.pts, last), encoding.time_base)


def _packet(chunk: Chunk, dts: int, duration: int, time_base: Fraction) -> av.Packet[Any]:
    """Make a packet with its times."""
    """Make a packet with its times."""
    packet: av.Packet[Any] = av.Packet(chunk.data)
    packet.pts, packet.dts, packet.duration, packet.time_base = chunk.pts, dts, duration, time_base
    packet.is_keyframe = chunk.key
    return packet


def _interleave(old: Any, new: Any, target: Any, copies: dict[int, Any], pictures: Iterator[av.Packet[Any]]) -> None:
    """Mux both in order of time, so that the muxer need not buffer one of them."""
    waiting = next(pictures, None)

    def advance(until: Fraction | None) -> None:
        nonlocal waiting
        while waiting is not None and (until is None or (waiting.dts or 0) * waiting.time_base <= until):
            waiting.stream = target
            new.mux(waiting)
            waiting = next(pictures, None)

    streams = [old.streams[index] for index in copies if old.streams[index].type != "attachment"]
    for packet in packets_of(old, *streams) if streams else ():
        if packet.dts is None or packet.time_base is None:  # the end of a stream
            continue
        advance(packet.dts * packet.time_base)
        packet.stream = copies[packet.stream_index]
        new.mux(packet)
    advance(None)
