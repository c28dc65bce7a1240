"""The three stages of a job, from file to file: load, enlarge, store. Each job fails alone, early where possible."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from time import perf_counter

from superfine.errors import ImageError, SuperfineError
from superfine.images.bands import Band, BandedImage
from superfine.images.files import write
from superfine.images.formats.encode import FORMATS
from superfine.images.formats.frames import Frames, same_pixels, write_frames
from superfine.images.picture import Picture
from superfine.images.provenance import embed
from superfine.images.rows import PictureRows, Rows
from superfine.upscaling.auto import Choice
from superfine.upscaling.back_projection import Consistency
from superfine.upscaling.batch.changes import list_changes
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.journal import Journal, Stamp
from superfine.upscaling.batch.source import Settings, load_frames, open_source
from superfine.upscaling.finish import Upscaled
from superfine.upscaling.flow import WindowTimes
from superfine.upscaling.in_step import PASSING, in_step
from superfine.upscaling.many import gains_by_many, upscale_many
from superfine.upscaling.memory import bytes_of
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler

Size = tuple[int, int]
"""Width and height, pixels."""


@dataclass(frozen=True)
class Outcome:
    """The end of one job; `error` and `skipped` exclude each other and everything after them."""

    job: Job
    error: SuperfineError | None = None
    skipped: bool = False
    before: Size = (0, 0)
    after: Size = (0, 0)
    passes: tuple[int, ...] = ()
    consistency: tuple[Consistency, ...] = ()
    changes: tuple[str, ...] = ()
    """What of the source the result does not have, and what of the settings had no effect: "CMYK to sRGB"."""
    choice: Choice | None = None
    """The model chosen for the picture, where that was left to superfine."""
    reading: float | None = None
    """Seconds to open or read the source; None for a file of several pictures."""
    writing: float | None = None
    """Seconds for everything after reading, but for the network; None for a file of several pictures."""


BatchProgress = Callable[[int, float], None]
"""Called with the number of a job, from 0, and the share of it that is done, 0..1."""

LARGE = 200_000_000
"""Bytes. A result this large is written before the next picture is enlarged: two would not fit beside each other."""


@dataclass(frozen=True)
class Loaded:
    """A job after its first stage."""

    source: Frames | Rows
    stamp: Stamp | None  # of the source, as it was when it was read
    seconds: float
    choice: Choice | None = None

    @property
    def is_large(self) -> bool:
        return not isinstance(self.source, Frames) or _bytes_of(self.source.pictures) > LARGE


@dataclass(frozen=True)
class Enlarged:
    """A job after its second stage; the network runs in the third where `result` is a BandedImage."""

    before: Size
    after: Size
    result: Frames | BandedImage
    passes: tuple[int, ...]
    stamp: Stamp | None
    consistency: tuple[Consistency, ...] = ()
    changes: tuple[str, ...] = ()
    reading: float = 0.0
    around: float = 0.0  # seconds spent on it since it was read, without the network
    times: WindowTimes | None = None  # of the network, where it runs while the result is written
    choice: Choice | None = None

    @property
    def bytes(self) -> int:
        """Count the bytes of the result; 0 where it is not in memory."""
        return _bytes_of(self.result.pictures) if isinstance(self.result, Frames) else 0

    @property
    def is_large(self) -> bool:
        return not isinstance(self.result, Frames) or self.bytes > LARGE


def _bytes_of(pictures: Sequence[Picture]) -> int:
    return sum(each.pixels.nbytes for each in pictures)


def load(job: Job, upscaler: Upscaler, settings: Settings, journal: Journal | None) -> Loaded | Outcome:
    """Read a job's source; give an Outcome if there is nothing to do or it fails. No SuperfineError leaves it."""
    try:
        if _is_settled(job, settings, journal):
            return Outcome(job, skipped=True)
        started = perf_counter()
        stamp = None if job.source is None else Stamp.of(job.source)
        source = open_source(job, upscaler, settings)
        seconds = perf_counter() - started
        return Loaded(source, stamp, seconds, choose_for(source, upscaler))
    except SuperfineError as error:
        return Outcome(job, error)


def choose_for(source: Frames | Rows, upscaler: Upscaler) -> Choice | None:
    """Choose the model for a source, of several frames by the first; None where the user chose. Raises ImageError."""
    return upscaler.choose(source.pictures[0] if isinstance(source, Frames) else source)


def _is_settled(job: Job, settings: Settings, journal: Journal | None) -> bool:
    """Say if the result is there already, and make its folder. Raises ImageError if it must not be written."""
    target, source = job.target, job.source
    if target is None:
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        exists = target.exists()
        same = exists and source is not None and source.exists() and target.samefile(source)
    except OSError as error:
        raise ImageError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from None
    if same:
        raise ImageError(f"{target} is the picture itself: choose another name or folder for the result")
    if not exists:
        return False
    if settings.skip_existing or (journal is not None and source is not None and journal.is_done(source, target)):
        return True
    if not settings.overwrite and not (journal is not None and journal.is_own(target)):
        raise ImageError(f"{target} exists: pass --overwrite to replace it, or choose another name")
    return False


def enlarge(
    job: Job, loaded: Loaded, upscaler: Upscaler, target: Target, settings: Settings, report: Callable[[float], None]
) -> Enlarged | Outcome:
    """Run the network over what was read, or plan the bands; give an Outcome if that fails."""
    source, choice = loaded.source, loaded.choice
    try:
        upscaler = upscaler.of(choice)
        if not isinstance(source, Frames):
            before = (source.head.width, source.height)
            after = upscaler.plan(*before, target).output
            check_format(job, after)
            found = upscaler.upscale_rows(source, target, report)
            if found is not None:
                image, plan = found
                changes = list_changes(image.head, image.head, job, settings)
                head = _marked(image.head, upscaler, before, after, target, settings, choice)
                return Enlarged(
                    before, after, replace(image, head=head), plan.passes, loaded.stamp, changes=changes,
                    reading=loaded.seconds, times=upscaler.tiled(plan.passes[0]).times, choice=choice,
                )  # fmt: skip
            source = Frames([source.picture]) if isinstance(source, PictureRows) else load_frames(job, settings)
        first = source.pictures[0]
        check_format(job, upscaler.plan(first.width, first.height, target).output)
        started, before_windows = perf_counter(), upscaler.seconds_in_windows
        enlarged = _enlarge_frames(source.pictures, upscaler, target, report)
        done = finished(job, loaded, source, enlarged, upscaler, target, settings)
        return replace(done, around=perf_counter() - started - (upscaler.seconds_in_windows - before_windows))
    except (MemoryError, SuperfineError) as error:
        return failed(job, error)


def finished(
    job: Job,
    loaded: Loaded,
    source: Frames,
    enlarged: Sequence[Upscaled],
    upscaler: Upscaler,
    target: Target,
    settings: Settings,
) -> Enlarged:
    """Make the end of the second stage of the pictures of a file and what they became."""
    first, plan = source.pictures[0], enlarged[0].plan
    before, after = (first.width, first.height), plan.output
    pictures = [_marked(each.picture, upscaler, before, after, target, settings, loaded.choice) for each in enlarged]
    consistency = tuple(pair for each in enlarged for pair in each.consistency)
    frames = replace(source, pictures=pictures)
    changes = list_changes(first, pictures[0], job, settings, animated=bool(frames.durations))
    return Enlarged(
        before, after, frames, plan.passes, loaded.stamp, consistency, changes, loaded.seconds, choice=loaded.choice
    )


def failed(job: Job, error: MemoryError | SuperfineError) -> Outcome:
    """Make the end of a job that failed in its second stage."""
    return Outcome(job, _named(job, error))


def _named(job: Job, error: MemoryError | SuperfineError) -> SuperfineError:
    """Put the picture's name into the error."""
    name = str(job.source or "standard input")
    if isinstance(error, MemoryError):
        return ImageError(f"{name} does not fit in memory at this size: pass a smaller --tile or scale")
    return error if name in str(error) else type(error)(f"{name}: {error}")


def _enlarge_frames(
    pictures: Sequence[Picture], upscaler: Upscaler, target: Target, report: Callable[[float], None]
) -> list[Upscaled]:
    """Enlarge every frame; one that repeats the frame before costs nothing."""
    enlarged: list[Upscaled] = []
    fresh = [not number or not same_pixels(picture, pictures[number - 1]) for number, picture in enumerate(pictures)]
    if len(pictures) > 1 and gains_by_many(upscaler, pictures[0], target):
        items = ((number, picture if fresh[number] else None) for number, picture in enumerate(pictures))
        for number, found in in_step(items, lambda given: upscale_many(upscaler, given, target), PASSING):
            enlarged.append(found or enlarged[-1])
            report((number + 1) / len(pictures))
        return enlarged
    beside = sum(
        bytes_of(picture, upscaler.plan(picture.width, picture.height, target).output) for picture in pictures[1:]
    )
    for number, picture in enumerate(pictures):
        if not fresh[number]:
            enlarged.append(enlarged[-1])
            continue

        def share(part: float, number: int = number) -> None:
            report((number + part) / len(pictures))

        enlarged.append(upscaler.upscale_picture(picture, target, share, beside=beside + _bytes_of(pictures[1:])))
    return enlarged


def _marked(
    picture: Picture,
    upscaler: Upscaler,
    before: Size,
    after: Size,
    target: Target,
    settings: Settings,
    choice: Choice | None,
) -> Picture:
    """Write into the result what the settings ask for: its resolution, and what made it."""
    across, down = after[0] / before[0], after[1] / before[1]
    if settings.scale_dpi and picture.dpi is not None and target.dpi is None:
        picture = replace(picture, dpi=(picture.dpi[0] * across, picture.dpi[1] * down))
    return embed(picture, upscaler.note(across, down, choice)) if settings.note else picture


def check_format(job: Job, output: Size) -> None:
    """Refuse a result that its format cannot hold, before the network runs. Raises ImageError."""
    form = FORMATS.get(job.target.suffix.lower()) if job.target is not None else None
    if form is not None and max(output) > form.longest_side:
        raise ImageError(
            f"{output[0]} x {output[1]} is too large for {form.name}, which ends at {form.longest_side} pixels a side; "
            "write PNG or TIFF"
        )


def _put_out(whole: BytesIO) -> None:
    """Write to standard output. A reader that left early is for the command line to handle."""
    try:
        sys.stdout.buffer.write(whole.getbuffer())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python tries to flush the rest once more on its way out: it must lead somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ImageError(f"cannot write standard output: {(error.strerror or str(error)).lower()}") from None


def store(job: Job, enlarged: Enlarged | Outcome, settings: Settings, journal: Journal | None) -> Outcome:
    """Write the result, whole or not at all; an Outcome of an earlier stage is passed on."""
    if isinstance(enlarged, Outcome):
        return enlarged
    inside: list[MemoryError | SuperfineError] = []
    started, before_windows = perf_counter(), 0.0 if enlarged.times is None else enlarged.times.seconds
    try:
        if isinstance(enlarged.result, Frames) and job.target is None:
            whole = BytesIO()  # some formats are written with steps back, which a pipe does not take
            write_frames(enlarged.result, whole, format=settings.format, quality=settings.quality)
            _put_out(whole)
        elif job.target is not None:
            if journal is not None:
                journal.begin(job.target)
            if isinstance(enlarged.result, Frames):
                write_frames(enlarged.result, job.target, quality=settings.quality)
            else:
                write(replace(enlarged.result, bands=_noted(enlarged.result.bands, inside)), job.target)
            if journal is not None:
                journal.done(enlarged.stamp, job.target)
    except (MemoryError, SuperfineError) as error:
        if inside or isinstance(error, MemoryError):
            return Outcome(job, _named(job, (*inside, error)[0]))
        return Outcome(job, error)
    spent = perf_counter() - started - (0.0 if enlarged.times is None else enlarged.times.seconds - before_windows)
    single = not isinstance(enlarged.result, Frames) or len(enlarged.result.pictures) == 1
    return Outcome(
        job,
        before=enlarged.before,
        after=enlarged.after,
        passes=enlarged.passes,
        consistency=enlarged.consistency,
        changes=enlarged.changes,
        choice=enlarged.choice,
        reading=enlarged.reading if single else None,
        writing=enlarged.around + spent if single else None,
    )


def _noted(bands: Iterable[Band], errors: list[MemoryError | SuperfineError]) -> Iterator[Band]:
    """Pass on the bands; note an error in computing them, which the writer takes for its own."""
    try:
        yield from bands
    except (MemoryError, SuperfineError) as error:
        errors.append(error)
        raise
