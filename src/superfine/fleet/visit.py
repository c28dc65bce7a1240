"""Hold what a worker works with, and the files and clocks of one errand."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from superfine.atomic import sha256_of
from superfine.fleet.orders import READ, WRITE, Errand, Orders, Report

Result = TypeVar("Result")

_SCRATCH = "superfine-fleet-"


class Station:
    """The equipment of a worker: its orders, a folder for copies, and the one thread that runs the network."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-"))
        self.host = socket.gethostname()
        self._engine = ThreadPoolExecutor(1, "engine")

    def compute(self, work: Callable[[], Result]) -> Result:
        """Run the network, in the one thread that does."""
        return self._engine.submit(work).result()


def sweep_scratch() -> None:
    """Remove what killed workers of this machine have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*"):
        owner = folder.name.removeprefix(_SCRATCH).partition("-")[0]
        if owner.isdigit() and Path("/proc/self").exists() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


class Visit:
    """One errand's files and clocks."""

    def __init__(self, station: Station, errand: Errand) -> None:
        self.station, self.errand, self.orders, self.task = station, errand, station.orders, errand.task
        self.seconds: dict[str, float] = {}
        self._source: Path | None = None
        self._copied = errand.task.store.folder is None

    def source(self) -> Path:
        """Return a local file of the source, fetched once. Raises FileNotFoundError, FleetError."""
        if self._source is None:
            with self.clock(READ):
                self._source = self.task.store.fetch(self.task.source, self.station.scratch)
        return self._source

    def target(self) -> Path:
        """Return the path to write the result to: its own where the store is local."""
        folder = self.orders.output.folder
        if folder is not None:
            return folder / self.task.target
        own = self.station.scratch / f"{threading.get_ident()}"
        own.mkdir(exist_ok=True)
        return own / Path(self.task.target).name

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
        with self.clock(READ):
            hashes = {"source_bytes": self.source().stat().st_size, "source_sha256": sha256_of(self.source())}
        with self.clock(WRITE):
            hashes |= {"target_bytes": target.stat().st_size, "target_sha256": sha256_of(target)}
            if self.orders.output.folder is None:
                self.orders.output.put(target, self.task.target)
        return self.report(**hashes, **about)

    def report(self, **about: object) -> Report:
        """Report the errand."""
        return Report(self.errand, seconds=self.seconds, host=self.station.host, **about)  # type: ignore[arg-type]

    def end(self) -> None:
        """Remove copies."""
        if self._copied and self._source is not None:
            self._source.unlink(missing_ok=True)
        if self.orders.output.folder is None:
            shutil.rmtree(self.station.scratch / f"{threading.get_ident()}", ignore_errors=True)
