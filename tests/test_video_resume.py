"""superfine video: nothing is lost to an interruption, a kill or a damaged piece."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import pytest

from processes import slow_superfine, superfine
from superfine.upscaling import Upscaler
from superfine.upscaling.plan import make_target

av = pytest.importorskip("av")
from superfine.video import Options, upscale_video  # noqa: E402
from superfine.video.pieces import FRAMES, work_folder  # noqa: E402
from video_files import Counting, decoded, nearest, packets_of, times_of, write_video  # noqa: E402


def content(path: Path) -> list[tuple[Fraction, bytes]]:
    return packets_of(path, "video")


def test_a_run_interrupted_anywhere_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    total = 3 * FRAMES + 7
    source = write_video(tmp_path / "in.mp4", total, codec="libx264", pixel_format="yuv420p", options={"g": "30"})
    upscale_video(source, tmp_path / "whole.mp4", nearest(), Options(codec="h264", preset="fast"))
    for most in (0, 1, FRAMES, 2 * FRAMES - 1, 3 * FRAMES + 5):
        out = tmp_path / f"out{most}.mp4"
        with pytest.raises(KeyboardInterrupt):
            upscale_video(source, out, Upscaler(engine=Counting(2, most)), Options(codec="h264", preset="fast"))
        assert not out.exists()
        engine = Counting(2)
        summary = upscale_video(source, out, Upscaler(engine=engine), Options(codec="h264", preset="fast"))
        assert summary.resumed == most // FRAMES * FRAMES
        assert engine.runs == total - summary.resumed
        assert content(out) == content(tmp_path / "whole.mp4")
        assert not work_folder(out).exists()


def interrupted(source: Path, out: Path, options: Options) -> None:
    with pytest.raises(KeyboardInterrupt):
        upscale_video(source, out, Upscaler(engine=Counting(2, FRAMES + 3)), options)


def test_other_wishes_or_another_input_begin_anew(tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "in.mkv", FRAMES + 10), tmp_path / "out.mkv"
    interrupted(source, out, Options(codec="ffv1"))
    assert upscale_video(source, out, nearest(), Options(codec="h264")).resumed == 0
    out.unlink()
    interrupted(source, out, Options(codec="ffv1"))
    write_video(source, FRAMES + 10, same=2)
    assert upscale_video(source, out, nearest(), Options(codec="ffv1")).resumed == 0
    out.unlink()
    write_video(source, FRAMES + 10)
    interrupted(source, out, Options(codec="ffv1"))
    assert upscale_video(source, out, nearest(), Options(codec="ffv1", restart=True)).resumed == 0


def test_a_damaged_piece_is_made_again(tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "in.mkv", FRAMES + 10), tmp_path / "out.mkv"
    interrupted(source, out, Options(codec="ffv1"))
    piece = next(work_folder(out).glob("*.piece"))
    piece.write_bytes(piece.read_bytes()[:-30])
    assert upscale_video(source, out, nearest(), Options(codec="ffv1")).resumed == 0
    assert len(decoded(out)) == FRAMES + 10


def test_killed_at_random_moments_a_process_ends_with_the_same_video(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", 6 * FRAMES, codec="libx264", pixel_format="yuv420p")
    out, randomly = tmp_path / "out.mkv", random.Random(5)
    arguments = ("video", str(source), str(out), "--engine", "nearest", "-s", "4")
    for pieces in (1, 2, 3):  # there are seven: a kill after this many leaves work to do
        process = subprocess.Popen(
            [*slow_superfine(0.004), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while process.poll() is None and len(list(work_folder(out).glob("*.piece"))) < pieces:
            time.sleep(0.002)
        time.sleep(randomly.random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    done = superfine(*arguments)
    assert done.returncode == 0 and "frames were there from an earlier run" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]
    upscale_video(source, tmp_path / "whole.mkv", nearest(4), target=make_target(4))
    assert content(out) == content(tmp_path / "whole.mkv")
    assert times_of(out) == times_of(source)
