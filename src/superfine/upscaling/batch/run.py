"""Run jobs one after the other, from file to file; on a GPU several small ones at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial

from superfine.cores import cores
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.journal import Journal
from superfine.upscaling.batch.reader import Entry, Reader
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.batch.stages import (
    LARGE,
    BatchProgress,
    Enlarged,
    Loaded,
    Outcome,
    enlarge,
    load,
    store,
)
from superfine.upscaling.batch.together import enlarge_together, joins
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler

_MOST_FILES = 8
"""Small files that are read, and as many that are written, at once beside a network that runs ahead."""


def run_jobs(
    jobs: Iterable[Job],
    upscaler: Upscaler,
    target: Target,
    settings: Settings,
    journal: Journal | None = None,
    progress: BatchProgress | None = None,
) -> Iterator[Outcome]:
    """Run the jobs in order; yield an Outcome of each as it ends.

    The next picture is read, and the last result written, while the network runs: on a GPU that is most of
    the time there is, so several small pictures are read, enlarged and written at once there. No SuperfineError leaves
    this function.
    """

    def report(number: int, share: float) -> None:
        if progress is not None:
            progress(number, share)

    files = min(_MOST_FILES, cores())
    with ThreadPoolExecutor(files) as readers, ThreadPoolExecutor(files) as writers:
        reader = Reader(jobs, lambda job: load(job, upscaler, settings, journal), readers)
        writing = _Writing(lambda job, result: store(job, result, settings, journal), writers)
        while (entry := reader.take()) is not None:
            job, loaded, number = entry.job, entry.loaded, entry.number
            chosen = joins(entry, upscaler, target)
            if chosen is not None:
                reader.ahead = writing.most = files
                like = _run_of(entry, reader, chosen, upscaler, target)
                for each, result in enlarge_together(like, chosen, target, settings, report):
                    yield from writing.add(each.job, result)
                continue
            # A large picture is alone in memory.
            alone = isinstance(loaded, Loaded) and (upscaler.memory is not None or loaded.is_large)
            if alone:
                yield from writing.end()
            else:
                reader.fill()
            done = (
                loaded
                if isinstance(loaded, Outcome)
                else enlarge(job, loaded, upscaler, target, settings, partial(report, number))
            )
            if isinstance(done, Enlarged) and (alone or done.is_large):
                yield from writing.end()
                # Here, where Ctrl-C reaches it: the network may run in it.
                yield store(job, done, settings, journal)
            else:
                yield from writing.add(job, done)
            del loaded, done, entry
        yield from writing.end()


def _run_of(first: Entry, reader: Reader, chosen: Upscaler, upscaler: Upscaler, target: Target) -> Iterator[Entry]:
    """Yield a first entry and those that follow as long as they join it; the next is being read meanwhile."""
    entry: Entry | None = first
    while entry is not None:
        reader.fill()
        yield entry
        following = reader.peek()
        like = following is not None and joins(following, upscaler, target) is chosen
        entry = reader.take() if like else None


class _Writing:
    """Results being written in threads; Outcomes come in the order in which results were added."""

    def __init__(self, store: Callable[[Job, Enlarged | Outcome], Outcome], pool: Executor) -> None:
        self._store, self._pool = store, pool
        self._pending: deque[tuple[int, Future[Outcome]]] = deque()
        self.most = 1
        """Results that are written at once, as long as they are small together."""

    def add(self, job: Job, result: Enlarged | Outcome) -> Iterator[Outcome]:
        """Begin to write a result; yield the Outcomes of earlier ones for which there is no more room."""
        size = result.bytes if isinstance(result, Enlarged) else 0
        while self._pending and (len(self._pending) >= self.most or self._bytes + size > LARGE):
            yield self._pending.popleft()[1].result()
        self._pending.append((size, self._pool.submit(self._store, job, result)))

    def end(self) -> Iterator[Outcome]:
        """Wait for all that is being written."""
        while self._pending:
            yield self._pending.popleft()[1].result()

    @property
    def _bytes(self) -> int:
        return sum(size for size, _ in self._pending)
