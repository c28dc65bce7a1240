"""Run jobs one after the other, from file to file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.journal import Journal
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.batch.stages import Enlarged, Loaded, Outcome, enlarge, load, store
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler

BatchProgress = Callable[[int, float], None]
"""Called with the number of a job, from 0, and the share of it that is done, 0..1."""


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
    the time there is. No SuperfineError leaves this function.
    """
    waiting = iter(jobs)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:

        def read_next() -> tuple[Job, Future[Loaded | Outcome]] | None:
            job = next(waiting, None)
            return None if job is None else (job, reader.submit(load, job, upscaler, settings, journal))

        ahead = read_next()
        writing: Future[Outcome] | None = None
        number = 0
        while ahead is not None:
            job, loaded = ahead[0], ahead[1].result()
            # A large picture is alone in memory.
            alone = isinstance(loaded, Loaded) and (upscaler.memory is not None or loaded.is_large)
            ahead = None if alone else read_next()
            if alone and writing is not None:
                yield writing.result()
                writing = None

            def report(share: float, number: int = number) -> None:
                if progress is not None:
                    progress(number, share)

            result = loaded if isinstance(loaded, Outcome) else enlarge(job, loaded, upscaler, target, settings, report)
            if writing is not None:
                yield writing.result()
                writing = None
            if isinstance(result, Enlarged) and (alone or result.is_large):
                # Here, where Ctrl-C reaches it: the network may run in it.
                yield store(job, result, settings, journal)
            else:
                writing = writer.submit(store, job, result, settings, journal)
            del loaded, result
            number += 1
            if alone:
                ahead = read_next()
        if writing is not None:
            yield writing.result()
