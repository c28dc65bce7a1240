"""`superfine pack`: packs training pictures into one file, fast to read, or small enough to carry."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from superfine.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from superfine.training.data.portable import Codec, PortableReport

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
SHOWN = 10
"""So many unusable pictures are named; more are counted."""


def pack(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders of pictures, searched through.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")],
    limit: Annotated[
        str | None, typer.Option(help="Re-encode into a portable pack of at most this size: 55MiB, 2GB.")
    ] = None,
    codec: Annotated[str, typer.Option(help="With --limit: webp, jpeg (faster) or avif (better, slow).")] = "webp",
    scales: Annotated[str, typer.Option("-s", "--scales", help="Magnifications to make LR pictures for.")] = "2,3,4",
    extra: Annotated[
        list[float] | None,
        typer.Option("--extra-downscale", help="Every picture once more at this share of its size, 0.6 to 0.9 say."),
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A file name to leave out.")] = None,
    smallest: Annotated[int, typer.Option(help="Leave out pictures with a side under this, in pixels.")] = 128,
    workers: Annotated[int, typer.Option(help="Processes; 0 for one a core.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Pack training pictures into one file.

    - superfine pack photos -o photos.pack
    - superfine pack photos --limit 55MiB -o photos.zip
    - superfine train recipe.toml --pack photos.zip

    Training opens a pack in an instant; superfine train packs a recipe's folders by itself where there is none. With a
    limit it is small enough to carry to another machine. Pictures that cannot be used are named, left out and counted.
    With a limit, nothing but the pictures themselves travels (LR pictures and extra downscales are made there), at the
    highest quality that fits, and what that quality costs is printed.
    """
    from rich.console import Console

    from superfine.training.data.pictures import find_pictures

    if out.exists() and not overwrite:
        raise DataError(f"{out} is there already: add --overwrite, or name another file")
    size = None if limit is None else parse_size(limit)
    if not all(0.1 < share < 1 for share in extra or ()):
        raise DataError(f"--extra-downscale {extra}: wanted shares between 0.1 and 1")
    console = Console(stderr=True)
    paths = find_pictures(folders, exclude or ())
    if size is None:
        _native(out, paths, _scales(scales), tuple(extra or ()), smallest, workers, console)
    else:
        if extra:
            raise DataError("--extra-downscale and --limit exclude each other: set data.extra_downscales in the recipe")
        _portable(out, paths, size, codec, smallest, workers, console)


def _native(
    out: Path,
    paths: Sequence[Path],
    scales: tuple[int, ...],
    extra: tuple[float, ...],
    smallest: int,
    workers: int,
    console: Console,
) -> None:
    from superfine.cli.messages import size_of
    from superfine.training.data.pack import PackOptions, write_pack

    with progress_bar(console) as update:
        report = write_pack(
            out, paths, PackOptions(scales, extra, smallest), workers=workers or None, progress=update("packing")
        )
    show_left_out(report.left_out, console)
    print(f"{report.kept} pictures in {out}, {size_of(out.stat().st_size)}; {len(report.left_out)} left out")


def _portable(
    out: Path, paths: Sequence[Path], limit: int, codec: str, smallest: int, workers: int, console: Console
) -> None:
    from superfine.training.data.portable import OPTIONS, write_portable

    if codec not in OPTIONS:
        raise DataError(f"unknown codec {codec!r}; choose from {', '.join(OPTIONS)}")
    console.print("looking for the quality that fits", style="dim")
    with progress_bar(console) as update:
        report = write_portable(
            out,
            paths,
            limit,
            codec=cast("Codec", codec),
            smallest_side=smallest,
            workers=workers or None,
            progress=update("encoding"),
        )
    show_left_out(report.left_out, console)
    print(portable_line(out, report, codec))


def portable_line(out: Path, report: PortableReport, codec: str) -> str:
    """Say in one line what a portable pack holds and what its size cost."""
    from superfine.cli.messages import size_of

    kept = f"{report.as_they_are} as they are"
    if math.isfinite(report.psnr_mean):
        kept += (
            f", {report.reencoded} as {codec} quality {report.quality}: {report.psnr_mean:.2f} dB mean, "
            f"{report.psnr_worst:.2f} dB worst PSNR (RGB) against the originals"
        )
    total = report.as_they_are + report.reencoded
    return f"{total} pictures in {out}, {size_of(report.size)}: {kept}; {len(report.left_out)} left out"


def show_left_out(lines: Sequence[str], console: Console) -> None:
    """Name the pictures that could not be used, the first few of them."""
    from superfine.cli.messages import one_line

    for line in lines[:SHOWN]:
        console.print(f"left out: {one_line(line)}", markup=False, highlight=False, soft_wrap=True)
    if len(lines) > SHOWN:
        console.print(f"left out: {len(lines) - SHOWN} more")


def parse_size(text: str) -> int:
    """Bytes in "55MiB", "2 GB", "1.5g" or "1000000". Raises DataError."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmg]?i?)b?\s*", text.lower())
    if match is None or match[2] not in UNITS or not float(match[1]) * UNITS[match[2]] >= 1:
        raise DataError(f"--limit {text!r}: wanted a size such as 55MiB, 500kB or 2GB")
    return int(float(match[1]) * UNITS[match[2]])


def _scales(text: str) -> tuple[int, ...]:
    try:
        chosen = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        chosen = ()
    if not chosen or not set(chosen) <= {2, 3, 4}:
        raise DataError(f"--scales {text!r}: wanted some of 2,3,4")
    return chosen


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """A progress bar, on terminals only; calling it with a title gives a function to call with (done, in all)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("left")
    quiet = not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet, transient=True) as bar:

        def start(title: str) -> Callable[[int, int], None]:
            tasks: list[TaskID] = []

            def update(done: int, total: int) -> None:
                if not tasks:  # nothing is shown for work that turns out not to be needed
                    tasks.append(bar.add_task(title, total=total))
                bar.update(tasks[0], completed=done)

            return update

        yield start
