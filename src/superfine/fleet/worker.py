"""Work on one share of a machine: one engine, and the three stages of the batch command around it.

Calls come in several threads. Each fetches its source and puts its result in place by itself; decoding, the network and
encoding take one picture at a time each, so three pictures are in hand, as in `superfine upscale`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from superfine.cores import cores
from superfine.errors import FleetError, SuperfineError
from superfine.fleet import strips
from superfine.fleet.orders import COMPUTE, READ, WRITE, Errand, Hello, Orders, Report
from superfine.fleet.store import is_full
from superfine.fleet.visit import Station, Visit, sweep_scratch
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.stages import Enlarged, Loaded, Outcome, enlarge, load, store
from superfine.version import __version__

Work = Callable[[Visit], Report]


class Worker:
    """One engine and what is in hand. The methods named by Errand.kind may be called from several threads."""

    def __init__(self, orders: Orders) -> None:
        self.station = Station(orders)
        self._reading, self._writing = threading.Lock(), threading.Lock()

    def where(self) -> str:
        """Name the machine, so that its cores can be shared out."""
        return self.station.host

    def open(self, share: int) -> Hello:
        """Bind to a share of the cores, and open the network.

        share: number of this worker on its machine, from 0. Raises EngineError and ModelError.
        """
        orders = self.station.orders
        _bind(share, orders.cores)
        sweep_scratch()
        upscaler = orders.upscaler
        scale = orders.target.scale or Fraction(0)
        first = int(scale) if scale in upscaler.scales else upscaler.scales[0]
        engine = self.station.compute(lambda: upscaler.describe([first]))
        return Hello(__version__, upscaler.digest, engine, os.getpid())

    def whole(self, errand: Errand) -> Report:
        """Do a task from file to file, or say into which parts it is to be cut."""
        if not errand.task.is_video:
            return self._guarded(errand, self._picture)
        from superfine.fleet import videos  # needs PyAV, which pictures do not

        return self._guarded(errand, videos.whole)

    def part(self, errand: Errand) -> Report:
        """Compute a part of a task and put it into the store of parts."""
        if not errand.task.is_video:
            return self._guarded(errand, strips.part)
        from superfine.fleet import videos

        return self._guarded(errand, videos.part)

    def join(self, errand: Errand) -> Report:
        """Make the result of its parts."""
        if not errand.task.is_video:
            return self._guarded(errand, strips.join)
        from superfine.fleet import videos

        return self._guarded(errand, videos.join)

    def _guarded(self, errand: Errand, work: Work) -> Report:
        """Do an errand with its source at hand; every error becomes a line."""
        visit = Visit(self.station, errand)
        try:
            return work(visit)
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

    def _picture(self, visit: Visit) -> Report:
        """Take a picture through the three stages; one too large for one worker is cut instead."""
        orders = visit.orders
        job = Job(visit.source(), visit.target())
        self._reading.acquire()
        held = True
        try:
            with visit.clock(READ):
                loaded = load(job, orders.upscaler, orders.settings, None)
            if isinstance(loaded, Outcome):
                return _settled(visit, loaded)
            if not loaded.is_large:  # a large picture is alone in memory: nothing is read until it is written
                self._reading.release()
                held = False
            enlarged = _enlarge(visit, job, loaded)
            if isinstance(enlarged, Outcome):
                return _settled(visit, enlarged)
            parts = strips.cut(visit.errand, orders, loaded, enlarged)
            if parts:
                return visit.report(parts=parts)
            with self._writing:
                return _settled(visit, _store(visit, job, enlarged))
        finally:
            if held:
                self._reading.release()


def _enlarge(visit: Visit, job: Job, loaded: Loaded) -> Enlarged | Outcome:
    """Run the network, or plan its bands."""
    orders = visit.orders

    def work() -> Enlarged | Outcome:
        with visit.clock(COMPUTE):
            return enlarge(job, loaded, orders.upscaler, orders.target, orders.settings, lambda share: None)

    return visit.station.compute(work)


def _store(visit: Visit, job: Job, enlarged: Enlarged) -> Outcome:
    """Write the result; that of a large picture is computed as it is written."""
    if not enlarged.is_large:
        with visit.clock(WRITE):
            return store(job, enlarged, visit.orders.settings, None)

    def work() -> Outcome:
        with visit.clock(COMPUTE):
            return store(job, enlarged, visit.orders.settings, None)

    return visit.station.compute(work)


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
