"""What saves work a second time, in the user's cache folder: bounded, checked, and safe to delete at any moment.

Nothing here ever fails: a folder that cannot be had, read or written only means that nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from superfine.atomic import whole_file

VARIABLE = "SUPERFINE_CACHE"
"""Environment variable: another folder for all that superfine keeps, or "off" to keep nothing."""

LIMIT = 256 * 2**20
"""Bytes a store keeps at most; what was used longest ago goes first."""
_MOST = 1000
"""Files a store keeps at most."""
_FREE = 2**30
"""Bytes that must be free on the disk: the last of it is for the user's results."""
_ABANDONED = 3600
"""Seconds after which a half-written file is a killed process's."""

_MAGIC = b"superfine cache 1\n"
_SUFFIX = ".kept"


def cache_folder() -> Path | None:
    """Where superfine keeps what saves time again: SUPERFINE_CACHE if it names a folder, otherwise `superfine` in the
    system's folder for caches (XDG_CACHE_HOME or ~/.cache; ~/Library/Caches; LOCALAPPDATA). None: nothing is kept,
    because SUPERFINE_CACHE is "off" or the user has no home."""
    named = os.environ.get(VARIABLE, "").strip()
    if named.lower() in ("off", "0", "no", "none", "false"):
        return None
    try:
        if named:
            return Path(named).expanduser().absolute()
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA", "")
            return Path(base, "superfine", "cache") if base else None
        base = os.environ.get("XDG_CACHE_HOME", "")
        if Path(base).is_absolute():  # the XDG rule: a relative one does not count
            return Path(base, "superfine")
        home = Path.home()
        if not home.is_dir():  # of a user who has none; it is not ours to make
            return None
    except (OSError, RuntimeError):
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "superfine"


@dataclass(frozen=True)
class Store:
    """Files of one folder under keys (file names without an ending), each a list of byte strings.

    Safe with any number of processes at once: files appear whole, are read whole, and a file whose checksum, length or
    key is not what it was written with counts as absent.
    """

    folder: Path
    limit: int = LIMIT

    def read(self, key: str) -> list[bytes] | None:
        """What was last written under a key, to the byte; None if that is not there, or no longer whole."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                parts = _read(file, key)
        except (OSError, ValueError, struct.error, MemoryError):
            return None
        if parts is not None:
            with suppress(OSError):
                os.utime(path)  # used now: among the last to go
        return parts

    def write(self, key: str, parts: Sequence[bytes]) -> bool:
        """Keep `parts` under a key, in place of what was there, and drop the oldest files beyond the limit. Whether it
        worked: a full, read-only or absent disk is no error."""
        table = struct.pack(f"<{len(parts) + 1}Q", len(parts), *map(len, parts))
        total = sum(map(len, parts))
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if total > self.limit or shutil.disk_usage(self.folder).free < _FREE + total:
                return False
            with whole_file(self._path(key)) as file:
                file.write(_MAGIC + _digest(key, table, parts) + table)
                for part in parts:
                    file.write(part)
        except OSError:
            return False
        self._prune()
        return True

    def size(self) -> tuple[int, int]:
        """(files, bytes) of all that is kept."""
        kept = self._ages()
        return len(kept), sum(size for _, size, _ in kept)

    def _path(self, key: str) -> Path:
        return self.folder / (key + _SUFFIX)

    def _ages(self) -> list[tuple[int, int, Path]]:
        """(last use, bytes, file) of all that is kept, oldest first."""
        found = []
        with suppress(OSError):  # a folder that is not there, or not ours to list
            for path in self.folder.glob(f"*{_SUFFIX}"):
                with suppress(OSError):  # another process has just dropped it
                    about = path.stat()
                    found.append((about.st_mtime_ns, about.st_size, path))
        return sorted(found)

    def _prune(self) -> None:
        kept = self._ages()
        held, count = sum(size for _, size, _ in kept), len(kept)
        for _, size, path in kept:
            if held <= self.limit and count <= _MOST:
                break
            with suppress(OSError):
                path.unlink()
            held, count = held - size, count - 1
        for part in self.folder.glob(f".*{_SUFFIX}.*.part"):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > _ABANDONED:
                    part.unlink()


def graph_store() -> Store | None:
    """Where compiled graphs are kept (`engines/compiled.py`); None if they are not."""
    folder = cache_folder()
    return None if folder is None else Store(folder / "graphs")


def _read(file: IO[bytes], key: str) -> list[bytes] | None:
    size = os.fstat(file.fileno()).st_size
    if file.read(len(_MAGIC)) != _MAGIC:
        return None
    digest, count = file.read(32), file.read(8)
    (number,) = struct.unpack("<Q", count)
    if number * 8 > size:
        return None
    table = count + file.read(number * 8)
    lengths = struct.unpack(f"<{number + 1}Q", table)[1:]
    if len(_MAGIC) + 32 + len(table) + sum(lengths) != size:
        return None
    parts = [file.read(length) for length in lengths]
    return parts if _digest(key, table, parts) == digest else None


def _digest(key: str, table: bytes, parts: Sequence[bytes]) -> bytes:
    """Over the key too: a file under another's name is not that other."""
    total = hashlib.sha256(key.encode() + b"\0" + table)
    for part in parts:
        total.update(part)
    return total.digest()
