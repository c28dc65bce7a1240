"""Shows what `superfine upscale` does: a bar while it runs, a line when it is done, a table for a dry run."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING

from superfine.cli import BEGUN
from superfine.cli.messages import complain, one_line, size_of, time_of
from superfine.cli.progress import ProgressBar

if TYPE_CHECKING:
    from superfine.upscaling.auto import Choice
    from superfine.upscaling.batch.estimate import Estimator, FileEstimate
    from superfine.upscaling.batch.jobs import Job
    from superfine.upscaling.batch.journal import Journal
    from superfine.upscaling.batch.rates import Rates
    from superfine.upscaling.batch.source import Settings
    from superfine.upscaling.batch.stages import Outcome
    from superfine.upscaling.plan import Plan, Target
    from superfine.upscaling.upscaler import Upscaler


def show_run(
    jobs: Sequence[Job],
    upscalers: Sequence[Upscaler],
    target: Target,
    settings: Settings,
    journal: Journal | None,
    *,
    quiet: bool = False,
) -> int:
    """Do the jobs and show how far they are; return how many failed. upscalers: one a device."""
    from superfine.upscaling.batch.rates import Rates
    from superfine.upscaling.batch.share import share_jobs

    started, rates = perf_counter(), Rates()
    outcomes: list[Outcome] = []
    with ProgressBar(quiet=quiet) as bar:
        meter = _Meter(bar, jobs, upscalers[0], target, settings)
        try:
            for outcome in share_jobs(jobs, upscalers, target, settings, journal, meter.show):
                outcomes.append(outcome)
                meter.settle(outcome)
                if outcome.error is not None:
                    bar.complain(str(outcome.error))
        except KeyboardInterrupt:
            if len(jobs) == 1:
                raise
            again = "--skip-existing" if journal is None else "--resume"
            done = sum(outcome.error is None for outcome in outcomes)
            raise KeyboardInterrupt(
                f"interrupted: {done} of {len(jobs)} pictures are done; the same command with {again} does the rest"
            ) from None
        finally:
            _learn(rates, upscalers, outcomes, settings)
    failed = sum(outcome.error is not None for outcome in outcomes)
    if not quiet:
        _sum_up(outcomes, perf_counter() - started)
    if failed and len(jobs) > 1:
        complain(f"{failed} of {len(jobs)} pictures failed")
    return failed


def _learn(rates: Rates, upscalers: Sequence[Upscaler], outcomes: Sequence[Outcome], settings: Settings) -> None:
    """Keep how long everything took, for dry runs."""
    from superfine.upscaling.batch.source import result_suffix, source_suffix

    for each in chain.from_iterable(upscaler.candidates for upscaler in upscalers):
        for tiled in each.opened:
            rates.note_windows(tiled, each.digest)
    for outcome in outcomes:
        if outcome.reading is not None and outcome.writing is not None:
            read, written = source_suffix(outcome.job), result_suffix(outcome.job, settings)
            rates.note(f"read {read}", outcome.before[0] * outcome.before[1], outcome.reading)
            rates.note(f"write {written}", outcome.after[0] * outcome.after[1], outcome.writing)
    rates.save()


class _Meter:
    """Counts the pixels of a batch's results: how many are done, how fast, and how long the rest will take."""

    MOST = 2000
    """Pictures. Of a larger batch every one counts as much: opening all files would take long on slow disks."""

    def __init__(
        self, bar: ProgressBar, jobs: Sequence[Job], upscaler: Upscaler, target: Target, settings: Settings
    ) -> None:
        from superfine.upscaling.batch.source import result_pixels

        self.bar, self.jobs = bar, jobs
        peek = not bar.quiet and len(jobs) <= self.MOST
        self.pixels = [result_pixels(job, upscaler, target, settings) if peek else 0 for job in jobs]
        known = [pixels for pixels in self.pixels if pixels]
        mean = sum(known) // len(known) if known else 1
        self.pixels = [pixels or mean for pixels in self.pixels]
        self.counted = bool(known)
        self.total, self.done, self.skipped, self.begun = sum(self.pixels), 0.0, 0, perf_counter()
        self._shares = [0.0] * len(jobs)
        self._places = {id(job): number for number, job in enumerate(jobs)}

    def settle(self, outcome: Outcome) -> None:
        """Note that a job is over. What was there already, or failed, does not count for the rate."""
        number = self._places[id(outcome.job)]
        self._count(number, 1.0)
        if outcome.skipped or outcome.error is not None:
            self.skipped += self.pixels[number]

    def show(self, number: int, share: float) -> None:
        """Show that `share` of the job `number` is done."""
        self._count(number, share)
        rate = max(self.done - self.skipped, 0) / max(perf_counter() - self.begun, 1e-9)
        parts = [f"{number + 1} of {len(self.jobs)}"] if len(self.jobs) > 1 else []
        if rate and self.counted:
            parts.append(f"{rate / 1e6:.2f} MP/s")
        left = (self.total - self.done) / rate if rate else None
        self.bar.update(self.done / self.total, "  ".join([*parts, _name(self.jobs[number])]), left=left)

    def _count(self, number: int, share: float) -> None:
        self.done += self.pixels[number] * (share - self._shares[number])
        self._shares[number] = share


def _name(job: Job) -> str:
    return one_line(job.source.name if job.source is not None else "standard input")


def _sum_up(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Print one line: what was made, how large, how fast; and one more if something was converted."""
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
    line = f"{', '.join(parts)} in {time_of(seconds)}"
    agreements = [each for outcome in made for each in outcome.consistency]
    if agreements:
        before, after = (min(getattr(each, when) for each in agreements) for when in ("before", "after"))
        line += f"; agreement with the input {before:.1f} dB before back-projection, {after:.1f} dB after"
    if choices := [outcome.choice for outcome in made if outcome.choice is not None]:
        line += f"; {_chosen(choices)}"
    streamed = any(outcome.job.target is None for outcome in outcomes)
    print(one_line(line), file=sys.stderr if streamed else sys.stdout)
    changes = Counter(change for outcome in made for change in outcome.changes)
    if changes:
        several = len(made) > 1
        lines = [f"{change} ({count} of {len(made)})" if several else change for change, count in changes.items()]
        print(one_line(f"converted: {'; '.join(lines)}"), file=sys.stderr)


def _chosen(choices: Sequence[Choice]) -> str:
    """Say which model was chosen and why: "esrgcnn-photo (JPEG of quality 80)", of several how often."""
    if len(choices) == 1:
        return str(choices[0])
    counts = Counter(choice.model for choice in choices)
    reasons = {model: Counter(choice.reason for choice in choices if choice.model == model) for model in counts}
    return ", ".join(
        f"{model} for {count} ({reasons[model].most_common(1)[0][0]}{', ...' if len(reasons[model]) > 1 else ''})"
        for model, count in counts.most_common()
    )


def show_estimates(jobs: Sequence[Job], upscaler: Upscaler, target: Target, settings: Settings) -> int:
    """Show in a table what the jobs would make and cost; return how many would fail."""
    from superfine.cli.tables import show_table
    from superfine.errors import SuperfineError
    from superfine.upscaling.batch.estimate import Estimator, FileEstimate, peak_of_batch
    from superfine.upscaling.batch.rates import Rates

    starting = perf_counter() - BEGUN  # a real run starts up as long
    rates = Rates()
    estimators = [Estimator(each, rates) for each in upscaler.candidates]
    rows: list[list[str]] = []
    failed, estimates = 0, list[FileEstimate]()
    used: list[Upscaler] = []
    for job in jobs:
        try:
            estimate, choice, suited = _estimate(job, estimators, target, settings)
        except SuperfineError as error:
            failed += 1
            complain(str(error))
            continue
        estimates.append(estimate)
        used.append(suited)
        rows.append(
            [
                _name(job),
                _size(estimate.plan.source, estimate.frames),
                *([] if choice is None else [str(choice)]),
                _passes(estimate.plan),
                _size(estimate.plan.output, estimate.frames),
                size_of(estimate.pixels, "pixels"),
                size_of(estimate.memory),
                "unknown" if estimate.seconds is None else time_of(estimate.seconds),
            ]
        )
    if estimates:
        pixels, seconds = sum(each.pixels for each in estimates), [each.seconds for each in estimates]
        passes = {scale for each in estimates for scale in each.plan.passes}
        engines = " and ".join(each.describe(passes) for each in dict.fromkeys(used))
        unknown = sorted({suffix for each in estimators for suffix in each.unknown})
        known = [each for each in seconds if each is not None]
        time = time_of(starting + sum(known)) if len(known) == len(seconds) else "time unknown"
        caption = (
            f"{_pictures(len(estimates))}, {size_of(pixels, 'pixels')}, {size_of(peak_of_batch(estimates))} of memory, "
            f"{time} ({engines}); nothing was written"
        )
        model = ("model",) if len(estimators) > 1 else ()
        heads = ("picture", "size", *model, "passes", "result", "pixels", "memory", "time")
        show_table(heads, rows, caption=caption)
        if len(known) < len(seconds):
            print(
                "The time is known as soon as one picture was made with this model, engine and scale on this machine."
            )
        elif unknown:
            print(f"Without the time to read or write {', '.join(unknown)}: not measured here yet.")
    return failed


def _estimate(
    job: Job, estimators: Sequence[Estimator], target: Target, settings: Settings
) -> tuple[FileEstimate, Choice | None, Upscaler]:
    """Estimate one job, from its header where that is enough, with the model chosen for it. Raises SuperfineError."""
    from superfine.images.formats.frames import Frames
    from superfine.images.rows import PictureRows
    from superfine.upscaling.auto import CLEAN
    from superfine.upscaling.batch.estimate import peek
    from superfine.upscaling.batch.source import (
        by_rows_if_large,
        load_frames,
        open_source,
        result_suffix,
        source_suffix,
    )
    from superfine.upscaling.batch.stages import choose_for

    upscaler, suffixes = estimators[0].upscaler, (source_suffix(job), result_suffix(job, settings))
    picture = None if job.source is None else peek(job.source, settings.max_pixels)
    if picture is not None and (choice := upscaler.choose(picture)) is not None and choice.model == CLEAN:
        picture = None  # the header alone does not say so
    source = (
        open_source(job, upscaler, settings)
        if picture is None
        else by_rows_if_large(Frames([picture]), job, upscaler, settings)
    )
    choice = choose_for(source, upscaler)
    suited = upscaler.of(choice)
    estimator = next(each for each in estimators if each.upscaler is suited)
    estimate = None if isinstance(source, Frames) else estimator.by_rows(source, target, *suffixes)
    if estimate is None:
        if isinstance(source, PictureRows):
            source = Frames([source.picture])
        frames = source if isinstance(source, Frames) else load_frames(job, settings)
        estimate = estimator(frames, target, *suffixes)
    return estimate, choice, suited


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
