"""Enlarge small pictures of a batch in one flow, so that a GPU has several under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from time import perf_counter

from superfine.errors import SuperfineError
from superfine.images.formats.frames import Frames
from superfine.images.picture import Picture
from superfine.upscaling.batch.reader import Entry
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.batch.stages import (
    LARGE,
    BatchProgress,
    Enlarged,
    Loaded,
    Outcome,
    check_format,
    failed,
    finished,
)
from superfine.upscaling.many import gains_by_many, upscale_many
from superfine.upscaling.memory import bytes_of
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler


def joins(entry: Entry, upscaler: Upscaler, target: Target) -> Upscaler | None:
    """Choose the Upscaler for a picture that gains by being enlarged together with others; None for other jobs."""
    picture = _picture(entry)
    if picture is None:
        return None
    assert isinstance(entry.loaded, Loaded)
    chosen = upscaler.of(entry.loaded.choice)
    if not gains_by_many(chosen, picture, target):
        return None
    size = chosen.plan(picture.width, picture.height, target).output
    try:
        check_format(entry.job, size)
    except SuperfineError:
        return None  # said where jobs are done one by one
    return chosen if bytes_of(picture, size) <= LARGE else None


def enlarge_together(
    entries: Iterator[Entry], upscaler: Upscaler, target: Target, settings: Settings, progress: BatchProgress
) -> Iterator[tuple[Entry, Enlarged | Outcome]]:
    """Enlarge pictures that `joins` gave this Upscaler for, in order. One that fails does so alone."""
    begun: deque[Entry] = deque()
    while True:
        try:
            for result in _enlarged(entries, begun, upscaler, target, settings, progress):
                yield begun.popleft(), result
            return
        except (MemoryError, SuperfineError) as error:
            if not begun:
                raise
            entry = begun.popleft()
            result = failed(entry.job, error)
        yield entry, result
        entries = chain(tuple(begun), entries)
        begun.clear()


def _enlarged(
    entries: Iterator[Entry],
    begun: deque[Entry],
    upscaler: Upscaler,
    target: Target,
    settings: Settings,
    progress: BatchProgress,
) -> Iterator[Enlarged | Outcome]:
    """Yield the result of each entry; the first of `begun` is the one whose result comes next."""
    waited = 0.0

    def pictures() -> Iterator[Picture]:
        nonlocal waited
        while True:
            started = perf_counter()
            entry = next(entries, None)
            waited += perf_counter() - started
            if entry is None:
                return
            begun.append(entry)
            picture = _picture(entry)
            assert picture is not None
            yield picture

    results = upscale_many(upscaler, pictures(), target, lambda share: progress(begun[0].number, share))
    while True:
        started, apart = perf_counter(), waited + upscaler.seconds_in_windows
        upscaled = next(results, None)
        if upscaled is None:
            return
        entry = begun[0]
        assert isinstance(entry.loaded, Loaded) and isinstance(entry.loaded.source, Frames)
        done = finished(entry.job, entry.loaded, entry.loaded.source, [upscaled], upscaler, target, settings)
        yield replace(done, around=perf_counter() - started - (waited + upscaler.seconds_in_windows - apart))


def _picture(entry: Entry) -> Picture | None:
    """Return the only picture of a job, if it is in memory and not large."""
    loaded = entry.loaded
    if not isinstance(loaded, Loaded) or loaded.is_large or not isinstance(loaded.source, Frames):
        return None
    return loaded.source.pictures[0] if len(loaded.source.pictures) == 1 else None
