"""Small real videos, made here, and what is in the results."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from processes import superfine
from superfine.engines.nearest import NearestEngine
from superfine.upscaling import Upscaler
from superfine.video.source import Source

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
    return superfine("video", *arguments)


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
