"""Share a batch between several devices: each takes the next picture when it is free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.journal import Journal
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.batch.stages import BatchProgress, Outcome
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler

_WAIT = 0.2
"""Seconds between two looks at the signals: Windows delivers Ctrl-C to no thread that waits for ever."""


def share_jobs(
    jobs: Sequence[Job],
    upscalers: Sequence[Upscaler],
    target: Target,
    settings: Settings,
    journal: Journal | None = None,
    progress: BatchProgress | None = None,
) -> Iterator[Outcome]:
    """Run the jobs on several Upscalers at once, one a device; yield an Outcome of each as it ends, in any order.

    The results are those of `run_jobs` with the Upscaler that took the job. Ctrl-C stops every device within a tile.
    """
    if len(upscalers) == 1:
        yield from run_jobs(jobs, upscalers[0], target, settings, journal, progress)
        return
    waiting, lock, ended = iter(enumerate(jobs)), Lock(), Event()
    outcomes: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()

    def take(numbers: list[int]) -> Iterator[Job]:
        while not ended.is_set():
            with lock:
                number, job = next(waiting, (0, None))
            if job is None:
                return
            numbers.append(number)
            yield job

    def work(upscaler: Upscaler) -> None:
        numbers: list[int] = []

        def report(number: int, share: float) -> None:
            if ended.is_set():
                raise KeyboardInterrupt
            if progress is not None:
                progress(numbers[number], share)

        try:
            for outcome in run_jobs(take(numbers), upscaler, target, settings, journal, report):
                outcomes.put(outcome)
        except BaseException as error:  # raised where the batch was asked for, not in a thread that nobody hears
            outcomes.put(error)
        finally:
            outcomes.put(None)

    threads = [Thread(target=work, args=(each,), daemon=True) for each in upscalers]
    try:
        for thread in threads:
            thread.start()
        running = len(threads)
        while running:
            try:
                found = outcomes.get(timeout=_WAIT)
            except Empty:
                continue
            if found is None:
                running -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join()
