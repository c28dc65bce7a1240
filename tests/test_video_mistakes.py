"""superfine video: every mistake and every damaged file is one line, before any work."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mutation import mutated
from processes import assert_refused
from superfine.errors import VideoError
from superfine.upscaling import Upscaler

av = pytest.importorskip("av")
from superfine.video import Options, upscale_video  # noqa: E402
from video_files import Counting, command, nearest, times_of, write_film, write_video  # noqa: E402


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", codec="libx264", pixel_format="yuv420p")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder that must be empty again in the end."""
    yield tmp_path
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("out.gif", Options(), "ending '.gif': choose one of .mp4"),
        ("out", Options(), "without an ending"),
        ("out.mp4", Options(codec="divx"), "no codec 'divx': choose one of h264"),
        ("out.webm", Options(codec="prores"), "webm cannot hold prores"),
        ("out.mp4", Options(codec="h264", quality=99), "0 (best) to 51, not 99"),
        ("out.mkv", Options(codec="ffv1", quality=3), "ffv1 has no quality scale"),
        ("out.mp4", Options(codec="h264", preset="warp"), "refuses"),
        ("out.mp4", Options(codec="h264", pixel_format="yuv999p"), "'yuv999p': choose one of yuv420p"),
    ],
)
def test_what_cannot_be_written_is_said_before_any_work(
    out: str, options: Options, words: str, clip: Path, folder: Path
) -> None:
    engine = Counting(2)
    with pytest.raises(VideoError) as caught:
        upscale_video(clip, folder / out, Upscaler(engine=engine), options)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert engine.runs == 0


def test_what_cannot_be_read_is_one_line(clip: Path, tmp_path: Path) -> None:
    content = clip.read_bytes()
    bad = {"text.mp4": b"no video at all\n" * 50, "empty.mp4": b"", "cut.mp4": content[: len(content) // 3]}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 400), np.int16), "s16", "mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
    for name in (*bad, "sound.mkv", "missing.mp4", "."):
        with pytest.raises(VideoError) as caught:
            upscale_video(tmp_path / name, tmp_path / "out.mp4", nearest())
        assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mp4", "empty.mp4", "sound.mkv", "text.mp4"]


def test_damaged_packets_are_passed_over(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mov", 20, codec="png", pixel_format="rgb24")
    data = bytearray(source.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 8] == b"\x89PNG\r\n\x1a\n"]
    assert len(starts) == 20
    for at in starts[5:8]:
        data[at : at + 8] = bytes(8)
    source.write_bytes(bytes(data))
    whole = write_video(tmp_path / "whole.mov", 20, codec="png", pixel_format="rgb24")
    summary = upscale_video(source, tmp_path / "out.mkv", nearest())
    assert (summary.frames, summary.damaged) == (17, 3)
    assert times_of(tmp_path / "out.mkv") == times_of(whole)[:5] + times_of(whole)[8:]


def test_the_output_is_never_the_input_nor_overwritten_unasked(clip: Path, tmp_path: Path) -> None:
    before = hashlib.sha256(clip.read_bytes()).hexdigest()
    with pytest.raises(VideoError, match="there already"):
        upscale_video(clip, clip, nearest())
    with pytest.raises(VideoError, match="is the input"):
        upscale_video(clip, clip, nearest(), overwrite=True)
    assert hashlib.sha256(clip.read_bytes()).hexdigest() == before
    (tmp_path / "out.mp4").write_text("precious")
    with pytest.raises(VideoError, match="--overwrite"):
        upscale_video(clip, tmp_path / "out.mp4", nearest())
    assert (tmp_path / "out.mp4").read_text() == "precious"


def test_the_command_upscales_and_mistakes_get_one_line(clip: Path, tmp_path: Path) -> None:
    done = command(clip, tmp_path / "out.mp4", "--engine", "nearest", "-s", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 frames of 96x72, h264 yuv420p" in done.stdout
    for arguments, words in (
        ([tmp_path / "gone.mp4", tmp_path / "a.mp4"], "gone.mp4"),
        ([clip, tmp_path / "a.xyz"], ".xyz"),
        ([clip, tmp_path / "a.mp4", "-s", "70"], "70"),
    ):
        assert_refused(command(*arguments), words)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("kind", ["mp4", "mkv", "png in mov"])
def test_mutated_videos_come_out_or_get_one_line(kind: str, tmp_path: Path) -> None:
    if kind == "mkv":
        source = write_film(tmp_path / "in.mkv", 8)
    elif kind == "mp4":
        source = write_video(tmp_path / "in.mp4", codec="libx264", pixel_format="yuv420p")
    else:
        source = write_video(tmp_path / "in.mov", codec="png", pixel_format="rgb24")
    content, randomly, out = source.read_bytes(), random.Random(kind), tmp_path / "out.mkv"
    refused = 0
    for _ in range(60):
        source.write_bytes(mutated(content, randomly))
        try:
            upscale_video(source, out, nearest(), Options(codec="ffv1", drop=True), overwrite=True)
        except VideoError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 5 < refused < 55
