"""superfine video: any size, as for pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processes import assert_refused
from superfine.errors import PlanError
from superfine.images.picture import Picture
from superfine.upscaling import TiledUpscaler, Upscaler
from superfine.upscaling.plan import Target

av = pytest.importorskip("av")
from superfine.video import Options, upscale_video  # noqa: E402
from superfine.video.colour import from_rgb, to_rgb  # noqa: E402
from superfine.video.pieces import FRAMES  # noqa: E402
from superfine.video.source import Source  # noqa: E402
from video_files import Counting, command, decoded, packets_of, times_of, write_video  # noqa: E402


def size_of(path: Path) -> tuple[int, int]:
    with Source(path) as source:
        return source.width, source.height


@pytest.mark.parametrize(
    ("target", "size"),
    [
        (Target(scale=Fraction(3, 2)), (48, 36)),
        (Target(scale=Fraction(5)), (160, 120)),
        (Target(height=66), (88, 66)),
        (Target(width=100), (100, 74)),  # 75 would be odd
        (Target(height=99), (132, 99)),  # asked for
        (Target(long_edge=63), (63, 46)),
        (Target(short_edge=100), (132, 100)),
        (Target(pixels=10_000), (114, 86)),  # 115 x 87
        (Target(size=(81, 81)), (81, 60)),
        (Target(size=(81, 81), fit="cover"), (81, 81)),
        (Target(size=(81, 33), fit="stretch"), (81, 33)),
        (Target(scale=Fraction(1, 2)), (16, 12)),
    ],
)
def test_frames_take_the_size_named_and_even_sides_where_chroma_wants_them(
    target: Target, size: tuple[int, int], tmp_path: Path
) -> None:
    source = write_video(tmp_path / "in.mkv", 3, pixel_format="yuv420p")
    upscale_video(source, tmp_path / "out.mkv", Upscaler(engine="nearest"), Options(codec="ffv1"), target=target)
    assert size_of(tmp_path / "out.mkv") == size
    assert times_of(tmp_path / "out.mkv") == times_of(source)


def test_full_chroma_takes_any_size(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", 2, pixel_format="yuv444p")
    target = Target(width=100)
    upscale_video(source, tmp_path / "out.mkv", Upscaler(engine="nearest"), Options(codec="ffv1"), target=target)
    assert size_of(tmp_path / "out.mkv") == (100, 75)


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv444p10le", "yuva444p"])
@pytest.mark.parametrize("target", [Target(scale=Fraction(5, 2)), Target(size=(90, 90), fit="cover")])
def test_frames_are_what_the_upscaler_makes_of_them(pixel_format: str, target: Target, tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "in.mkv", 3, pixel_format=pixel_format), tmp_path / "out.mkv"
    upscaler = Upscaler(engine="nearest")
    upscale_video(source, out, upscaler, Options(codec="ffv1", pixel_format=pixel_format), target=target)
    for before, after in zip(decoded(source), decoded(out), strict=True):
        rgb = to_rgb(before.planes, before.layout)
        larger = upscaler.upscale_picture(Picture(np.ascontiguousarray(rgb[:, :, :3])), target).picture.pixels
        if before.layout.alpha:
            alpha = upscaler.upscale_picture(Picture(np.ascontiguousarray(rgb[:, :, 3:])), target).picture.pixels
            larger = np.dstack([larger, alpha])
        for ours, theirs in zip(from_rgb(larger, before.layout), after.planes, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_width_is_what_a_viewer_sees_of_a_turned_video(tmp_path: Path) -> None:
    def turned(stream: Any) -> None:
        stream.set_display_rotation(90)

    source = write_video(tmp_path / "in.mp4", 2, codec="libx264", pixel_format="yuv420p", prepare=turned)
    upscale_video(source, tmp_path / "out.mp4", Upscaler(engine="nearest"), target=Target(width=48))
    with Source(tmp_path / "out.mp4") as out:
        assert (out.width, out.height) == (64, 48)  # lying on its side
        assert out.is_turned()


def test_an_interrupted_run_goes_on_for_the_same_size_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_video(tmp_path / "in.mkv", 2 * FRAMES, codec="libx264", pixel_format="yuv420p")
    half, other = Target(scale=Fraction(3, 2)), Target(scale=Fraction(7, 4))

    def upscaler(most: int | None) -> Upscaler:
        made = Upscaler(engine="nearest")
        monkeypatch.setattr(made, "tiled", lambda scale: TiledUpscaler(Counting(scale, most)))
        return made

    for out, again, resumed in (("a.mkv", half, FRAMES), ("b.mkv", other, 0)):
        with pytest.raises(KeyboardInterrupt):
            upscale_video(source, tmp_path / out, upscaler(FRAMES + 9), target=half)
        assert upscale_video(source, tmp_path / out, upscaler(None), target=again).resumed == resumed
    upscale_video(source, tmp_path / "whole.mkv", upscaler(None), target=half)
    assert packets_of(tmp_path / "a.mkv", "video") == packets_of(tmp_path / "whole.mkv", "video")


def test_a_size_out_of_reach_is_refused(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", 1)
    with pytest.raises(PlanError):
        upscale_video(source, tmp_path / "out.mkv", Upscaler(engine="nearest"), target=Target(scale=Fraction(99)))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_the_command_takes_the_sizes_of_superfine_upscale(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "in.mp4", codec="libx264", pixel_format="yuv420p")
    done = command(clip, tmp_path / "a.mp4", "--engine", "nearest", "--height", "66")
    assert (done.returncode, done.stderr) == (0, "") and "6 frames of 88x66, h264 yuv420p" in done.stdout
    done = command(clip, tmp_path / "b.mp4", "--engine", "nearest", "-s", "1.5", "--overwrite")
    assert done.returncode == 0 and "of 48x36" in done.stdout
    for wish, words in (
        (["-s", "0"], "0"),
        (["-s", "2", "--width", "9"], "width"),
        (["--size", "big"], "big"),
        (["-s", "99"], "99"),
        (["--fit", "wrong"], "wrong"),
    ):
        assert_refused(command(clip, tmp_path / "c.mp4", "--engine", "nearest", *wish), words)
