"""Frames on their way: decoded ahead in one thread, enlarged in the caller's, encoded in a third.

On a GPU decoding and encoding take longer than the network; so neither waits for the other.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from typing import Any, TypeVar

import av
import numpy as np
from av.error import FFmpegError

from superfine.errors import VideoError
from superfine.video.colour import Floats, Plane, from_rgb, to_rgb
from superfine.video.encode import Encoding
from superfine.video.frames import make_frame
from superfine.video.pieces import FRAMES, Chunk, Index, Pieces
from superfine.video.sizing import Sizing
from superfine.video.source import Frame

T = TypeVar("T")

_AHEAD = 2
"""Frames decoded before they are wanted."""


def enlarge(frames: Iterator[Frame], pieces: Pieces, encoding: Encoding, sizing: Sizing) -> Generator[int]:
    """Add the pieces of `frames`, enlarged; after each frame, gives how many are done.

    A frame that equals the one before is not computed again. Frames that were enlarged when an error or Ctrl-C came are
    still encoded, so a piece they complete is not lost.
    """
    with closing(_ahead(_prepared(frames, encoding.layout.alpha))) as prepared, _Writer(pieces, encoding) as writer:
        for number, (frame, rgb) in enumerate(prepared, 1):
            writer.add(frame, None if rgb is None else sizing(rgb))
            yield number


def _prepared(frames: Iterator[Frame], alpha: bool) -> Iterator[tuple[Frame, Floats | None]]:
    """Each frame with its RGB, or RGBA; None in its place if it equals the frame before."""
    before: list[Plane] | None = None
    for frame in frames:
        if before is not None and _same(before, frame.planes):
            yield frame, None
            continue
        before = frame.planes
        rgb = to_rgb(frame.planes, frame.layout)
        yield frame, rgb if alpha or not frame.layout.alpha else np.ascontiguousarray(rgb[:, :, :3])


def _same(a: list[Plane], b: list[Plane]) -> bool:
    return len(a) == len(b) and all(p.shape == q.shape and np.array_equal(p, q) for p, q in zip(a, b, strict=True))


class _Writer:
    """Larger frames → pieces, in a thread of its own; at most one frame waits there."""

    def __init__(self, pieces: Pieces, encoding: Encoding) -> None:
        self._pieces, self._encoding = pieces, encoding
        self._thread = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()
        self._planes: list[Plane] = []
        self._begin()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._pending.append(self._thread.submit(self._finish))
        self._thread.shutdown(wait=True)
        if kind is None:
            self._settle(0)

    def add(self, frame: Frame, sr: Floats | None) -> None:
        """The next frame; `sr` None: the picture before once more. Raises what went wrong with an earlier one."""
        self._pending.append(self._thread.submit(self._write, frame, sr))
        self._settle(1)

    def _settle(self, waiting: int) -> None:
        while len(self._pending) > waiting:
            self._pending.popleft().result()

    # What follows runs in the thread.

    def _begin(self) -> None:
        self._encoder: Any = None
        self._packets: list[av.Packet[Any]] = []
        self._last: Frame | None = None
        self._count = self._repeated = 0

    def _write(self, frame: Frame, sr: Floats | None) -> None:
        if sr is None:
            self._repeated += 1
        else:
            self._planes = from_rgb(sr, self._encoding.layout)
        if self._encoder is None:
            self._encoder = self._encoding.open()
        self._encode(self._encoding.dress(make_frame(self._planes, self._encoding.pixel_format), frame.pts))
        self._last = frame
        self._count += 1
        if self._count == FRAMES:
            self._finish()

    def _encode(self, picture: av.VideoFrame | None) -> None:
        try:
            self._packets += self._encoder.encode(picture)
        except (FFmpegError, ValueError) as error:
            name = self._encoding.codec
            raise VideoError(f"{name} cannot write these frames ({error}): choose another --codec") from error

    def _finish(self) -> None:
        """Close the piece, if it was begun."""
        if self._last is None:
            return
        self._encode(None)
        base = self._encoding.time_base
        chunks = [Chunk(_pts(p, base), bool(p.is_keyframe), bytes(p)) for p in self._packets if p.size]
        index = Index(
            packets=[(chunk.pts, chunk.key, len(chunk.data)) for chunk in chunks],
            frames=self._count,
            repeated=self._repeated,
            last_pts=self._last.pts,
            last_duration=self._last.duration,
        )
        self._pieces.add(chunks, index)
        self._begin()


def _pts(packet: av.Packet[Any], base: Fraction) -> int:
    """The packet's pts in the stream's time base (an encoder may count in its own)."""
    assert packet.pts is not None
    return round(packet.pts * packet.time_base / base) if packet.time_base else packet.pts


def _ahead(items: Iterator[T]) -> Generator[T]:
    """The same items, made in a thread up to _AHEAD before they are wanted. Closing it ends the thread."""
    box: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(_AHEAD)
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
        except BaseException as error:  # it is raised again where the items are wanted
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
