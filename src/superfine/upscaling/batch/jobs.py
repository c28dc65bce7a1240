"""Find the pictures that a command line names, and a place for each result: paths only, no pixel is read here."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from superfine.errors import ImageError, PlanError
from superfine.images.files import READABLE, SUFFIXES
from superfine.images.formats.encode import FORMATS

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
    named: bool = False
    """True if it was named itself, not found in a folder or by a glob."""


@dataclass(frozen=True)
class Batch:
    """The pictures that a command line asks for."""

    jobs: list[Job]
    complaints: list[ImageError]
    """A line for every input that stands for no picture."""
    folder: Path | None = None
    """The folder of the results, if they go into one."""
    left_out: list[Path] = field(default_factory=list)
    """Pictures found that are taken for results of an earlier run."""


def plan_batch(
    inputs: Sequence[str], out: str | None, *, suffix: str = "", format: str | None = None, label: str = ""
) -> Batch:
    """Find out which picture becomes which file.

    inputs: files, folders (with everything in them, mirrored under `out`), globs, or "-" alone for standard
    input. out: a file for one picture, a folder for several, or "-" for standard output. suffix is put before
    the format's own ("photo" + "-x4" + ".png"); format, such as ".webp", replaces that of every source.

    Where out is None, results lie beside their sources, with `label` ("-x4") behind the name: photo.jpg becomes
    photo-x4.jpg, the folder pics becomes pics-x4, and standard input goes to standard output.

    Raises PlanError where `out` cannot hold what the inputs stand for.
    """
    if format is not None and format not in SUFFIXES:
        raise PlanError(f"unknown format {format!r}: want one of {' '.join(each.lstrip('.') for each in SUFFIXES)}")
    if STREAM in inputs:
        return Batch(_from_stream(inputs, STREAM if out is None else out, format), [])
    if out is None:
        if not any(_is_dir(Path(text)) for text in inputs):
            return _beside_sources(inputs, suffix or label, format)
        out = _sibling(inputs, label)
    found: list[Found] = []
    complaints: list[ImageError] = []
    several = len(inputs) > 1
    for text in inputs:
        pictures = expand(text, complaints, without=Path(out))
        several = several or [each.source for each in pictures] != [Path(text)]
        found += pictures
    if not found:
        return Batch([], complaints)
    if out == STREAM:
        if len(found) > 1:
            raise PlanError(f"standard output holds one picture, not {len(found)}: name a folder")
        return Batch([Job(found[0].source, None)], complaints)
    if _is_folder(out, several):
        folder = Path(out)
        kept, left_out = _without_results(_into_folder(found, folder, suffix, format), suffix)
        return Batch(_distinct(kept, complaints), complaints, folder, left_out)
    _check_suffix(Path(out), format)
    return Batch([Job(found[0].source, Path(out))], complaints)


def label_of(sizes: dict[str, Any]) -> str:
    """Return what names of results end in where nobody names them: -x4, -3000w, -3840x2160."""
    ((name, size),) = sizes.items()
    forms = {
        "scale": "x{}", "width": "{}w", "height": "{}h", "long_edge": "long{}", "short_edge": "short{}",
        "megapixels": "{}mp",
    }  # fmt: skip
    text = str(size).partition("@")[0].replace("/", "-")  # of 30x40cm@300dpi, and of a scale of 3/2
    return "-" + forms.get(name, "{}").format(text)


def _beside_sources(inputs: Sequence[str], suffix: str, format: str | None) -> Batch:
    """Plan results in the folders of their sources."""
    complaints: list[ImageError] = []
    found = list(dict.fromkeys(each for text in inputs for each in expand(text, complaints)))
    pairs = [(each, each.source.with_name(result_name(each.place, suffix, format))) for each in found]
    kept, left_out = _without_results(pairs, suffix, named_too=True)
    return Batch(_distinct(kept, complaints), complaints, left_out=left_out)


def _sibling(inputs: Sequence[str], label: str) -> str:
    """Return the folder beside the one that is the only input. Raises PlanError."""
    folder = Path(inputs[0])
    if len(inputs) > 1:
        raise PlanError("several inputs, a folder among them: name a folder for the results with --out")
    if folder.name in ("", ".."):  # this folder, or one that has no name as it is written
        folder = folder.resolve()
    if not folder.name:
        raise PlanError(f"{folder} has no folder beside it: name one for the results with --out")
    return str(folder.with_name(folder.name + label))


def expand(
    text: str, complaints: list[ImageError], without: Path | None = None, suffixes: Collection[str] = READABLE
) -> list[Found]:
    """Find the pictures that one input stands for: a file, a folder's files at any depth, or a glob's.

    A file of that very name comes before a glob: `photo[1].png` is what browsers call a second download.
    complaints: gets a line for what cannot be looked into, or if nothing is found. without: a folder that is
    not looked into, so that results put beside their sources are not taken for sources the next time. suffixes: of
    the files that count.
    """
    if not text:
        raise PlanError("an input is empty: name a file, a folder or a glob (. is this folder)")
    path = Path(text)
    if _is_dir(path):
        found = list(_folder(path, complaints, without, suffixes))
    elif not os.path.lexists(path) and glob.has_magic(text):
        found = _glob(text, suffixes)
    else:
        return [Found(path, Path(path.name), named=True)]  # a missing file too: reading it says so
    if not found:
        where = f"in the folder {path}" if _is_dir(path) else f"match {text}"
        complaints.append(ImageError(f"no pictures {where}: looked for {' '.join(suffixes)}"))
    return found


def _folder(
    top: Path, complaints: list[ImageError], without: Path | None, suffixes: Collection[str]
) -> Iterator[Found]:
    """Pictures under a folder in order of their names, hidden ones left out; links can loop, so no folder twice."""

    def unreadable(error: OSError) -> None:
        complaints.append(ImageError(f"cannot look into {error.filename}: {(error.strerror or str(error)).lower()}"))

    seen = {_identity(without)} if without is not None and _is_dir(without) and not without.samefile(top) else set()
    for here, folders, files in os.walk(top, followlinks=True, onerror=unreadable):
        identity = _identity(Path(here))
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if not name.startswith(".") and path.suffix.lower() in suffixes:
                yield Found(path, path.relative_to(top))


def _is_dir(path: Path) -> bool:
    """False too where one may not look, or the name is too long: whoever opens it then says so."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _glob(pattern: str, suffixes: Collection[str]) -> list[Found]:
    """Matches of a glob (** for any depth), each keeping its place below the part without wildcards."""
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    # Path.glob takes no absolute pattern.
    matches = sorted(Path(match) for match in glob.iglob(pattern, recursive=True))  # noqa: PTH207
    return [
        Found(path, path.relative_to(fixed))
        for path in matches
        if path.suffix.lower() in suffixes and not _is_dir(path)
    ]


def _from_stream(inputs: Sequence[str], out: str, format: str | None) -> list[Job]:
    if len(inputs) > 1:
        raise PlanError("standard input (-) holds one picture: give it alone")
    if out == STREAM:
        return [Job(None, None)]
    if _is_folder(out, several=False):
        raise PlanError(f"a picture from standard input has no name to take in the folder {out}: name a file")
    _check_suffix(Path(out), format)
    return [Job(None, Path(out))]


def _is_folder(out: str, several: bool) -> bool:
    """Say if `out` means a folder: it is one, it ends like one, it has no suffix, or several pictures go there."""
    path = Path(out)
    if not out:
        raise PlanError("the output is empty: name a file, a folder, or - for standard output")
    if _is_dir(path) or out.endswith(("/", os.sep)):
        return True
    if several and (_exists(path) or path.suffix.lower() in SUFFIXES):
        raise PlanError(f"several pictures cannot go into the one file {out}: name a folder")
    return several or (not path.suffix and not _exists(path))


def _into_folder(found: Sequence[Found], out: Path, suffix: str, format: str | None) -> list[tuple[Found, Path]]:
    """Pair every picture with the name of its result."""
    pairs = []
    for each in found:
        pairs.append((each, out / each.place.with_name(result_name(each.place, suffix, format))))
    return pairs


def result_name(place: PurePath, suffix: str, format: str | None) -> str:
    """Name the result of a picture: a format that can only be read becomes FALLBACK."""
    ending = format or (place.suffix if place.suffix.lower() in SUFFIXES else FALLBACK)
    return place.stem + suffix + ending


def _without_results(
    pairs: Sequence[tuple[Found, Path]], suffix: str, *, named_too: bool = False
) -> tuple[list[tuple[Found, Path]], list[Path]]:
    """Leave out pictures that are results of an earlier run; return the others, and those.

    Where results lie beside their sources, the next run finds them too. What another picture here becomes is a
    result, and so is a name that ends in the suffix. A picture that was named itself is meant, unless `named_too` and
    it is what another one becomes: a shell writes out *.jpg as names.

    Raises PlanError if every picture would have to replace itself.
    """
    here = [(each, target) for each, target in pairs if _beside(each.source, target)]
    if 1 < len(pairs) == len(here) and all(each.source.name == target.name for each, target in here):
        raise PlanError(
            f"the results would replace their sources in {pairs[0][1].parent}: pass --suffix -x4, or another folder"
        )
    made_from: dict[tuple[Path, str], set[str]] = {}
    for each, target in here:
        made_from.setdefault((each.source.parent, target.name), set()).add(each.source.name)

    def is_result(each: Found) -> bool:
        makers = made_from.get((each.source.parent, each.source.name), set())
        if makers - {each.source.name}:
            return named_too or not each.named
        return bool(suffix and each.source.stem.endswith(suffix)) and not each.named

    left_out = {each.source for each, _ in here if is_result(each)}
    return [pair for pair in pairs if pair[0].source not in left_out], sorted(left_out)


def _beside(source: Path, target: Path) -> bool:
    """Say if a result goes into its source's own folder."""
    try:
        return target.parent.samefile(source.parent)
    except OSError:
        return False


def _distinct(pairs: Sequence[tuple[Found, Path]], complaints: list[ImageError]) -> list[Job]:
    """Make one job for each target, and a complaint for every further one."""
    first: dict[Path, Job] = {}
    for each, target in pairs:
        if target in first:
            complaints.append(ImageError(f"{each.source} and {first[target].source} would both become {target}"))
        else:
            first[target] = Job(each.source, target)
    return list(first.values())


def _check_suffix(path: Path, format: str | None) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise PlanError(f"cannot write {path}: unknown suffix {path.suffix!r}; want one of {' '.join(SUFFIXES)}")
    if format is not None and FORMATS[format] is not FORMATS[path.suffix.lower()]:
        raise PlanError(f"{path} is to be {path.suffix}, --format says {format}: name one of them")
