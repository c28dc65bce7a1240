"""`superfine upscale`: pictures in, larger pictures out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli.messages import complain, one_line, size_of, time_of

if TYPE_CHECKING:
    from superfine.upscale import Upscaler
    from superfine.upscale.batch import Job


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Pictures, folders, globs in quotes, or - for standard input."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="OUT", help="A file for one picture, a folder for several, - for standard output."
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME|FILE", help="esrgcnn, cfsrcnn, or a weights file.")
    ] = "esrgcnn",
    scale: Annotated[int, typer.Option("--scale", "-s", metavar="2|3|4", help="How many times as wide and high.")] = 4,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="What computes: auto, openvino, pytorch or nearest (repeats pixels).")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="auto (bf16 where the processor has it), fp32, bf16 or fp16.")
    ] = "auto",
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Refuse larger pictures before unpacking them.", show_default="400000000"
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Pixels of a tile: less memory, same result.", show_default="chosen"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")] = False,
) -> int:
    """Make pictures 2, 3 or 4 times as large.

    - superfine upscale photo.jpg -o photo-x4.png
    - superfine upscale holiday/ -o large/ -s 2
    - superfine upscale 'scans/*.tif' -o large/ -m cfsrcnn -s 3

    Colour profile, EXIF, resolution and transparency come along. Nothing is overwritten unless you say so,
    and a result appears under its name only when it is whole. A picture that fails is named on standard
    error and the rest is done: exit code 1 if some failed, 2 if all did.
    """
    from superfine.upscale import Upscaler
    from superfine.upscale.batch import plan_jobs

    jobs, complaints = plan_jobs(inputs, out)
    for error in complaints:
        complain(str(error))
    if not jobs:
        return 2
    upscaler = Upscaler(model, scale, engine, precision, tile)
    name = "nearest" if engine == "nearest" else Path(model).stem
    how = f"{name} x{scale}, {upscaler.engine.name} {upscaler.engine.precision}"
    failed = run(jobs, upscaler, how, overwrite, max_pixels)
    if failed == len(jobs):
        return 2
    return 1 if failed or complaints else 0


def run(jobs: list[Job], upscaler: Upscaler, how: str, overwrite: bool, max_pixels: int | None) -> int:
    """Does the jobs, shows how far they are, says what was done; how many failed."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from superfine.errors import SuperfineError

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    started, failed, pixels, last = perf_counter(), 0, 0, ""
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=len(jobs))
        for number, job in enumerate(jobs):
            bar.update(
                task, completed=number, description=one_line(job.source.name if job.source else "standard input")
            )

            def show(done: int, tiles: int, number: int = number) -> None:
                bar.update(task, completed=number + done / tiles)

            try:
                before, after = do(job, upscaler, overwrite, max_pixels, show)
            except SuperfineError as error:
                failed += 1
                bar.console.file.flush()
                complain(str(error))
                continue
            pixels += after[0] * after[1]
            last = f"{job.target or 'standard output'}: {before[0]}x{before[1]} to {after[0]}x{after[1]}"
    seconds = perf_counter() - started
    done = len(jobs) - failed
    if done:
        what = last if len(jobs) == 1 else f"{done} pictures, {size_of(pixels, 'pixels')}"
        output = sys.stderr if any(job.target is None for job in jobs) else sys.stdout
        print(one_line(f"{what} in {time_of(seconds)} ({how})"), file=output)
    if failed and len(jobs) > 1:
        print(f"{failed} of {len(jobs)} pictures failed", file=sys.stderr)
    return failed


def do(
    job: Job, upscaler: Upscaler, overwrite: bool, max_pixels: int | None, progress: Callable[[int, int], None]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """One picture, from file to file: its (width, height) before and after. SuperfineError if it fails."""
    from superfine.images.files import DEFAULT_MAX_PIXELS, read, write

    if job.target is not None:
        check_target(job, overwrite)
    picture = read(sys.stdin.buffer if job.source is None else job.source, max_pixels=max_pixels or DEFAULT_MAX_PIXELS)
    larger = upscaler(picture, progress=progress)
    write(larger, sys.stdout.buffer if job.target is None else job.target)
    return (picture.width, picture.height), (larger.width, larger.height)


def check_target(job: Job, overwrite: bool) -> None:
    """Says no before the network runs, not after. Makes the folder the target goes into. ImageError."""
    from superfine.errors import ImageError

    assert job.target is not None
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        exists = job.target.exists()
        same = exists and job.source is not None and job.source.exists() and job.target.samefile(job.source)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"cannot write {job.target}: {reason}") from None
    if same:
        raise ImageError(f"{job.target} is the picture itself: choose another name or folder for the result")
    if exists and not overwrite:
        raise ImageError(f"{job.target} exists: pass --overwrite to replace it, or choose another name")
