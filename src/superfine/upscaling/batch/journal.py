"""Keep a journal of what a batch has done, so that a killed one goes on where it was.

A line a step, in a hidden file in the folder of the results. Results appear under their names only when whole
(images.files), so a name in the folder is a finished picture; the journal adds whose it is: which results are
this batch's own, made with these settings, from these very sources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from superfine.errors import ImageError, PlanError

NAME = ".superfine-journal"

PARTS = ".superfine-*.part"
"""The temporary names under which images.files writes; one is left behind by a process that was killed."""


@dataclass(frozen=True)
class Stamp:
    """A file as it was: size in bytes and time of its last change."""

    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(status.st_size, status.st_mtime_ns)


class Journal:
    """The journal of one batch. Every line is in the file at once: a process that is killed has written it.

    folder: of the results; made if need be. settings: everything that changes a result. resume: go on with the
    journal that is there, if there is one; restart: begin a new one in its place.

    Raises PlanError if one is there and is not to be resumed, or was made with other settings; ImageError if the
    folder cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str], *, resume: bool, restart: bool = False) -> None:
        self._folder = folder
        self.path = folder / NAME
        self._begun: set[str] = set()
        self._done: dict[str, tuple[Stamp, Stamp]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            old = self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else ""
            going_on = bool(old) and self._recall(old, dict(settings), resume, restart)
            self._file: IO[str] = self.path.open("a" if going_on else "w", encoding="utf-8")
            # A last line that was cut short must not swallow the next one.
            self._write({"settings": dict(settings)} if not going_on else {"resumed": True}, ahead="\n" if old else "")
        except OSError as error:
            raise ImageError(f"cannot write {self.path}: {(error.strerror or str(error)).lower()}") from None

    def is_done(self, source: Path, target: Path) -> bool:
        """Say if this batch made `target` from `source`, and both are still what they were."""
        stamps = self._done.get(self._key(target))
        return stamps is not None and stamps == (Stamp.of(source), Stamp.of(target))

    def is_own(self, target: Path) -> bool:
        """Say if this batch may have made the file of that name: it may then be replaced."""
        return self._key(target) in self._begun

    def begin(self, target: Path) -> None:
        """Note that a result is about to be written where there was none."""
        self._begun.add(self._key(target))
        self._write({"begin": self._key(target)})

    def done(self, before: Stamp | None, target: Path) -> None:
        """Note that a result is there; `before` is the source as it was when it was read."""
        after = Stamp.of(target)
        if before is not None and after is not None:
            self._done[self._key(target)] = (before, after)
            stamps = {"source": [before.size, before.changed], "target": [after.size, after.changed]}
            self._write({"done": self._key(target), **stamps})

    def sweep(self, folders: set[Path]) -> None:
        """Remove the half-written files of a killed run."""
        sweep(folders)

    def finish(self) -> None:
        """Remove the journal: the batch has run to its end, and nothing is left to resume."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _key(self, target: Path) -> str:
        return str(target.relative_to(self._folder))

    def _recall(self, text: str, settings: dict[str, str], resume: bool, restart: bool) -> bool:
        """Read an older journal, and say if this one goes on in it."""
        if restart and not resume:
            return False
        if not resume:
            raise PlanError(
                f"an unfinished batch is in {self.path.parent}: pass --resume to go on with it, "
                "or --overwrite to start again"
            )
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # cut short when the process was killed
            if not isinstance(entry, dict):
                continue
            if "settings" in entry and entry["settings"] != settings:
                raise PlanError(settings_differ(str(self.path.parent), entry["settings"], settings))
            if "begin" in entry:
                self._begun.add(entry["begin"])
            if "done" in entry:
                self._done[entry["done"]] = (Stamp(*entry["source"]), Stamp(*entry["target"]))
        return True

    def _write(self, entry: Mapping[str, object], ahead: str = "") -> None:
        try:
            self._file.write(ahead + json.dumps(entry) + "\n")
            self._file.flush()
        except OSError as error:
            raise ImageError(f"cannot write {self.path}: {(error.strerror or str(error)).lower()}") from None


def sweep(folders: set[Path]) -> None:
    """Remove the half-written files of processes that were killed."""
    for folder in folders:
        for part in folder.glob(PARTS):
            with suppress(OSError):
                part.unlink()


def settings_differ(place: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Say in one line which settings of an unfinished batch in `place` are not those of now."""
    what = ", ".join(
        f"{key} was {old.get(key, 'not given')} and is {new.get(key, 'not given')} now"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    )
    return f"cannot resume {place}: {what}; use the same settings, or --overwrite without --resume to start again"
