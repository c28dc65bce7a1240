"""superfine video: sound, subtitles, chapters and tags beside the pictures; interlaced ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from superfine.errors import VideoError
from superfine.upscaling import Upscaler

av = pytest.importorskip("av")
from superfine.video import Options, upscale_video  # noqa: E402
from video_files import Counting, nearest, packets_of, times_of, write_film, write_video  # noqa: E402


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
