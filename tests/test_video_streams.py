"""superfine video: sound, subtitles, chapters and tags beside the pictures; interlaced ones."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from superfine.errors import VideoError
from superfine.upscaling import Upscaler

av = pytest.importorskip("av")
from av.stream import Disposition  # noqa: E402

from superfine.video import Options, upscale_video  # noqa: E402
from video_files import Counting, nearest, packets_of, picture, times_of, write_film, write_video  # noqa: E402


def test_sound_subtitles_chapters_attachments_and_tags_are_copied(tmp_path: Path) -> None:
    source, out = write_film(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    summary = upscale_video(source, out, nearest())
    assert len(summary.copied) == 4 and summary.dropped == []
    for kind in ("audio", "subtitle"):
        assert packets_of(out, kind) == packets_of(source, kind) != []
    with av.open(str(source)) as old, av.open(str(out)) as new:
        assert [s.type for s in new.streams] == [s.type for s in old.streams]
        assert [s.codec_context.name for s in new.streams.audio] == ["aac", "flac"]
        assert [s.language for s in new.streams] == [s.language for s in old.streams]
        assert [s.disposition for s in new.streams.audio] == [s.disposition for s in old.streams.audio]
        assert new.metadata["title"] == "A film"
        assert [(c["start"], c["end"], c["metadata"]["title"]) for c in new.chapters()] == [
            (c["start"], c["end"], c["metadata"]["title"]) for c in old.chapters()
        ]
        attachment = next(s for s in new.streams if s.type == "attachment")
        assert (attachment.name, attachment.data) == ("font.ttf", b"not really a font")


def test_a_stream_the_container_cannot_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv")
    engine = Counting(2)
    with pytest.raises(VideoError, match=r"mp4 cannot hold stream #\d subtitle .*\.mkv"):
        upscale_video(source, tmp_path / "out.mp4", Upscaler(engine=engine))
    assert engine.runs == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
    summary = upscale_video(source, tmp_path / "out.mp4", Upscaler(engine=engine), Options(drop=True))
    assert any("subtitle" in name for name in summary.dropped)
    assert [name.split()[1] for name in summary.copied] == ["audio", "audio"]
    assert len(packets_of(tmp_path / "out.mp4", "audio")) == len(packets_of(source, "audio"))


def interlaced(stream: Any) -> None:
    stream.codec_context.options = {"x264-params": "tff=1"}


def test_interlaced_video_is_asked_about(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "in.mp4", 8, codec="libx264", pixel_format="yuv420p", size=(64, 64), prepare=interlaced
    )
    with pytest.raises(VideoError, match="--deinterlace"):
        upscale_video(source, tmp_path / "out.mp4", nearest())
    for choice in (True, False):
        upscale_video(source, tmp_path / "out.mp4", nearest(), Options(deinterlace=choice), overwrite=True)
        assert times_of(tmp_path / "out.mp4") == times_of(source)


def ffmpeg_alpha(path: Path, decoder: str) -> np.ndarray:
    """The first frame's alpha by this decoder of FFmpeg, (height, width) of 0..255."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = av.CodecContext.create(decoder, "r")
        context.extradata = stream.codec_context.extradata
        if decoder != "libvpx-vp9":
            context = stream.codec_context
        for packet in container.demux(stream):
            for frame in context.decode(packet):
                return frame.to_ndarray(format="rgba")[:, :, 3]
    raise AssertionError("no frame")


def transparent_video(path: Path) -> Path:
    """Two frames whose left half is transparent, lossless."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "argb"
        for number in range(2):
            rgba = np.dstack([picture(number), np.repeat(np.uint8([[0] * 16 + [255] * 16]), 24, axis=0)])
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="argb")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("suffix", "decoder"), [(".mov", "prores"), (".mkv", "ffv1"), (".webm", "libvpx-vp9")])
def test_transparency_is_kept_where_a_codec_can(tmp_path: Path, suffix: str, decoder: str) -> None:
    source = transparent_video(tmp_path / "in.mov")
    summary = upscale_video(source, tmp_path / f"out{suffix}", nearest())
    assert summary.encoding.layout.alpha and summary.dropped == []
    wanted = np.repeat(np.uint8([[0] * 32 + [255] * 32]), 48, axis=0)
    assert np.abs(ffmpeg_alpha(tmp_path / f"out{suffix}", decoder).astype(int) - wanted).max() <= 6
    again = upscale_video(tmp_path / f"out{suffix}", tmp_path / "again.mkv", nearest())
    assert again.encoding.layout.alpha


def test_transparency_that_would_be_lost_is_refused_before_any_work_or_named(tmp_path: Path) -> None:
    source, engine = transparent_video(tmp_path / "in.mov"), Counting(2)
    with pytest.raises(VideoError, match="transparency"):
        upscale_video(source, tmp_path / "out.mp4", Upscaler(engine=engine))
    assert engine.runs == 0
    summary = upscale_video(source, tmp_path / "out.mp4", nearest(), Options(drop=True))
    assert summary.dropped == ["transparency"]


def covered(path: Path) -> Path:
    """A video with a cover: an attached picture of MP4, an attachment of Matroska."""
    file = io.BytesIO()
    Image.fromarray(picture(0)).save(file, "PNG")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        if path.suffix == ".mkv":
            container.add_attachment("cover.png", "image/png", file.getvalue())
        else:
            cover = container.add_stream("png", rate=25)
            cover.width, cover.height, cover.pix_fmt = 32, 24, "rgb24"
            cover.disposition = Disposition.attached_pic
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if path.suffix != ".mkv":
            packet = av.Packet(file.getvalue())
            packet.stream, packet.pts, packet.dts = cover, 0, 0
            container.mux(packet)
    return path


@pytest.mark.parametrize("source", [".mp4", ".mkv"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cover_stays_a_cover(tmp_path: Path, source: str, suffix: str) -> None:
    upscale_video(covered(tmp_path / f"in{source}"), tmp_path / f"out{suffix}", nearest())
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        covers = [each for each in container.streams.video if each.disposition & Disposition.attached_pic]
        assert len(container.streams.video) == 2 and len(covers) == 1
        data = next(bytes(packet) for packet in container.demux(covers) if packet.size)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (32, 24)


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_a_time_code_is_kept_or_named_and_never_fails_at_the_end(tmp_path: Path, suffix: str) -> None:
    def timed(stream: Any) -> None:
        stream.metadata["timecode"] = "01:00:00:00"

    source = write_video(tmp_path / "in.mov", 4, codec="libx264", pixel_format="yuv420p", size=(64, 64), prepare=timed)
    upscale_video(source, tmp_path / f"out{suffix}", nearest())
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        tags = {key.lower(): value for key, value in container.streams.video[0].metadata.items()}
    assert tags["timecode"] == "01:00:00:00"


def test_avi_has_the_rate_of_its_frames(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", 10, codec="libx264", pixel_format="yuv420p", size=(64, 64))
    upscale_video(source, tmp_path / "out.avi", nearest())
    with av.open(str(tmp_path / "out.avi")) as container:
        stream = container.streams.video[0]
        with av.open(str(source)) as old:
            assert stream.average_rate == old.streams.video[0].average_rate
        assert stream.frames == 10


def test_sound_that_begins_before_the_pictures_adds_no_frame_to_an_avi(shared: Path, tmp_path: Path) -> None:
    source = shared / "failing" / "two_audio.mp4"
    if not source.is_file():
        pytest.skip("no such file")
    upscale_video(source, tmp_path / "out.avi", nearest())
    with av.open(str(tmp_path / "out.avi")) as container:
        times = [packet.dts for packet in container.demux(video=0) if packet.dts is not None]
        assert container.streams.video[0].frames == 10 and len(container.streams.audio) == 2
    assert times == list(range(10))


def test_the_last_frame_is_as_long_as_it_was_where_frames_are_reordered(tmp_path: Path) -> None:
    times = [0, 1000, 1520, 2040]
    source = write_video(tmp_path / "in.mp4", 4, codec="libx264", pixel_format="yuv420p", size=(64, 64), times=times)
    upscale_video(source, tmp_path / "out.mp4", nearest())
    with av.open(str(source)) as old, av.open(str(tmp_path / "out.mp4")) as new:
        before, after = old.streams.video[0], new.streams.video[0]
        assert abs(before.duration * before.time_base - after.duration * after.time_base) < Fraction(1, 1000)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VideoError, match="ordinary file"):
        upscale_video(tmp_path / "pipe", tmp_path / "out.mp4", nearest())
