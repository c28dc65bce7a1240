"""Do the tasks of a run on the workers there are, and keep the manifest: from addresses to files, top to bottom."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import ray

from superfine.errors import FleetError
from superfine.fleet.crew import Crew, SetAside, Share
from superfine.fleet.manifest import DONE, FAILED, REFUSED, SET_ASIDE, Manifest, Row
from superfine.fleet.orders import Errand, Orders, Report
from superfine.fleet.store import Store
from superfine.fleet.tasks import MANIFEST, Task
from superfine.upscaling.batch.journal import sweep
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler

PARTS_A_WORKER = 3
"""Parts of a large picture for each worker, so that a slow one does not hold up the rest."""
_PARTS = "parts"


@dataclass
class Totals:
    """The counts of a run so far."""

    tasks: int
    workers: int
    engine: str = ""
    made: int = 0
    there: int = 0
    """Done by an earlier run."""
    pixels: int = 0
    """Of all results made, frames included."""
    failed: int = 0
    deaths: int = 0
    """Workers lost."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Stage → seconds that workers spent in it."""
    changes: Counter[str] = field(default_factory=Counter)
    elapsed: float = 0.0


FleetProgress = Callable[[Totals, str, str], None]
"""Called with the totals, the name of the task that ended, and its error ("" if it is done)."""


@dataclass
class _Divided:
    """A task that is being done in parts."""

    left: set[Errand]
    count: int
    seconds: float = 0.0


def run_fleet(
    tasks: Sequence[Task],
    output: Store,
    upscaler: Upscaler,
    target: Target,
    settings: Settings,
    requested: dict[str, str],
    *,
    resume: bool = False,
    workers: int | None = None,
    cores: int | None = None,
    split_from: int | None = None,
    gpu: bool = True,
    progress: FleetProgress = lambda totals, name, error: None,
) -> Totals:
    """Do tasks on the Ray cluster that this process is connected to; results and manifest are in `output` at the end.

    requested: everything that decides the results, for the manifest. workers, cores: how many, and how many cores
    each; None takes what is there. split_from: pixels of a source from which on workers share it. gpu: give each
    worker a GPU, if the cluster has any.

    Raises FleetError and PlanError where the run cannot start or go on; what is done stays and is in the manifest.
    """
    share, count = plan_crew(workers, cores, gpu=gpu)
    manifest = Manifest(output.below(MANIFEST), requested, resume=resume, restart=settings.overwrite)
    scratch = output.below(MANIFEST).below(_PARTS)
    if not manifest.resumed:
        output.below(MANIFEST).remove(_PARTS)
    folders = {(output.folder / task.target).parent for task in tasks} if output.folder is not None else set()
    sweep(folders)
    totals = Totals(len(tasks), count)
    todo = _sort_out(tasks, output, manifest, settings, totals, progress)
    manifest.flush()
    begun = time.monotonic()
    if todo:
        split = split_from if count > 1 else None
        mine = replace(settings, overwrite=True)  # what may be replaced has been decided
        orders = Orders(upscaler, target, mine, output, scratch, share.cores, split, PARTS_A_WORKER * count)
        crew = Crew(orders, min(count, len(todo)) if split is None else count, share, upscaler.digest)
        try:
            try:
                _work(todo, crew, manifest, totals, upscaler, progress)
            finally:
                crew.close()
                totals.deaths, totals.engine = crew.deaths, crew.engine
                manifest.flush()
        except FleetError as error:  # of the store, which may be full when a result or the manifest is written
            raise FleetError(f"{error}; what is done is kept: when that is mended, --resume goes on") from error
        if crew.deaths:
            sweep(folders)
    output.below(MANIFEST).remove(_PARTS)
    manifest.finish()
    totals.elapsed = time.monotonic() - begun
    return totals


def plan_crew(workers: int | None, cores: int | None, *, gpu: bool) -> tuple[Share, int]:
    """Decide what a worker takes of a machine, and how many there are. Raises FleetError if none has room."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if gpus and gpu:
        with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
        mine = cores or max(1, min(int(node.get("CPU", 1) // node["GPU"]) for node in with_gpu))
        return Share(mine, 1), workers or gpus
    counts = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    mine = cores or min(counts, default=1)
    room = sum(count // mine for count in counts)
    if not room:
        raise FleetError(f"no machine of the cluster has {mine} cores: pass a smaller --cores")
    return Share(mine, 0), min(workers or room, room)


def _sort_out(
    tasks: Sequence[Task],
    output: Store,
    manifest: Manifest,
    settings: Settings,
    totals: Totals,
    progress: FleetProgress,
) -> list[Task]:
    """Return what is left to do; note what is done already, and refuse to replace files that are not ours."""
    there = {entry.place: entry.size for entry in output.entries()}
    todo = []
    for task in tasks:
        known = manifest.known.get(task.target)
        if known is not None and known.state == DONE and known.source_version == task.version:
            if there.get(task.target) == known.target_bytes:
                totals.there += 1
                progress(totals, task.name, "")
                continue
        elif task.target in there and not settings.overwrite and (not manifest.resumed or _is_refused(known)):
            error = f"{output.full(task.target)} exists: pass --overwrite to replace it, or choose another folder"
            manifest.add(Row(task.target, task.name, REFUSED, error, task.version, finished=time.time()))
            totals.failed += 1
            progress(totals, task.name, error)
            continue
        todo.append(task)
    return todo


def _is_refused(known: object) -> bool:
    return getattr(known, "state", "") == REFUSED


def _work(
    todo: Sequence[Task],
    crew: Crew,
    manifest: Manifest,
    totals: Totals,
    upscaler: Upscaler,
    progress: FleetProgress,
) -> None:
    """Have everything done, and write a row for each task as it ends. Raises FleetError if the store gives up."""
    divided: dict[str, _Divided] = {}
    over: set[str] = set()

    def end(task: Task, state: str, error: str, report: Report | None = None) -> None:
        over.add(task.target)
        parts = divided.pop(task.target, None)
        if parts is not None:
            crew.drop(parts.left)
        row = _row(task, state, error, report, parts, upscaler)
        manifest.add(row)
        if state == DONE:
            totals.made += 1
            totals.pixels += row.target_width * row.target_height * row.frames
        else:
            totals.failed += 1
        progress(totals, task.name, error)

    for result in crew.run(Errand(task, "whole") for task in todo):
        task = result.errand.task
        if task.target in over:  # another part of it has failed
            continue
        if isinstance(result, SetAside):
            error = f"{task.name} is set aside: its worker died twice, for lack of memory or a fault in a decoder"
            end(task, SET_ASIDE, error)
            continue
        totals.seconds.update(result.seconds)
        if result.hopeless:
            raise FleetError(result.error)
        if result.error:
            end(task, FAILED, result.error)
        elif result.parts:
            divided[task.target] = _Divided(set(result.parts), len(result.parts), sum(result.seconds.values()))
            crew.add(result.parts)
        elif result.errand.kind == "part":
            parts = divided[task.target]
            parts.left.discard(result.errand)
            parts.seconds += sum(result.seconds.values())
            if not parts.left:
                crew.add([Errand(task, "join", count=parts.count)])
        else:
            totals.changes.update(result.changes)
            end(task, DONE, "", result)


def _row(task: Task, state: str, error: str, report: Report | None, parts: _Divided | None, upscaler: Upscaler) -> Row:
    """Write down what became of a task."""
    common = {
        "target": task.target, "source": task.name, "state": state, "error": error, "source_version": task.version,
        "parts": parts.count if parts else 1, "model": upscaler.name, "weights": upscaler.digest,
        "finished": time.time(),
    }  # fmt: skip
    if report is None:
        return Row(**common, source_bytes=task.size)  # type: ignore[arg-type]
    return Row(
        **common,  # type: ignore[arg-type]
        source_bytes=report.source_bytes,
        source_sha256=report.source_sha256,
        source_width=report.before[0],
        source_height=report.before[1],
        target_bytes=report.target_bytes,
        target_sha256=report.target_sha256,
        target_width=report.after[0],
        target_height=report.after[1],
        frames=report.frames,
        seconds=sum(report.seconds.values()) + (parts.seconds if parts else 0.0),
        host=report.host,
    )
