"""Find the pictures and videos below an address, and a place for each result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from superfine.errors import FleetError, ImageError, PlanError
from superfine.fleet.store import Entry, Store
from superfine.images.files import READABLE, SUFFIXES
from superfine.upscaling.batch.jobs import expand, result_name
from superfine.upscaling.batch.journal import Stamp

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts")
"""Suffixes of videos; a result has that of its source."""

MANIFEST = "_manifest"
"""The folder of the manifest, in the folder of the results."""


@dataclass(frozen=True)
class Task:
    """One picture or video to do."""

    store: Store
    """Where the source lies."""
    source: str
    """Its place in the store."""
    target: str
    """The place of the result in the output's store; the key of the manifest."""
    size: int
    """Bytes of the source; 0 if unknown."""
    version: str
    """Changes when the source does."""

    @property
    def name(self) -> str:
        """The address of the source."""
        return self.store.full(self.source)

    @property
    def is_video(self) -> bool:
        """Say if it is a video."""
        return PurePosixPath(self.target).suffix.lower() in VIDEOS

    @property
    def suffix(self) -> str:
        """The suffix of the result, lower case."""
        return PurePosixPath(self.target).suffix.lower()


def find_tasks(
    source: str, output: Store, *, suffix: str = "", format: str | None = None
) -> tuple[list[Task], list[ImageError]]:
    """List what is to be done, in order of the results' names, and a complaint for every clash of names.

    source: a file, a folder, a local glob, or an fsspec address of a file or folder. Names that begin with a dot are
    left out, and so is `output` if it lies inside a local folder; suffix and format as in jobs.plan_batch.

    Raises PlanError, and FleetError where the source cannot be looked into or holds nothing.
    """
    if format is not None and format not in SUFFIXES:
        raise PlanError(f"unknown format {format!r}: want one of {' '.join(each.lstrip('.') for each in SUFFIXES)}")
    complaints: list[ImageError] = []
    if "://" in source:
        store = Store(source)
        found = _in_store(store)
    else:
        store, found = _in_folder(source, output, complaints)
    tasks: dict[str, Task] = {}
    for entry, place in sorted(found, key=lambda pair: pair[1]):
        name = (
            place.stem + suffix + place.suffix if place.suffix.lower() in VIDEOS else result_name(place, suffix, format)
        )
        target = str(place.with_name(name))
        if target in tasks:
            complaints.append(
                ImageError(f"{store.full(entry.place)} and {tasks[target].name} would both become {target}")
            )
        else:
            tasks[target] = Task(store, entry.place, target, entry.size or 0, entry.version)
    if not tasks:
        raise FleetError(f"no pictures or videos at {source}: looked for {' '.join((*READABLE, *VIDEOS))}")
    if any(output.full(task.target) == task.name for task in tasks.values()):
        raise PlanError(f"the results would replace their sources in {output.address}: name another folder")
    return list(tasks.values()), complaints


def _in_store(store: Store) -> list[tuple[Entry, PurePosixPath]]:
    """List the files of a store that count, each with its place below the address."""
    store.check()
    entries = list(store.entries())
    if len(entries) == 1 and not entries[0].place:  # the address is that of a file
        return [(entries[0], PurePosixPath(PurePosixPath(store.address).name))]
    found = []
    for entry in entries:
        place = PurePosixPath(entry.place)
        hidden = any(part.startswith(".") or part == MANIFEST for part in place.parts)
        if not hidden and place.suffix.lower() in (*READABLE, *VIDEOS):
            found.append((entry, place))
    return found


def _in_folder(
    source: str, output: Store, complaints: list[ImageError]
) -> tuple[Store, list[tuple[Entry, PurePosixPath]]]:
    """List local files by the rules of `superfine upscale`."""
    pictures = expand(source, complaints, without=output.folder, suffixes=(*READABLE, *VIDEOS))
    if complaints and not pictures:
        raise FleetError(str(complaints[0]))
    store = Store("/")
    found = []
    for each in pictures:
        path = Path(each.source).absolute()
        stamp = Stamp.of(path)
        if stamp is None:
            raise FleetError(f"no such file: {each.source}")
        entry = Entry(path.as_posix().lstrip("/"), stamp.size, str(stamp.changed))
        found.append((entry, PurePosixPath(each.place.as_posix())))
    return store, found
