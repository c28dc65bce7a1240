"""Which pictures are meant, and where each result goes: paths only, no pixel is read here."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from superfine.errors import ImageError, PlanError
from superfine.images.files import SUFFIXES

STREAM = "-"
"""Standard input or output."""

FALLBACK = ".png"
"""The suffix of a result whose source has a format that can only be read: lossless, and holds everything."""


@dataclass(frozen=True)
class Job:
    """One picture to do. Either path is None where standard input or output is meant."""

    source: Path | None
    target: Path | None


@dataclass(frozen=True)
class Found:
    """A picture an input stands for, and its place under the folder that was named (its bare name otherwise)."""

    source: Path
    place: Path


def plan_jobs(
    inputs: Sequence[str], out: str, *, suffix: str = "", format: str | None = None
) -> tuple[list[Job], list[ImageError]]:
    """The jobs of a command line, and a line of complaint for every input that stands for no picture.

    inputs: files, folders (with everything in them, mirrored under `out`), globs, or "-" alone for standard
    input. out: a file for one picture, a folder for several, or "-" for standard output. suffix is put before
    the format's own ("photo" + "-x4" + ".png"); format, such as ".webp", replaces that of every source.

    Raises PlanError where `out` cannot hold what the inputs stand for.
    """
    if format is not None and format not in SUFFIXES:
        raise PlanError(f"unknown format {format!r}: want one of {' '.join(each.lstrip('.') for each in SUFFIXES)}")
    if STREAM in inputs:
        return _from_stream(inputs, out), []
    found: list[Found] = []
    complaints: list[ImageError] = []
    several = len(inputs) > 1
    for text in inputs:
        try:
            pictures = list(expand(text))
            several = several or pictures[0].place != Path(text).name or not Path(text).is_file()
            found += pictures
        except ImageError as error:
            complaints.append(error)
    if not found:
        return [], complaints
    if out == STREAM:
        if len(found) > 1:
            raise PlanError(f"standard output holds one picture, not {len(found)}: name a folder")
        return [Job(found[0].source, None)], complaints
    if _is_folder(out, several):
        return _into_folder(found, Path(out), suffix, format, complaints), complaints
    _check_suffix(Path(out))
    return [Job(found[0].source, Path(out))], complaints


def expand(text: str) -> Iterator[Found]:
    """The pictures that one input stands for: a file, a folder's files at any depth, or a glob's.

    A file of that very name comes before a glob: `photo[1].png` is what browsers call a second download.
    Raises ImageError where there is none.
    """
    path = Path(text)
    try:
        if path.is_dir():
            yield from _folder(path)
        elif not path.exists() and glob.has_magic(text):
            yield from _glob(text)
        else:
            yield Found(path, Path(path.name))  # a missing file too: reading it says so
    except OSError as error:
        raise ImageError(f"cannot look into {text}: {(error.strerror or str(error)).lower()}") from None


def _folder(top: Path) -> Iterator[Found]:
    """Pictures under a folder in order of their names, hidden ones left out, each folder entered once (links can loop)."""
    seen: set[tuple[int, int]] = set()
    count = 0
    for here, folders, files in os.walk(top, followlinks=True, onerror=_unreadable):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here) / name
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                count += 1
                yield Found(path, path.relative_to(top))
    if not count:
        raise ImageError(f"no pictures in the folder {top}: looked for {' '.join(SUFFIXES)}")


def _unreadable(error: OSError) -> None:
    raise error


def _glob(pattern: str) -> Iterator[Found]:
    """Matches of a glob (** for any depth). They keep their place below the part without wildcards."""
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    matches = sorted(path for path in map(Path, glob.iglob(pattern, recursive=True)) if path.is_file())
    pictures = [path for path in matches if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise ImageError(f"no pictures match {pattern}: looked for {' '.join(SUFFIXES)}")
    yield from (Found(path, path.relative_to(fixed)) for path in pictures)


def _from_stream(inputs: Sequence[str], out: str) -> list[Job]:
    if len(inputs) > 1:
        raise PlanError("standard input (-) holds one picture: give it alone")
    if out == STREAM:
        return [Job(None, None)]
    if _is_folder(out, several=False):
        raise PlanError(f"a picture from standard input has no name to take in the folder {out}: name a file")
    _check_suffix(Path(out))
    return [Job(None, Path(out))]


def _is_folder(out: str, several: bool) -> bool:
    """Whether `out` means a folder: it is one, it ends like one, it has no suffix, or several pictures go there."""
    path = Path(out)
    if path.is_dir() or out.endswith(("/", os.sep)):
        return True
    if several and (path.exists() or path.suffix.lower() in SUFFIXES):
        raise PlanError(f"several pictures cannot go into the one file {out}: name a folder")
    return several or not path.suffix


def _into_folder(
    found: Sequence[Found], out: Path, suffix: str, format: str | None, complaints: list[ImageError]
) -> list[Job]:
    jobs: dict[Path, Job] = {}
    for each in found:
        ending = format or (each.place.suffix if each.place.suffix.lower() in SUFFIXES else FALLBACK)
        target = out / each.place.with_name(each.place.stem + suffix + ending)
        if target in jobs:
            complaints.append(ImageError(f"{each.source} and {jobs[target].source} would both become {target}"))
        else:
            jobs[target] = Job(each.source, target)
    return list(jobs.values())


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise PlanError(f"cannot write {path}: unknown suffix {path.suffix!r}; want one of {' '.join(SUFFIXES)}")
