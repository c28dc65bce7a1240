"""Two threads that do the jobs: while one computes, the other reads and writes files."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock, Thread, local
from time import monotonic
from typing import Any

from superfine.images.depth import Pixels
from superfine.images.files import DEFAULT_MAX_PIXELS, open_header
from superfine.upscaling.batch.jobs import Job as FileJob
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.tiles import Tile
from superfine.upscaling.upscaler import Upscaler
from superfine.web.jobs import Job, JobQueue, State
from superfine.web.limits import Limits
from superfine.web.preview import preview_tile
from superfine.web.problems import Problem, plain, problem_of
from superfine.web.turn import Turn
from superfine.web.words import compare_files

_log = logging.getLogger("superfine.web")

_WARM = 3
"""Networks, each at one scale, that keep their working memory; the one longest unused gives it back."""


_TILE = 512
"""LR pixels a side of a tile of engine "native", which would take millions at once: a picture is to grow before one's
eyes and to be cancelled in seconds. The result is the same to the bit, for a sixth more work on large pictures."""


class Cancelled(Exception):
    """A job is not wanted any more: raised between two tiles, and no error of the picture."""


class Upscalers:
    """The upscalers of a server, one for each model, opened when they are first asked for.

    Args:
        options: keywords of Upscaler, the same for all models.
    """

    def __init__(self, options: dict[str, Any], watch: Callable[[Tile, tuple[int, int], Pixels], None]) -> None:
        self._options, self._watch = options, watch
        self._lock = Lock()
        self._upscalers: dict[str, Upscaler] = {}
        self._warm: OrderedDict[tuple[str, int], Upscaler] = OrderedDict()

    def get(self, model: str) -> Upscaler:
        """Return the upscaler of a model. Raises SuperfineError where its files are damaged."""
        with self._lock:
            if model not in self._upscalers:
                upscaler = Upscaler(model, **self._options)
                if self._options.get("tile") is None and upscaler.memory is None and upscaler.engine.name == "native":
                    upscaler = Upscaler(model, **{**self._options, "tile": _TILE})
                upscaler.watch = self._watch
                self._upscalers[model] = upscaler
            return self._upscalers[model]

    def note_use(self, upscaler: Upscaler, scales: tuple[int, ...]) -> None:
        """Remember what a job used, and give back the memory of what was not used for longest."""
        with self._lock:
            for scale in set(scales):
                self._warm[upscaler.name, scale] = upscaler
                self._warm.move_to_end((upscaler.name, scale))
            while len(self._warm) > _WARM:
                (_, scale), idle = self._warm.popitem(last=False)
                idle.tiled(scale).engine.release()

    def rest(self) -> None:
        """Give back the working memory of all networks; they stay usable."""
        with self._lock:
            while self._warm:
                (_, scale), idle = self._warm.popitem()
                idle.tiled(scale).engine.release()


class Workers:
    """The threads, and what a job goes through in them.

    Args:
        after: called with each job when it is over.
    """

    def __init__(self, queue: JobQueue, limits: Limits, options: dict[str, Any], after: Callable[[Job], None]) -> None:
        self._queue, self._limits, self._after = queue, limits, after
        self._turn = Turn()
        self._here = local()
        self.upscalers = Upscalers(options, self._see_tile)
        self.running: set[Job] = set()
        self._threads = [
            Thread(target=self._work, args=(small,), name=f"superfine worker {small}", daemon=True)
            for small in (False, True)
        ]

    def start(self) -> None:
        """Start both threads; the second takes small pictures only, so that they never all wait for a large one."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Cancel what runs, and wait for it to end. The queue must be closed before."""
        for job in tuple(self.running):
            job.cancelling = True
        for thread in self._threads:
            thread.join(timeout=60)

    def rest(self) -> None:
        """Give back the networks' working memory, if nothing runs."""
        self._turn.take()
        try:
            if not self.running:
                self.upscalers.rest()
        finally:
            self._turn.give()

    def _work(self, small_only: bool) -> None:
        while (job := self._queue.take(small_only=small_only)) is not None:
            self.running.add(job)
            try:
                self._do(job)
            finally:
                self.running.discard(job)
                self._here.job = None
                self._after(job)

    def _do(self, job: Job) -> None:
        """Run a job to its end, whatever that is."""
        names = {str(job.source): job.name, str(job.target): job.result_name}
        self._here.job = job
        self._turn.take()
        try:
            job.began, job.state = monotonic(), State.RUNNING
            job.touch()
            self._check(job)
            do = self._do_video if job.subject.kind == "video" else self._do_picture
            kept, converted = do(job)
            if job.cancelling:
                raise Cancelled
            job.bytes = job.target.stat().st_size
            job.share, job.kept = 1.0, tuple(kept)
            job.converted = tuple(plain(each, names) for each in converted)
            job.end(State.DONE)
        except Cancelled:
            job.end(State.CANCELLED)
        except Exception as error:
            problem = problem_of(error, names)
            if problem.status == 500:
                _log.exception("job %s failed", job.id)
            job.end(State.FAILED, problem)
        finally:
            self._turn.give()

    def _do_picture(self, job: Job) -> tuple[list[str], list[str]]:
        order = job.order
        upscaler = self.upscalers.get(order.model)
        self._here.icc = _profile(job) if job.watched else None
        for outcome in run_jobs(
            [FileJob(job.source, job.target)],
            upscaler,
            order.target,
            order.settings,
            progress=lambda _, share: self._report(job, share),
        ):
            if outcome.error is not None:
                raise outcome.error
            self.upscalers.note_use(upscaler.of(outcome.choice), outcome.passes)
            job.choice = outcome.choice
            kept, lost = compare_files(job.source, job.target)
            return kept, [*outcome.changes, *lost]
        raise AssertionError("run_jobs gave nothing for a job")

    def _do_video(self, job: Job) -> tuple[list[str], list[str]]:
        from superfine.video import Options, upscale_video

        order = job.order
        options = Options(quality=None, deinterlace=order.deinterlace, drop=True)
        upscaler = self.upscalers.get(order.model)
        summary = upscale_video(
            job.source, job.target, upscaler, options, target=order.target,
            progress=lambda done, total: self._report(job, min(0.999, done / max(1, total))),
        )  # fmt: skip
        self.upscalers.note_use(upscaler, job.plan.passes)
        kept = [f"{summary.frames} frames", *summary.copied]
        return kept, [f"{each} is not kept" for each in summary.dropped]

    def _report(self, job: Job, share: float) -> None:
        """Take note of what is done, between two tiles; here a job ends that is not wanted any more."""
        job.share = share
        self._check(job)
        if share >= 1:
            # Only the file remains to be written: the other thread may compute meanwhile.
            self._turn.give()
        elif self._turn.mine:
            self._turn.pass_on()
            self._check(job)
        job.touch()

    def _check(self, job: Job) -> None:
        if job.cancelling:
            raise Cancelled
        if job.began is not None and monotonic() - job.began > self._limits.seconds:
            limit = f"{self._limits.seconds:g} seconds"
            raise Problem(422, "too-long", f"it took longer than {limit}, this server's limit: take a smaller size")

    def _see_tile(self, tile: Tile, size: tuple[int, int], pixels: Pixels) -> None:
        job: Job | None = getattr(self._here, "job", None)
        if job is not None and job.watched and job.subject.kind == "picture" and job.subject.frames == 1:
            job.tiles = [*job.tiles, preview_tile(job.plan, tile, size, pixels, self._here.icc)]


def _profile(job: Job) -> bytes | None:
    """Return the profile of a source's pixels, if its header has one."""
    try:
        with open_header(job.source, DEFAULT_MAX_PIXELS) as image:
            return image.info.get("icc_profile") or None
    except Exception:  # for a preview's colours only
        return None
