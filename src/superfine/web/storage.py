"""Temporary files that never outlive their use: a folder for each process, swept by the next one after a crash."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

PREFIX = "superfine-web-"
_LOCK = "lock"
_YOUNG = 60.0
"""Seconds. A folder without a lock that is younger may be one whose owner is just making it."""


class Storage:
    """A private folder for the files of this process; those of processes that died are removed first.

    Args:
        parent: where it is made; None: the system's folder for temporary files.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.parent = Path(tempfile.gettempdir()) if parent is None else parent
        self.swept = sweep(self.parent)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.parent))
        self._lock: IO[bytes] = (self.folder / _LOCK).open("wb")
        _try_lock(self._lock)

    def new_folder(self) -> Path:
        """Make an empty folder for one job."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder

    def used(self) -> int:
        """Count the bytes of all files."""
        total = 0
        for path in self.folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:
                continue  # it went meanwhile
        return total

    def close(self) -> None:
        """Remove everything."""
        self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def sweep(parent: Path) -> int:
    """Remove the folders of processes that are gone, and return how many there were."""
    count = 0
    for folder in parent.glob(f"{PREFIX}*"):
        if _is_ours(folder) and _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
    return count


def _is_ours(folder: Path) -> bool:
    """Return True for a real folder that belongs to this user."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    mine = status.st_uid == os.getuid() if hasattr(os, "getuid") else True
    return mine and folder.is_dir() and not folder.is_symlink()


def _is_abandoned(folder: Path) -> bool:
    """Return True if no living process holds the folder's lock."""
    lock = folder / _LOCK
    try:
        if not lock.exists():
            return time.time() - folder.stat().st_mtime > _YOUNG
        if os.name == "nt":  # where an open file cannot be removed
            lock.unlink()
            return True
        with lock.open("r+b") as file:
            return _try_lock(file)
    except OSError:
        return False


def _try_lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed or the process ends; return False where another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows: that the file is open is lock enough
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
