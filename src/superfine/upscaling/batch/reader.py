"""Load the jobs of a batch in order, some of them while others are in hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from superfine.images.files import DEFAULT_MAX_PIXELS, open_header
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.source import MIN_PIXELS_BY_ROWS
from superfine.upscaling.batch.stages import Loaded, Outcome


@dataclass(frozen=True)
class Entry:
    """A job after its first stage, and its number in the batch, from 0."""

    number: int
    job: Job
    loaded: Loaded | Outcome


class Reader:
    """Jobs being loaded in threads.

    One is loaded ahead, or several small ones if `ahead` says so: large ones must not gather in memory.
    """

    def __init__(self, jobs: Iterable[Job], load: Callable[[Job], Loaded | Outcome], pool: Executor) -> None:
        self._jobs, self._load, self._pool = iter(jobs), load, pool
        self._loading: deque[tuple[Job, Future[Loaded | Outcome]]] = deque()
        self._held: Job | None = None
        self._taken = 0
        self.ahead = 1

    def fill(self) -> None:
        """Begin to load what may be loaded now."""
        while len(self._loading) < self.ahead:
            job = self._held or next(self._jobs, None)
            self._held = None
            if job is None:
                return
            if self._loading and not _is_small(job):
                self._held = job
                return
            self._loading.append((job, self._pool.submit(self._load, job)))

    def peek(self) -> Entry | None:
        """Wait for the next job; None behind the last."""
        if not self._loading:
            self.fill()
        if not self._loading:
            return None
        job, future = self._loading[0]
        return Entry(self._taken, job, future.result())

    def take(self) -> Entry | None:
        """Wait for the next job, and take it out; `fill` has another loaded in its place."""
        entry = self.peek()
        if entry is not None:
            self._loading.popleft()
            self._taken += 1
        return entry


def _is_small(job: Job) -> bool:
    """Say if a source has few pixels, by its header; False if that cannot be read."""
    if job.source is None:
        return False
    try:
        with open_header(job.source, DEFAULT_MAX_PIXELS) as image:
            width, height = image.size
            return width * height < MIN_PIXELS_BY_ROWS
    except Exception:  # whoever reads the file says what is wrong with it
        return False
