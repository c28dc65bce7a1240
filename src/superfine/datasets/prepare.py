"""Make low-resolution folders from a folder of originals by the bit-exact bicubic, in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from superfine import images
from superfine.cores import cores
from superfine.errors import DataError, ImageError
from superfine.images.resize import crop_to_multiple, downscale


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`."""

    folder: Path  # the LR folder, with X2, X3, ... inside
    written: int
    kept: int  # existed already
    failed: list[str]  # one line a picture that could not be read


@dataclass(frozen=True)
class _Job:
    """One original and its missing LR files."""

    """One original and its missing LR files."""

    source: Path
    targets: dict[int, Path]  # scale → LR file


def lr_folder(folder: Path) -> Path:
    """Return the LR folder beside a folder of originals: DIV2K_train_HR → DIV2K_train_LR_bicubic."""
    resolved = folder.resolve()
    return resolved.with_name(resolved.name.removesuffix("_HR") + "_LR_bicubic")


def prepare(
    folder: Path,
    scales: Sequence[int],
    out: Path | None = None,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Make `out`/XS/NAMExS.png for every picture of `folder` at every scale (the layout of DIV2K).

    Originals are cut to a multiple of the scale first (top left part). Pictures keep their depth.

    Args:
        folder: of originals.
        scales: 2 or more each.
        out: folder for the small pictures; None is `lr_folder(folder)`.
        workers: processes; None is one a core.
        overwrite: make existing files again.
        progress: called with (pictures done, pictures in all).

    Raises:
        DataError: no folder, no pictures in it, two of one name, or a folder that cannot be written.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; give a folder of pictures")
    sources = sorted(p for p in folder.iterdir() if p.suffix.lower() in images.SUFFIXES and not p.name.startswith("."))
    if not sources:
        raise DataError(f"{folder} holds no pictures; expected {', '.join(images.SUFFIXES)} files")
    stems = [path.stem for path in sources]
    if twins := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise DataError(f"{folder} holds two pictures called {twins[0]}; their small ones would overwrite each other")
    target = out or lr_folder(folder)
    try:
        for scale in scales:
            (target / f"X{scale}").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {target}: {error.strerror or error}; choose another folder with -o") from error
    jobs, kept = [], 0
    for path in sources:
        wanted = {scale: target / f"X{scale}" / f"{path.stem}x{scale}.png" for scale in scales}
        missing = {scale: file for scale, file in wanted.items() if overwrite or not file.exists()}
        kept += len(wanted) - len(missing)
        if missing:
            jobs.append(_Job(path, missing))
    failed = _run(jobs, workers or cores(), progress)
    written = sum(len(job.targets) for job in jobs) - sum(len(job.targets) for job, _ in failed)
    return Prepared(target, written, kept, [text for _, text in failed])


def _run(jobs: list[_Job], workers: int, progress: Callable[[int, int], None] | None) -> list[tuple[_Job, str]]:
    """Run all jobs in processes; return those that failed, with the reason."""
    failed = []
    if not jobs:
        return []
    with ProcessPoolExecutor(max_workers=min(workers, len(jobs))) as pool:
        pending = {pool.submit(_shrink, job): job for job in jobs}
        for done, future in enumerate(as_completed(pending), 1):
            if reason := future.result():
                failed.append((pending[future], reason))
            if progress:
                progress(done, len(jobs))
    return sorted(failed, key=lambda each: each[0].source)


def _shrink(job: _Job) -> str:
    """Make the LR files of one picture; return the reason if that fails, otherwise ""."""
    try:
        picture = images.read(job.source)
        for scale, target in job.targets.items():
            if min(picture.pixels.shape[:2]) < scale:
                return f"{job.source} is too small to be shrunk {scale} times"
            pixels = downscale(crop_to_multiple(picture.pixels, scale), scale)
            alpha = None if picture.alpha is None else downscale(crop_to_multiple(picture.alpha, scale), scale)
            images.write(replace(picture, pixels=pixels, alpha=alpha), target)
    except ImageError as error:
        return str(error)
    return ""
