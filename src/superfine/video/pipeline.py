"""Decode frames in one thread, enlarge them in the caller's thread and encode them in a third.

On a GPU, decoding and encoding take longer than the network, so the three run at the same time; and so does the
conversion of several frames.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeVar

import av
import numpy as np
from av.error import FFmpegError

from superfine.cores import cores
from superfine.errors import VideoError
from superfine.upscaling.in_step import PASSING, in_step
from superfine.video.colour import Floats, Plane, from_rgb, to_rgb
from superfine.video.encode import Encoding
from superfine.video.frames import make_frame
from superfine.video.pieces import BESIDE, FRAMES, Chunk, Index, Pieces
from superfine.video.sizing import Sizing
from superfine.video.source import Frame

T = TypeVar("T")

_PREFETCH = 2
"""Frames decoded in advance."""

_MOST_CONVERTED = 4
"""Frames whose colour is converted at once, each way, beside a GPU; on a CPU one is enough."""


def enlarge(frames: Iterator[Frame], pieces: Pieces, encoding: Encoding, sizing: Sizing) -> Generator[int]:
    """Enlarge `frames` and add them to the pieces; yield the number done after each frame.

    A frame that equals the one before is not computed again. On a GPU several frames may be under way. After an error
    or Ctrl-C, frames that were already enlarged are still encoded, so a piece they complete is not lost.
    """
    at_once, passing = (min(_MOST_CONVERTED, cores()), PASSING) if sizing.runs_ahead else (1, 0)
    with (
        ThreadPoolExecutor(at_once) as converters,
        closing(_prefetched(_as_rgb(frames, encoding.layout.alpha, converters), max(_PREFETCH, at_once))) as begun,
        closing(in_step(map(_converted, begun), sizing.stream, passing)) as larger,
        _Writer(pieces, encoding, at_once) as writer,
    ):
        for number, (frame, sr) in enumerate(larger, 1):
            writer.add(frame, sr)
            yield number


def _as_rgb(
    frames: Iterator[Frame], alpha: bool, converters: Executor
) -> Iterator[tuple[Frame, Future[Floats] | None]]:
    """Yield each frame, without its planes, with its RGB or RGBA, or with None if it equals the frame before.

    converters: the threads that make it.
    """
    before: list[Plane] | None = None
    for frame in frames:
        bare = replace(frame, planes=[])  # several wait while the network runs
        if before is not None and _same_planes(before, frame.planes):
            yield bare, None
            continue
        before = frame.planes
        yield bare, converters.submit(_rgb_of, frame, alpha)


def _rgb_of(frame: Frame, alpha: bool) -> Floats:
    rgb = to_rgb(frame.planes, frame.layout)
    return rgb if alpha or not frame.layout.alpha else np.ascontiguousarray(rgb[:, :, :3])


def _converted(begun: tuple[Frame, Future[Floats] | None]) -> tuple[Frame, Floats | None]:
    frame, rgb = begun
    return frame, None if rgb is None else rgb.result()


def _same_planes(a: list[Plane], b: list[Plane]) -> bool:
    """Return True if all planes are equal."""
    return len(a) == len(b) and all(p.shape == q.shape and np.array_equal(p, q) for p, q in zip(a, b, strict=True))


class _Writer:
    """A thread that encodes larger frames into pieces, and threads that convert them before."""

    def __init__(self, pieces: Pieces, encoding: Encoding, most: int) -> None:
        """most: frames that wait at most, and that are converted at once."""
        self._pieces, self._encoding, self._most = pieces, encoding, most
        self._thread, self._converters = ThreadPoolExecutor(1), ThreadPoolExecutor(most)
        self._pending: deque[Future[None]] = deque()
        self._planes: list[Plane] = []
        self._begin()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._pending.append(self._thread.submit(self._finish))
        self._thread.shutdown(wait=True)
        self._converters.shutdown(wait=True)
        if kind is None:
            self._wait(0)

    def add(self, frame: Frame, sr: Floats | None) -> None:
        """Queue the next frame; `sr` None repeats the picture before. Raises the error of an earlier frame."""
        planes = None if sr is None else self._converters.submit(from_rgb, sr, self._encoding.layout)
        self._pending.append(self._thread.submit(self._write, frame, planes))
        self._wait(self._most)

    def _wait(self, waiting: int) -> None:
        """Wait until at most `waiting` frames are queued."""
        while len(self._pending) > waiting:
            self._pending.popleft().result()

    # The methods below run in the thread.

    def _begin(self) -> None:
        """Start a new piece."""
        self._encoder: Any = None
        self._packets: list[av.Packet[Any]] = []
        self._last: Frame | None = None
        self._count = self._repeated = 0

    def _write(self, frame: Frame, planes: Future[list[Plane]] | None) -> None:
        """Encode one frame, and finish the piece if it is full."""
        if planes is None:
            self._repeated += 1
        else:
            self._planes = planes.result()
        if self._encoder is None:
            self._encoder = self._encoding.open()
        self._encode(self._encoding.label(make_frame(self._planes, self._encoding.pixel_format), frame.pts))
        self._last = frame
        self._count += 1
        if self._count == FRAMES:
            self._finish()

    def _encode(self, picture: av.VideoFrame | None) -> None:
        """Encode a frame; None flushes the encoder."""
        try:
            self._packets += self._encoder.encode(picture)
        except (FFmpegError, ValueError) as error:
            name = self._encoding.codec
            raise VideoError(f"{name} cannot write these frames ({error}): choose another --codec") from error

    def _finish(self) -> None:
        """Store the piece, if it has frames."""
        if self._last is None:
            return
        self._encode(None)
        base = self._encoding.time_base
        chunks = [Chunk(_pts(p, base), bool(p.is_keyframe), bytes(p), _alpha_of(p)) for p in self._packets if p.size]
        index = Index(
            packets=[(chunk.pts, chunk.key, len(chunk.data), len(chunk.alpha)) for chunk in chunks],
            frames=self._count,
            repeated=self._repeated,
            last_pts=self._last.pts,
            last_duration=self._last.duration,
        )
        self._pieces.add(chunks, index)
        self._begin()


def _alpha_of(packet: av.Packet[Any]) -> bytes:
    """Return what a packet carries for Matroska's BlockAdditional: VP9's alpha."""
    return bytes(packet.get_sidedata(BESIDE)) if packet.has_sidedata(BESIDE) else b""


def _pts(packet: av.Packet[Any], base: Fraction) -> int:
    """Return the packet's pts in the stream's time base (an encoder may count in its own)."""
    assert packet.pts is not None
    return round(packet.pts * packet.time_base / base) if packet.time_base else packet.pts


def _prefetched(items: Iterator[T], most: int) -> Generator[T]:
    """Yield the same items, produced in a thread up to `most` in advance. Closing it ends the thread."""
    box: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(most)
    stop = threading.Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> None:
        while not stop.is_set():
            try:
                box.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None, False))
                if stop.is_set():
                    return
            put((None, None, True))
        except BaseException as error:  # it is raised again in the consumer
            put((None, error, True))

    thread = threading.Thread(target=work, name="superfine video reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = box.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
