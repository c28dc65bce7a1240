"""The server without HTTP: takes orders, keeps jobs and their files, and forgets them in time."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from superfine.engines import check_request
from superfine.errors import ImageError, SuperfineError
from superfine.images.files import SUFFIXES
from superfine.images.formats.encode import FORMATS, suffix_named
from superfine.images.formats.frames import ANIMATED, PAGED
from superfine.upscaling.auto import AUTO, CLEAN
from superfine.upscaling.plan import DEFAULT_SCALE
from superfine.web.examine import VIDEO_SUFFIXES, Subject, examine
from superfine.web.jobs import Job, JobQueue, Order, State
from superfine.web.limits import Limits
from superfine.web.metrics import Metrics
from superfine.web.parameters import Parameters, clean_name, result_name
from superfine.web.problems import Problem, problem_of
from superfine.web.storage import Storage
from superfine.web.upload import Receiver
from superfine.web.workers import Workers
from superfine.weights import list_models

VIDEO_SCALE = 2
_SWEEP_EVERY = 5.0
_REST_AFTER = 300.0
"""Seconds without work after which the networks give back their working memory."""


class Service:
    """Everything behind the interface.

    Args:
        options: keywords of Upscaler that hold for all clients: engine, precision, device, tile, memory.
        parent: where temporary files lie; None: where the system has them.

    Raises EngineError for an engine, precision or device that is unknown.
    """

    def __init__(self, limits: Limits, options: dict[str, Any], parent: Path | None = None) -> None:
        check_request(options.get("engine", "auto"), options.get("precision", "auto"), options.get("device", "auto"))
        self.limits = limits
        self.models = [AUTO, *(entry.name for entry in list_models())]
        self.storage = Storage(parent)
        self.queue = JobQueue(limits.waiting, limits.waiting_each)
        self.workers = Workers(self.queue, limits, {**options, "memory": limits.memory}, self._after)
        self.receiver = Receiver(limits)
        self.metrics = Metrics(lambda: len(self.queue), lambda: len(self.workers.running))
        self.jobs: dict[str, Job] = {}
        self._lock = Lock()
        self._stop = Event()
        self._mean_seconds = 2.0
        self._last_work = monotonic()
        self._janitor = Thread(target=self._tidy_up, name="superfine janitor", daemon=True)

    def start(self) -> None:
        """Start working."""
        self.workers.start()
        self._janitor.start()

    def close(self) -> None:
        """Cancel everything and remove all files."""
        self._stop.set()
        for job in self.queue.close():
            job.end(State.CANCELLED)
        self.workers.stop()
        self.storage.close()

    @property
    def retry_after(self) -> int:
        """Seconds until a few of the waiting jobs will be done."""
        return min(120, max(1, round(self._mean_seconds * 4)))

    def check(self, client: str) -> None:
        """Raise Problem if a client may not send another job now."""
        self.queue.check(client, self.retry_after)

    def order(self, parameters: Parameters, client: str, folder: Path, upload: Path, *, watched: bool = False) -> Job:
        """Make a job of what was uploaded, and put it into the queue. Raises Problem; `folder` is then still there."""
        name = clean_name(parameters.name)
        try:
            subject = examine(upload, max_pixels=self.limits.pixels)
            job = self._plan(parameters, client, name, folder, upload, subject)
        except (SuperfineError, MemoryError) as error:
            raise problem_of(error, {str(upload): name}) from None
        job.watched = watched
        self.check(client)
        with self._lock:
            self.jobs[job.id] = job
        self.queue.put(job)
        return job

    def _plan(
        self, parameters: Parameters, client: str, name: str, folder: Path, upload: Path, subject: Subject
    ) -> Job:
        model = self._model(parameters.model)
        if model == AUTO and subject.kind == "video":
            model = CLEAN  # a choice is made for a picture, and the frames of a clip are to go together
        scale = VIDEO_SCALE if subject.kind == "video" else DEFAULT_SCALE
        suffix = _result_suffix(parameters.format, name, subject)
        if suffix not in (*ANIMATED, *PAGED):
            subject = replace(subject, frames=1)
        target = parameters.target(scale)
        plan = self.workers.upscalers.get(model).plan(subject.width, subject.height, target)
        self._check_result(plan.output, subject, suffix)
        source = upload.with_name(f"source{subject.suffix}")
        upload.rename(source)
        settings = parameters.settings(suffix, self.limits.pixels)
        return Job(
            client, name, result_name(name, parameters.label(scale), suffix),
            Order(model, target, settings, parameters.deinterlace),
            subject, plan, folder, source, folder / f"result{suffix}",
        )  # fmt: skip

    def _model(self, name: str | None) -> str:
        """Return a model that may be used: the names of the catalogue alone, never a path."""
        if name is None:
            return self.models[0]
        if name not in self.models:
            raise Problem(422, "model", f"there is no model {name!r}: choose one of {', '.join(self.models)}")
        return name

    def _check_result(self, output: tuple[int, int], subject: Subject, suffix: str) -> None:
        """Refuse a result that is too large, before anything runs. Raises Problem and ImageError."""
        width, height = output
        total = width * height * subject.frames
        if total > self.limits.pixels:
            frames = f" in {subject.frames} frames" if subject.frames > 1 else ""
            text = f"the result would have {width:,} x {height:,} pixels{frames}, and {self.limits.pixels:,} is this"
            raise Problem(413, "too-large", f"{text} server's limit: take a smaller size")
        if subject.kind == "picture" and max(output) > FORMATS[suffix].longest_side:
            name, longest = FORMATS[suffix].name, FORMATS[suffix].longest_side
            text = f"{width:,} x {height:,} is too large for {name}, which ends at {longest:,} pixels a side"
            raise ImageError(f"{text}: take PNG or TIFF")

    def cancel(self, job: Job) -> None:
        """End a job, now if it waits, after the tile in hand if it runs."""
        job.cancelling = True
        if self.queue.remove(job):
            job.end(State.CANCELLED)
            self._after(job)

    def remove(self, job: Job) -> None:
        """End and forget a job; its files go as soon as nobody writes them."""
        self.cancel(job)
        with self._lock:
            self.jobs.pop(job.id, None)
        if job.is_over:
            shutil.rmtree(job.folder, ignore_errors=True)

    def _after(self, job: Job) -> None:
        """Count a job that is over; remove its files if nobody will ask for them."""
        self._last_work = monotonic()
        self.metrics.jobs.labels(job.order.model, job.state).inc()
        if job.state == State.DONE and job.began is not None and job.ended is not None:
            seconds = job.ended - job.began
            self._mean_seconds = 0.8 * self._mean_seconds + 0.2 * seconds
            self.metrics.seconds.observe(seconds)
            self.metrics.pixels.labels(job.order.model).inc(job.pixels)
        if job.id not in self.jobs or job.state == State.CANCELLED:
            shutil.rmtree(job.folder, ignore_errors=True)

    def _tidy_up(self) -> None:
        """Forget jobs whose time is over, and the oldest ones where files take too much room."""
        rested = False
        while not self._stop.wait(_SWEEP_EVERY):
            now = monotonic()
            over = sorted((job for job in list(self.jobs.values()) if job.ended), key=lambda job: job.ended or 0)
            for job in over:
                if now - (job.ended or now) > self.limits.keep:
                    self.remove(job)
            over = [job for job in over if job.id in self.jobs]
            while over and self.storage.used() > self.limits.disk:
                self.remove(over.pop(0))
            idle = not self.workers.running and now - self._last_work > _REST_AFTER
            if idle and not rested:
                self.workers.rest()
            rested = idle


def _result_suffix(format: str | None, name: str, subject: Subject) -> str:
    """Return the suffix of a result: what was asked for, else the name's, else that of the format found."""
    known = VIDEO_SUFFIXES if subject.kind == "video" else SUFFIXES
    if format is not None:
        suffix = suffix_named(format)
        if suffix not in known:
            wanted = " ".join(each.lstrip(".") for each in known)
            raise Problem(422, "format", f"no {subject.kind} is written as {format!r}: choose one of {wanted}")
        return suffix
    suffix = Path(name).suffix.lower()
    return suffix if suffix in known else subject.suffix
