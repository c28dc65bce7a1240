"""superfine video: every pixel of every frame, its time and its colour, as they were."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import superfine
from superfine.images.resize import downscale, resize
from superfine.quality.metrics import psnr
from superfine.upscaling import Upscaler
from superfine.upscaling.plan import make_target

av = pytest.importorskip("av")
from superfine.video import Options, upscale_video  # noqa: E402
from superfine.video.colour import Layout, from_rgb, to_rgb  # noqa: E402
from superfine.video.frames import make_frame  # noqa: E402
from superfine.video.pieces import FRAMES  # noqa: E402
from superfine.video.source import Source  # noqa: E402
from video_files import MS, Counting, decoded, nearest, times_of, write_video  # noqa: E402

# ---- the pictures


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(
    "pixel_format",
    ["yuv444p", "gray", "yuv444p10le", "yuv444p12le", "gray10le", "gbrp10le", "gbrp16le", "bgr0", "yuva444p"],
)
def test_every_pixel_of_every_frame_arrives_in_its_own_bit_depth(pixel_format: str, scale: int, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", pixel_format=pixel_format)
    summary = upscale_video(
        source, tmp_path / "out.mkv", nearest(scale), Options(codec="ffv1"), target=make_target(scale)
    )
    before, after = decoded(source), decoded(tmp_path / "out.mkv")
    assert summary.encoding.pixel_format == pixel_format
    assert len(after) == summary.frames == 6
    for old, new in zip(before, after, strict=True):
        assert new.layout.bits == old.layout.bits
        for a, b in zip(old.planes, new.planes, strict=True):
            assert np.array_equal(a.repeat(scale, 0).repeat(scale, 1), b)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv420p10le", "nv12", "yuyv422", "rgb24"])
def test_frames_are_what_the_upscaler_makes_of_them(pixel_format: str, tmp_path: Path) -> None:
    codec = "rawvideo" if pixel_format in ("nv12", "yuyv422", "rgb24") else "ffv1"
    source = write_video(tmp_path / "in.nut", 2, codec=codec, pixel_format=pixel_format)
    upscaler = Upscaler("esrgcnn")
    summary = upscale_video(source, tmp_path / "out.mkv", upscaler, Options(codec="ffv1"))
    for old, new in zip(decoded(source), decoded(tmp_path / "out.mkv"), strict=True):
        wanted = from_rgb(upscaler(to_rgb(old.planes, old.layout), 2), summary.encoding.layout)
        assert all(np.array_equal(a, b) for a, b in zip(wanted, new.planes, strict=True))


def test_gray_pictures_in_colour_video_stay_gray(tmp_path: Path) -> None:
    def gray(frame: Any) -> None:
        for plane in frame.planes[1:]:
            np.frombuffer(memoryview(plane), np.uint8)[:] = 128

    source = write_video(tmp_path / "in.mkv", 2, pixel_format="yuv420p", mark=gray)
    upscale_video(source, tmp_path / "out.mkv", Upscaler("esrgcnn"), Options(codec="ffv1"))
    assert all((plane == 128).all() for frame in decoded(tmp_path / "out.mkv") for plane in frame.planes[1:])


def test_repeated_frames_cost_nothing(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", 12, same=4)
    engine = Counting(2)
    summary = upscale_video(source, tmp_path / "out.mkv", Upscaler(engine=engine), Options(codec="ffv1"))
    assert engine.runs == 3
    assert (summary.frames, summary.repeated) == (12, 9)
    pictures = [frame.planes[0].tobytes() for frame in decoded(tmp_path / "out.mkv")]
    assert [pictures.index(each) for each in pictures] == [0] * 4 + [4] * 4 + [8] * 4


def test_a_real_clip_gains_over_bicubic(tmp_path: Path) -> None:
    with Image.open(next((Path(superfine.__file__).parent / "demo").glob("*.jpg"))) as image:
        photograph = np.asarray(image.convert("RGB"))
    layout = Layout("yuv", 8, 2, 2)
    panned = [photograph[100 + 2 * i : 228 + 2 * i, 200 + 4 * i : 392 + 4 * i] for i in range(2)]
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, time_base=MS, options={"crf": "1"})
        stream.width, stream.height, stream.codec_context.colorspace = 96, 64, 1
        for i, hr in enumerate(panned):
            frame = make_frame(from_rgb(downscale(hr, 2).astype(np.float32) / 255, layout), "yuv420p")
            frame.pts, frame.time_base = 40 * i, MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    upscale_video(tmp_path / "in.mkv", tmp_path / "out.mkv", Upscaler("esrgcnn"), Options(quality=1))
    for hr, lr, sr in zip(panned, decoded(tmp_path / "in.mkv"), decoded(tmp_path / "out.mkv"), strict=True):
        wanted = from_rgb(hr.astype(np.float32) / 255, layout)
        bicubic = from_rgb(np.clip(resize(to_rgb(lr.planes, lr.layout), (128, 192), "bicubic"), 0, 1), layout)
        gains = [psnr(a[8:-8, 8:-8], b[8:-8, 8:-8]) for a, b in ((sr.planes[0], wanted[0]), (bicubic[0], wanted[0]))]
        assert gains[0] > gains[1] + 1
        # chroma lies where it lay: moved by a sample to any side it would fit worse
        kept = psnr(sr.planes[2][8:-8, 8:-8], wanted[2][8:-8, 8:-8])
        for step, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            assert kept > psnr(np.roll(sr.planes[2], step, axis)[8:-8, 8:-8], wanted[2][8:-8, 8:-8]) + 0.5


# ---- time


@pytest.mark.parametrize("ending", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_variable_frame_rates_keep_their_time_stamps(codec: str, ending: str, tmp_path: Path) -> None:
    randomly = random.Random(3)
    times = [0]
    for _ in range(FRAMES + 20):  # over more than one piece
        times.append(times[-1] + randomly.choice([7, 40, 41, 200]))
    source = write_video(tmp_path / f"in{ending}", len(times), codec="libx264", pixel_format="yuv420p", times=times)
    upscale_video(source, tmp_path / f"out{ending}", nearest(), Options(codec=codec, preset="ultrafast"))
    assert [round(t * 1000) for t in times_of(source)] == times
    assert times_of(tmp_path / f"out{ending}") == times_of(source)


def test_a_video_that_starts_late_still_does(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", 4, times=[1500, 1540, 1600, 1700])
    upscale_video(source, tmp_path / "out.mkv", nearest(), Options(codec="h264"))
    assert times_of(tmp_path / "out.mkv") == [t * MS for t in (1500, 1540, 1600, 1700)]


def test_decoding_times_rise_and_never_pass_their_frames(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", 2 * FRAMES + 5, codec="libx264", pixel_format="yuv420p")
    upscale_video(source, tmp_path / "out.mp4", nearest(), Options(codec="h264"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    dts = [p.dts for p in packets]
    assert sorted(set(dts)) == dts
    assert all(p.dts <= p.pts for p in packets)
    assert any(p.dts < p.pts for p in packets)  # there are B frames, so the order is not trivial
    assert sum(p.is_keyframe for p in packets) >= 3


# ---- colour


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
@pytest.mark.parametrize(("matrix", "full"), [(1, False), (1, True), (6, False), (9, False)])
def test_range_matrix_and_tags_are_kept(codec: str, matrix: int, full: bool, tmp_path: Path) -> None:
    def tags(stream: Any) -> None:
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        stream.codec_context.color_primaries, stream.codec_context.color_trc = 9, 14

    source = write_video(
        tmp_path / "in.mkv",
        3,
        codec="libx264",
        pixel_format="yuv420p",
        size=(64, 64),
        prepare=tags,
        options={"crf": "4"},
    )
    upscale_video(source, tmp_path / "out.mkv", nearest(), Options(codec=codec, quality=4))
    with Source(source) as old, Source(tmp_path / "out.mkv") as new:
        assert new.colour == old.colour
        assert (new.colour.matrix, new.colour.full, new.colour.primaries, new.colour.transfer) == (matrix, full, 9, 14)
    for a, b in zip(decoded(source), decoded(tmp_path / "out.mkv"), strict=True):
        drift = to_rgb(b.planes, b.layout).mean(axis=(0, 1)) - to_rgb(a.planes, a.layout).mean(axis=(0, 1))
        assert np.abs(drift).max() < 1 / 255


def test_small_video_without_a_matrix_is_not_taken_for_hd_when_it_is_large(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", 1, codec="libx264", pixel_format="yuv420p", size=(400, 64))
    upscale_video(source, tmp_path / "out.mp4", nearest(3), Options(preset="ultrafast"), target=make_target(3))
    with Source(tmp_path / "out.mp4") as new:
        assert (new.height, new.colour.matrix) == (1200, 6)


@pytest.mark.parametrize(("codec", "suffix"), [(None, ".mp4"), ("hevc", ".mkv"), ("av1", ".mkv"), ("av1", ".webm")])
def test_ten_bit_hdr_keeps_its_depth_tags_and_mastering_display(
    codec: str | None, suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def tags(stream: Any) -> None:
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, 16, 1
        display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
        context.options = {"x265-params": f"log-level=error:hdr10=1:master-display={display}:max-cll=1000,400"}

    source = write_video(
        tmp_path / "in.mp4", 3, codec="libx265", pixel_format="yuv420p10le", size=(64, 64), prepare=tags
    )
    capfd.readouterr()
    summary = upscale_video(source, tmp_path / f"out{suffix}", nearest(), Options(codec=codec))
    assert capfd.readouterr() == ("", "")  # encoders like to talk
    assert (summary.encoding.codec, summary.encoding.pixel_format) == (codec or "hevc", "yuv420p10le")
    with Source(source) as old, Source(tmp_path / f"out{suffix}") as new:
        assert new.colour == old.colour and new.colour.is_hdr
        (display, level), (new_display, new_level) = old.light(), new.light()
        assert display is not None and new_display is not None
        assert new_level == level is not None
        # fractions, two numbers each; AV1 stores them in binary, to 16 places
        assert fractions(new_display) == pytest.approx(fractions(display), abs=2**-14)


def fractions(data: bytes) -> list[float]:
    numbers = struct.unpack_from("<20i", data)
    return [a / b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]


def test_pixel_shape_and_turn_are_kept(tmp_path: Path) -> None:
    def turned(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        stream.set_display_rotation(90)

    source = write_video(tmp_path / "in.mp4", 2, codec="libx264", pixel_format="yuv420p", prepare=turned)
    upscale_video(source, tmp_path / "out.mp4", nearest())
    with Source(source) as old, Source(tmp_path / "out.mp4") as new:
        assert new.stream.sample_aspect_ratio == Fraction(16, 15)
        assert new.display_matrix() == old.display_matrix() is not None
