"""superfine video: frames through the Upscaler, everything else as it was, and nothing lost to an interruption."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import superfine
from mutation import mutated
from superfine.engines.nearest import NearestEngine
from superfine.errors import VideoError
from superfine.images.resize import downscale, resize
from superfine.quality.metrics import psnr
from superfine.upscale import Upscaler

av = pytest.importorskip("av")
from superfine.video import Options, upscale_video  # noqa: E402
from superfine.video.colour import Layout, from_rgb, to_rgb  # noqa: E402
from superfine.video.frames import make_frame  # noqa: E402
from superfine.video.pieces import FRAMES, work_folder  # noqa: E402
from superfine.video.source import Source  # noqa: E402

MS = Fraction(1, 1000)


class Counting(NearestEngine):
    """The weightless engine, counting its runs; after `most` of them the user presses Ctrl-C."""

    def __init__(self, scale: int, most: int | None = None) -> None:
        super().__init__(scale)
        self.runs, self.most = 0, most

    def run(self, tile: np.ndarray) -> np.ndarray:
        if self.runs == self.most:
            raise KeyboardInterrupt
        self.runs += 1
        return super().run(tile)


def nearest(scale: int = 2) -> Upscaler:
    return Upscaler(engine=NearestEngine(scale))


def picture(i: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth picture that moves, HWC uint8; no value is near the ends, where rounded YUV may be no colour at all."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((3 * x + 5 * i) / 20), np.sin((4 * y + i) / 15 + 2), np.sin((2 * x + 2 * y) / 25 + 4)]
    return np.rint(128 + 60 * np.stack(waves, -1)).astype(np.uint8)


def write_video(
    path: Path,
    frames: int = 6,
    *,
    codec: str = "ffv1",
    pixel_format: str = "yuv444p",
    size: tuple[int, int] = (24, 32),
    times: list[int] | None = None,
    same: int = 1,
    prepare: Callable[[Any], None] = lambda stream: None,
    mark: Callable[[Any], None] = lambda frame: None,
    options: dict[str, str] | None = None,
) -> Path:
    """A small real video; `times` in milliseconds; every picture `same` times over."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, time_base=MS, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        prepare(stream)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i // same, *size), "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = (times[i] if times else 40 * i), MS
            mark(frame)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decoded(path: Path) -> list[Any]:
    with Source(path) as source:
        return list(source.frames(deinterlace=False))


def times_of(path: Path) -> list[Fraction]:
    with Source(path) as source:
        return [frame.pts * source.time_base for frame in source.frames(deinterlace=False)]


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(*streams) if p.size and p.pts is not None]


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "superfine", "video", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True)


# ---- the pictures


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(
    "pixel_format",
    ["yuv444p", "gray", "yuv444p10le", "yuv444p12le", "gray10le", "gbrp10le", "gbrp16le", "bgr0", "yuva444p"],
)
def test_every_pixel_of_every_frame_arrives_in_its_own_bit_depth(pixel_format: str, scale: int, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", pixel_format=pixel_format)
    summary = upscale_video(source, tmp_path / "out.mkv", nearest(scale), Options(codec="ffv1"))
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
    upscaler = Upscaler("esrgcnn", 2)
    summary = upscale_video(source, tmp_path / "out.mkv", upscaler, Options(codec="ffv1"))
    for old, new in zip(decoded(source), decoded(tmp_path / "out.mkv"), strict=True):
        wanted = from_rgb(upscaler(to_rgb(old.planes, old.layout)), summary.encoding.layout)
        assert all(np.array_equal(a, b) for a, b in zip(wanted, new.planes, strict=True))


def test_gray_pictures_in_colour_video_stay_gray(tmp_path: Path) -> None:
    def gray(frame: Any) -> None:
        for plane in frame.planes[1:]:
            np.frombuffer(memoryview(plane), np.uint8)[:] = 128

    source = write_video(tmp_path / "in.mkv", 2, pixel_format="yuv420p", mark=gray)
    upscale_video(source, tmp_path / "out.mkv", Upscaler("esrgcnn", 2), Options(codec="ffv1"))
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
    upscale_video(tmp_path / "in.mkv", tmp_path / "out.mkv", Upscaler("esrgcnn", 2), Options(quality=1))
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
    upscale_video(source, tmp_path / "out.mp4", nearest(3), Options(preset="ultrafast"))
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


# ---- the other streams


def write_film(path: Path, frames: int = 30) -> Path:
    """Video, two sound tracks, subtitles, chapters, tags and an attached font, as films have them."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "A film"
        video = container.add_stream("libx264", rate=25, time_base=MS)
        video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
        sounds = [container.add_stream("aac", rate=44100), container.add_stream("flac", rate=44100)]
        for sound, language in zip(sounds, ("eng", "deu"), strict=True):
            sound.metadata["language"] = language
        sounds[1].disposition = av.stream.Disposition.comment
        words = container.add_mux_stream("subrip", time_base=MS)
        words.metadata["language"] = "fra"
        container.add_attachment("font.ttf", "font/ttf", b"not really a font")
        container.set_chapters(
            [
                {"id": 1, "start": 0, "end": 500, "time_base": MS, "metadata": {"title": "One"}},
                {"id": 2, "start": 500, "end": 1200, "time_base": MS, "metadata": {"title": "Two"}},
            ]
        )
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = 40 * i, MS
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for sound in sounds:
            for i in range(frames):
                wave = (8000 * np.sin(np.arange(1024 * i, 1024 * (i + 1)) / 20)).astype(np.int16)[None]
                samples = av.AudioFrame.from_ndarray(wave, "s16", "mono")
                samples.sample_rate, samples.pts = 44100, 1024 * i
                container.mux(sound.encode(samples))
            container.mux(sound.encode(None))
        for i, text in enumerate(["Hello", "world"]):
            packet = av.Packet(text.encode())
            packet.pts = packet.dts = 400 * i
            packet.duration, packet.time_base, packet.stream = 300, MS, words
            container.mux(packet)
    return path


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


# ---- interruptions


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
    command = [sys.executable, "-m", "superfine", "video", str(source), str(out), "--engine", "nearest", "-s", "4"]
    for pieces in (1, 2, 3):  # there are seven: a kill after this many leaves work to do
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while process.poll() is None and len(list(work_folder(out).glob("*.piece"))) < pieces:
            time.sleep(0.002)
        time.sleep(randomly.random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "frames were there from an earlier run" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]
    upscale_video(source, tmp_path / "whole.mkv", nearest(4))
    assert content(out) == content(tmp_path / "whole.mkv")
    assert times_of(out) == times_of(source)


# ---- interlaced


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


# ---- mistakes


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
    for arguments in (
        [tmp_path / "gone.mp4", tmp_path / "a.mp4"],
        [clip, tmp_path / "a.xyz"],
        [clip, "out.mp4", "-s", "7"],
    ):
        done = command(*arguments)
        assert done.returncode == 2
        assert done.stdout == "" and done.stderr.count("\n") == 1
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
