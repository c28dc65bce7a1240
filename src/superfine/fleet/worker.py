"""Work on one share of a machine: one engine, and the three stages of the batch command around it.

Calls come in several threads. Each fetches its source and puts its result in place by itself; decoding, the network and
encoding take one picture at a time each, so three pictures are in hand, as in `superfine upscale`.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from superfine.atomic import sha256_of
from superfine.cores import cores
from superfine.errors import FleetError, SuperfineError
from superfine.fleet.orders import COMPUTE, READ, WRITE, Errand, Hello, Orders, Report
from superfine.fleet.store import is_full
from superfine.fleet.tasks import Task
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.run import Enlarged, Loaded, Outcome, enlarge, load, store
from superfine.version import __version__

Result = TypeVar("Result")

_SCRATCH = "superfine-fleet-"


class Worker:
    """One engine and what is in hand. The methods named by Errand.kind may be called from several threads."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-"))
        self.host = socket.gethostname()
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._engine = ThreadPoolExecutor(1, "engine")

    def where(self) -> str:
        """Name the machine, so that its cores can be shared out."""
        return self.host

    def open(self, share: int) -> Hello:
        """Bind to a share of the cores, and open the network.

        share: number of this worker on its machine, from 0. Raises EngineError and ModelError.
        """
        _bind(share, self.orders.cores)
        _sweep_scratch()
        upscaler = self.orders.upscaler
        scale = self.orders.target.scale or Fraction(0)
        first = int(scale) if scale in upscaler.scales else upscaler.scales[0]
        engine = self._engine.submit(lambda: upscaler.describe([first])).result()
        return Hello(__version__, upscaler.digest, engine, os.getpid())

    def whole(self, errand: Errand) -> Report:
        """Do a task from file to file, or say into which parts it is to be cut."""
        if errand.task.is_video:
            from superfine.fleet import videos

            return self._guarded(errand, videos.whole)
        return self._guarded(errand, _whole_picture)

    def part(self, errand: Errand) -> Report:
        """Compute a part of a task and put it into the store of parts."""
        return self._guarded(errand, self._divided(errand.task).part)

    def join(self, errand: Errand) -> Report:
        """Make the result of its parts."""
        return self._guarded(errand, self._divided(errand.task).join)

    def _divided(self, task: Task):  # type: ignore[no-untyped-def]  # a module
        from superfine.fleet import strips

        if task.is_video:
            from superfine.fleet import videos

            return videos
        return strips

    def compute(self, work: Callable[[], Result]) -> Result:
        """Run the network, in the one thread that does."""
        return self._engine.submit(work).result()

    def _guarded(self, errand: Errand, work: Callable[[Worker, Errand, Visit], Report]) -> Report:
        """Do an errand with its source at hand; every error becomes a line."""
        visit = Visit(self, errand)
        try:
            return work(self, errand, visit)
        except FileNotFoundError:
            return visit.report(error=f"no such file: {errand.task.name}")
        except FleetError as error:
            return visit.report(error=str(error), hopeless=True)
        except (SuperfineError, MemoryError, OSError) as error:
            words = str(error) or type(error).__name__
            named = words if errand.task.name in words else f"{errand.task.name}: {words}"
            return visit.report(error=named, hopeless=is_full(error))
        finally:
            visit.end()


class Visit:
    """One errand's files and clocks."""

    def __init__(self, worker: Worker, errand: Errand) -> None:
        self.worker, self.errand = worker, errand
        self.seconds: dict[str, float] = {}
        self._source: Path | None = None
        self._copied = errand.task.store.folder is None

    def source(self) -> Path:
        """Return a local file of the source, fetched once. Raises FileNotFoundError, FleetError."""
        if self._source is None:
            with self.clock(READ):
                self._source = self.errand.task.store.fetch(self.errand.task.source, self.worker.scratch)
        return self._source

    def target(self) -> Path:
        """Return the path to write the result to: its own where the store is local."""
        folder = self.worker.orders.output.folder
        if folder is not None:
            return folder / self.errand.task.target
        own = self.worker.scratch / f"{threading.get_ident()}"
        own.mkdir(exist_ok=True)
        return own / Path(self.errand.task.target).name

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        """Count the seconds of a stage."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - begun

    def deliver(self, target: Path, **about: object) -> Report:
        """Put a finished result in place and report it, with hashes and sizes."""
        orders, task = self.worker.orders, self.errand.task
        with self.clock(READ):
            hashes = {"source_bytes": self.source().stat().st_size, "source_sha256": sha256_of(self.source())}
        with self.clock(WRITE):
            hashes |= {"target_bytes": target.stat().st_size, "target_sha256": sha256_of(target)}
            if orders.output.folder is None:
                orders.output.put(target, task.target)
        return self.report(**hashes, **about)

    def report(self, **about: object) -> Report:
        """Report the errand."""
        return Report(self.errand, seconds=self.seconds, host=self.worker.host, **about)  # type: ignore[arg-type]

    def end(self) -> None:
        """Remove copies."""
        if self._copied and self._source is not None:
            self._source.unlink(missing_ok=True)
        if self.worker.orders.output.folder is None:
            shutil.rmtree(self.worker.scratch / f"{threading.get_ident()}", ignore_errors=True)


def _whole_picture(worker: Worker, errand: Errand, visit: Visit) -> Report:
    """Take a picture through the three stages; one too large for one worker is cut instead."""
    from superfine.fleet import strips

    orders = worker.orders
    job = Job(visit.source(), visit.target())
    worker._reading.acquire()
    held = True
    try:
        with visit.clock(READ):
            loaded = load(job, orders.upscaler, orders.settings, None)
        if isinstance(loaded, Outcome):
            return _settled(visit, loaded)
        if not loaded.is_large:  # a large picture is alone in memory: nothing is read until it is written
            worker._reading.release()
            held = False
        enlarged = _computed(worker, visit, job, loaded)
        if isinstance(enlarged, Outcome):
            return _settled(visit, enlarged)
        parts = strips.cut(errand, orders, loaded, enlarged)
        if parts:
            return visit.report(parts=parts)
        with worker._writing:
            if enlarged.is_large:  # the network may run in it
                with visit.clock(COMPUTE):
                    outcome = worker.compute(lambda: store(job, enlarged, orders.settings, None))
            else:
                with visit.clock(WRITE):
                    outcome = store(job, enlarged, orders.settings, None)
        return _settled(visit, outcome)
    finally:
        if held:
            worker._reading.release()


def _computed(worker: Worker, visit: Visit, job: Job, loaded: Loaded) -> Enlarged | Outcome:
    orders = worker.orders

    def work() -> Enlarged | Outcome:
        with visit.clock(COMPUTE):
            return enlarge(job, loaded, orders.upscaler, orders.target, orders.settings, lambda share: None)

    return worker.compute(work)


def _settled(visit: Visit, outcome: Outcome) -> Report:
    """Report how a job ended. Raises its error."""
    if outcome.error is not None:
        raise outcome.error
    assert outcome.job.target is not None
    return visit.deliver(outcome.job.target, before=outcome.before, after=outcome.after, changes=outcome.changes)


def _bind(share: int, count: int) -> None:
    """Bind all threads of this process to `count` cores, the `share`-th such group of the machine."""
    if not count or not hasattr(os, "sched_setaffinity") or count >= cores():
        return
    there = sorted(os.sched_getaffinity(0))
    groups = max(1, len(there) // count)
    first = share % groups * count
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended
            os.sched_setaffinity(int(thread.name), there[first : first + count])


def _sweep_scratch() -> None:
    """Remove what killed workers of this machine have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*"):
        owner = folder.name.removeprefix(_SCRATCH).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
