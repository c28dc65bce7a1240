"""How `superfine upscale` shows what it does: a bar while it runs, a line or a table when it is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from superfine.cli import BEGUN
from superfine.cli.messages import complain, one_line, size_of, time_of

if TYPE_CHECKING:
    from rich.progress import Progress

    from superfine.upscaling.batch.jobs import Job
    from superfine.upscaling.batch.journal import Journal
    from superfine.upscaling.batch.run import Outcome
    from superfine.upscaling.batch.source import Settings
    from superfine.upscaling.plan import Plan, Target
    from superfine.upscaling.upscaler import Upscaler


def show_run(
    jobs: Sequence[Job], upscaler: Upscaler, target: Target, settings: Settings, journal: Journal | None
) -> int:
    """Does the jobs and shows how far they are; how many failed."""
    from superfine.upscaling.batch.run import run_jobs

    started = perf_counter()
    outcomes: list[Outcome] = []
    with _bar() as bar:
        task = bar.add_task("", total=len(jobs))

        def progress(number: int, share: float) -> None:
            bar.update(task, completed=number + share, description=_name(jobs[number]))

        for outcome in run_jobs(jobs, upscaler, target, settings, journal, progress):
            outcomes.append(outcome)
            if outcome.error is not None:
                complain(str(outcome.error))  # rich puts it above the bar
    _sum_up(outcomes, perf_counter() - started, upscaler)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed and len(jobs) > 1:
        _show_failures(failed, len(jobs))
    return len(failed)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _name(job: Job) -> str:
    return one_line(job.source.name if job.source is not None else "standard input")


def _sum_up(outcomes: Sequence[Outcome], seconds: float, upscaler: Upscaler) -> None:
    """One line: what was made, how fast, by what."""
    made = [outcome for outcome in outcomes if outcome.error is None and not outcome.skipped]
    skipped = sum(outcome.skipped for outcome in outcomes)
    parts = []
    if len(made) == 1:
        only = made[0]
        name = only.job.target or "standard output"
        parts.append(f"{name}: {only.before[0]}x{only.before[1]} to {only.after[0]}x{only.after[1]}")
    elif made:
        pixels = sum(outcome.after[0] * outcome.after[1] for outcome in made)
        parts.append(f"{len(made)} pictures, {size_of(pixels, 'pixels')}")
    if skipped:
        parts.append(f"{skipped} there already")
    if not parts:
        return
    how = upscaler.describe(scale for outcome in made for scale in outcome.passes)
    line = f"{', '.join(parts)} in {time_of(seconds)} ({how})"
    agreements = [each for outcome in made for each in outcome.consistency]
    if agreements:
        before, after = (min(getattr(each, when) for each in agreements) for when in ("before", "after"))
        line += f"; agreement with the input {before:.1f} dB before back-projection, {after:.1f} dB after"
    streamed = any(outcome.job.target is None for outcome in outcomes)
    print(one_line(line), file=sys.stderr if streamed else sys.stdout)


def _show_failures(failed: Sequence[Outcome], jobs: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(failed)} of {jobs} pictures failed", title_justify="left")
    table.add_column("picture", overflow="fold")
    table.add_column("why", overflow="fold")
    for outcome in failed:
        table.add_row(Text(one_line(outcome.job.source or "standard input")), Text(one_line(outcome.error)))
    Console(stderr=True).print(table)


def show_estimates(jobs: Sequence[Job], upscaler: Upscaler, target: Target, settings: Settings) -> int:
    """What the jobs would make and cost, in a table; how many would fail."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from superfine.errors import SuperfineError
    from superfine.images.formats.frames import Frames
    from superfine.upscaling.batch.estimate import Estimate, Estimator, peak_of_batch
    from superfine.upscaling.batch.source import load_frames, open_source

    starting = perf_counter() - BEGUN  # a real run starts up as long
    estimator = Estimator(upscaler)
    table = Table(caption_justify="left")
    for heading in ("picture", "size", "passes", "result", "pixels", "memory", "time"):
        table.add_column(heading, overflow="fold", justify="left" if heading in ("picture", "passes") else "right")
    failed, estimates = 0, list[Estimate]()
    for job in jobs:
        try:
            started = perf_counter()
            source = open_source(job, upscaler, settings)
            reading = perf_counter() - started
            suffix = settings.format or (job.target.suffix.lower() if job.target is not None else ".png")
            estimate = None if isinstance(source, Frames) else estimator.by_rows(source, target, suffix, reading)
            if estimate is None:
                frames = source if isinstance(source, Frames) else load_frames(job, settings)
                estimate = estimator(frames, target, suffix, reading)
        except SuperfineError as error:
            failed += 1
            complain(str(error))
            continue
        estimates.append(estimate)
        table.add_row(
            Text(_name(job)),
            _size(estimate.plan.source, estimate.frames),
            _passes(estimate.plan),
            _size(estimate.plan.output, estimate.frames),
            size_of(estimate.pixels, "pixels"),
            size_of(estimate.memory),
            time_of(estimate.seconds),
        )
    if estimates:
        pixels, seconds = sum(each.pixels for each in estimates), sum(each.seconds for each in estimates)
        passes = {scale for each in estimates for scale in each.plan.passes}
        table.caption = (
            f"{_pictures(len(estimates))}, {size_of(pixels, 'pixels')}, {size_of(peak_of_batch(estimates))} of memory, "
            f"{time_of(starting + seconds)} ({upscaler.describe(passes)}); nothing was written"
        )
        Console().print(table)
    return failed


def _size(size: tuple[int, int], frames: int) -> str:
    """ "640x480", or "24 of 640x480"; pages may differ, then it is the first one's."""
    return f"{size[0]}x{size[1]}" if frames == 1 else f"{frames} of {size[0]}x{size[1]}"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _passes(plan: Plan) -> str:
    """ "x2, x3, down to 1500x1000" """
    steps = [f"x{scale}" for scale in plan.passes]
    if plan.resized != plan.enlarged:
        steps.append("down to {}x{}".format(*plan.resized))
    if plan.crop is not None:
        steps.append("cut")
    return ", ".join(steps) or "copy"
