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
from av.packet import PacketSideData, packet_sidedata_type_from_literal
from av.stream import Disposition

from superfine.errors import VideoError
from superfine.video.encode import CODECS, Encoding, container_of
from superfine.video.pieces import BESIDE, Chunk, Pieces
from superfine.video.source import Source, packets_of

_OWN_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id", "alpha_mode"}
"""Tags the container or the encoder writes for itself."""
_SideData: Any = PacketSideData  # its type stub leaves out the two arguments
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
        if _is_time_code(stream):
            # QuickTime's track of time codes: FFmpeg writes a new one from the tag, or players read the tag.
            report.copied.append(f"#{stream.index} time code")
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


def _is_time_code(stream: Any) -> bool:
    return stream.type == "data" and "timecode" in stream.metadata


def _is_cover(stream: Any) -> bool:
    """Return True for a picture that belongs to the file, not a video track."""
    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def _fits(container: str, encoding: Encoding, stream: Any = None) -> bool:
    """Return True if this container can hold the encoded video, and `stream` beside it."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            _add_video(trial, encoding)
            if stream is not None:
                _copy_of(trial, stream, container)
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
            av.open(str(partial), "w", format=container_of(out.suffix), options=_options(out)) as new,
        ):
            _describe(old, new)
            target = _video_stream(new, video, encoding)
            kind, covers = container_of(out.suffix), _covers(video.path, report.indices)
            copies = {index: _copy_of(new, old.streams[index], kind, covers.get(index)) for index in report.indices}
            new.set_chapters(old.chapters())
            _interleave(
                old,
                new,
                target,
                copies,
                _packets(pieces, encoding, _last_duration(video, pieces), numbered=kind == "avi"),
            )
        partial.replace(out)
    except (OSError, ValueError, FFmpegError) as error:
        raise VideoError(f"cannot write {out}: {error}; the frames are kept, so running it again is quick") from error


def _options(out: Path) -> dict[str, str]:
    """Return the muxer's options: AVI counts frames, so sound before time 0 must not move them by one."""
    return {"avoid_negative_ts": "disabled"} if container_of(out.suffix) == "avi" else {}


def _describe(old: Any, new: Any) -> None:
    """Copy the tags of the file."""
    new.metadata.update({key: value for key, value in old.metadata.items() if key.lower() not in _OWN_TAGS})


def _video_stream(new: Any, video: Source, encoding: Encoding) -> Any:
    """Add the video stream with its tags, role and display matrix."""
    stream = _add_video(new, encoding)
    tags = {
        key: value
        for key, value in video.stream.metadata.items()
        if key.lower() not in _OWN_TAGS and not key.startswith(_STATISTICS)
    }
    stream.metadata.update(tags)
    if encoding.codec == "vp9" and encoding.layout.alpha:
        stream.metadata["alpha_mode"] = "1"
    stream.disposition = video.stream.disposition
    stream.set_display_matrix(video.display_matrix())
    return stream


def _add_video(new: Any, encoding: Encoding) -> Any:
    """Add a video stream of this encoding."""
    stream = new.add_stream(CODECS[encoding.codec].encoder, rate=encoding.rate, time_base=encoding.time_base)
    encoding.configure(stream.codec_context)
    if new.format.name == "avi":  # AVI knows frame numbers only: one tick is one frame
        stream.time_base = stream.codec_context.time_base = 1 / encoding.rate
    return stream


def _covers(path: Path, indices: list[int]) -> dict[int, bytes]:
    """Read the attached pictures among the streams of these indices."""
    with av.open(str(path), "r", metadata_errors="replace") as container:
        covers = [stream for stream in container.streams if stream.index in indices and _is_cover(stream)]
        found: dict[int, bytes] = {}
        for packet in packets_of(container, *covers) if covers else ():
            if packet.size:
                found.setdefault(packet.stream_index, bytes(packet))
            if len(found) == len(covers):
                break
    return found


def _copy_of(new: Any, stream: Any, container: str, cover: bytes | None = None) -> Any:
    """Add a copy of a stream, without its packets; Matroska stores an attached picture as an attachment."""
    if container == "matroska" and _is_cover(stream):
        kind = "png" if stream.codec_context.name == "png" else "jpeg"
        name = stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
        return new.add_attachment(name, f"image/{kind}", cover or b"cover")
    if stream.type == "attachment":
        data = stream.name or "attachment", stream.mimetype or "application/octet-stream", stream.data
        copy = new.add_attachment(*data)
    else:
        copy = new.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy


def _last_duration(video: Source, pieces: Pieces) -> int:
    """Return the last frame's duration by the length of the stream; 0 if that is unknown.

    A decoded frame may name another one's: MP4 stores durations in decoding order.
    """
    start, length, last = video.stream.start_time, video.stream.duration, pieces.last_pts
    if video.damaged or start is None or length is None or last is None:
        return 0
    return max(0, start + length - last)


def _packets(pieces: Pieces, encoding: Encoding, last: int, *, numbered: bool) -> Iterator[av.Packet[Any]]:
    """Yield the encoded frames with decoding times, which must rise over all pieces and never exceed the pts.

    The n-th packet is decoded at the n-th smallest pts, minus one shift that makes this early enough for all.
    last: duration of the last frame, 0 if unknown. numbered: count frames instead of ticks (AVI).
    """
    order = [pts for index in pieces.done for pts, *_ in index.packets]
    rising = sorted(order)
    shift = max((b - a for a, b in zip(order, rising, strict=True)), default=0)
    last = last or pieces.done[-1].last_duration or round(1 / (encoding.rate * encoding.time_base))
    # MP4 stores the time from one decoding to the next, so the last packet, whichever frame it holds, has the last
    # frame's duration.
    durations = [b - a for a, b in pairwise(rising)] + [last]
    if numbered:
        tick = encoding.time_base * encoding.rate
        for number, (chunk, time) in enumerate(zip(pieces.chunks(), rising, strict=True)):
            ahead = round((chunk.pts - time + shift) * tick)
            yield _packet(chunk, number, 1, 1 / encoding.rate, pts=number + ahead)
        return
    for chunk, time, duration in zip(pieces.chunks(), rising, durations, strict=True):
        yield _packet(chunk, time - shift, duration, encoding.time_base)


def _packet(chunk: Chunk, dts: int, duration: int, time_base: Fraction, pts: int | None = None) -> av.Packet[Any]:
    """Make a packet with its times."""
    packet: av.Packet[Any] = av.Packet(chunk.data)
    packet.pts, packet.dts = chunk.pts if pts is None else pts, dts
    packet.duration, packet.time_base = duration, time_base
    packet.is_keyframe = chunk.key
    if chunk.alpha:
        beside: Any = _SideData(packet_sidedata_type_from_literal(BESIDE), len(chunk.alpha))
        beside.update(chunk.alpha)
        packet.set_sidedata(beside)
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

    streams = [old.streams[index] for index in copies if copies[index].type != "attachment"]
    for packet in packets_of(old, *streams) if streams else ():
        if packet.dts is None and packet.size and _is_cover(old.streams[packet.stream_index]):
            packet.pts = packet.dts = 0
        if packet.dts is None or packet.time_base is None:  # the end of a stream
            continue
        advance(packet.dts * packet.time_base)
        packet.stream = copies[packet.stream_index]
        new.mux(packet)
    advance(None)
