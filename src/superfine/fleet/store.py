"""Read and write files below an fsspec address: a local folder, s3://bucket/folder, gs://, az://, http://.

A file appears under its name only when it is whole. Object stores do so by themselves; elsewhere a file is written
under a temporary name and renamed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from superfine.atomic import replace_file
from superfine.errors import FleetError, SuperfineError, install_command

_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2"}
"""Protocols of object stores: an upload there is seen when it is whole."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Errors of a disk that no other picture will escape."""


@dataclass(frozen=True)
class Entry:
    """A file in a store."""

    place: str
    """Its path below the store's address, with slashes."""
    size: int | None
    """Bytes; None where the store does not say."""
    version: str
    """Changes when the file's content does: an ETag, or the time of the last change."""


class Store:
    """A folder at an fsspec address. It can be pickled: every process opens its own connection.

    Keys, regions and endpoints come from where the file system's own library looks for them: for S3, the variables
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, ~/.aws, or the machine's role.

    All methods raise FleetError where the store refuses, in one line.
    """

    def __init__(self, address: str) -> None:
        self.address = address if address == "/" else address.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return {"address": self.address}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the address in its own spelling."""
        with store_errors("open", self.address):
            system, path = fsspec.core.url_to_fs(self.address)
            return system, path
        raise AssertionError  # store_errors lets nothing through

    @property
    def folder(self) -> Path | None:
        """The local folder that this store is; None for others."""
        system, path = self._opened
        return Path(path) if isinstance(system, LocalFileSystem) else None

    def below(self, name: str) -> Store:
        """Return the store of a folder in this one."""
        return Store(f"{self.address}/{name}")

    def full(self, place: str) -> str:
        """Return the address of a file."""
        return f"{self.address.rstrip('/')}/{place}" if place else self.address

    def _path(self, place: str) -> str:
        path = self._opened[1]
        return f"{path.rstrip('/')}/{place}" if place else path

    def check(self) -> None:
        """Raise FleetError if there is nothing at the address."""
        system, path = self._opened
        with store_errors("look into", self.address):
            system.invalidate_cache()
            if not system.exists(path):
                system.ls(path)  # says what is wrong: exists() hides it

    def entries(self) -> Iterator[Entry]:
        """Yield every file at any depth, in no promised order; none where there is no such folder."""
        system, path = self._opened
        with store_errors("look into", self.address):
            system.invalidate_cache()
            found = system.find(path, detail=True)
        for name, about in found.items():
            place = os.path.relpath(name, path).replace(os.sep, "/") if self.folder else _below(name, path)
            changed = next(
                (about[key] for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified") if key in about), ""
            )
            yield Entry(place, about.get("size"), str(changed).strip('"'))

    def fetch(self, place: str, scratch: Path) -> Path:
        """Return a local file with the content: the file itself where the store is local, otherwise a copy.

        Raises FileNotFoundError if it is gone.
        """
        if self.folder is not None:
            return self.folder / place
        local = scratch / f"{secrets.token_hex(4)}-{PurePosixPath(place or self.address).name}"
        system, _ = self._opened
        try:
            with store_errors("read", self.full(place)):
                system.get_file(self._path(place), str(local))
        except FleetError as error:
            local.unlink(missing_ok=True)
            if isinstance(error.__cause__, FileNotFoundError):
                raise FileNotFoundError(self.full(place)) from None
            raise
        return local

    def put(self, local: Path, place: str) -> None:
        """Move a local file to its place."""
        if self.folder is not None:
            with store_errors("write", self.full(place)):
                target = self.folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(f".superfine-{secrets.token_hex(6)}.part")  # journal.sweep knows the name
                try:
                    shutil.move(local, part)
                    part.replace(target)
                finally:
                    part.unlink(missing_ok=True)
            return
        system, _ = self._opened
        with store_errors("write", self.full(place)):
            target_path = self._path(place)
            if _protocol(system) in _ATOMIC:
                system.put_file(str(local), target_path)
            else:
                remote_part = f"{target_path}.{secrets.token_hex(4)}.part"
                system.makedirs(target_path.rpartition("/")[0], exist_ok=True)
                system.put_file(str(local), remote_part)
                system.mv(remote_part, target_path)
        local.unlink()

    def read(self, place: str) -> bytes:
        """Return a file's content."""
        system, _ = self._opened
        with store_errors("read", self.full(place)):
            return bytes(system.cat_file(self._path(place)))
        raise AssertionError

    def write(self, place: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        if self.folder is not None:
            with store_errors("write", self.full(place)):
                target = self.folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                replace_file(target, content)
            return
        system, _ = self._opened
        with store_errors("write", self.full(place)):
            if _protocol(system) in _ATOMIC:
                system.pipe_file(self._path(place), content)
                return
            part = f"{self._path(place)}.{secrets.token_hex(4)}.part"
            system.makedirs(part.rpartition("/")[0], exist_ok=True)
            system.pipe_file(part, content)
            system.mv(part, self._path(place))

    def holds(self, place: str) -> bool:
        """Say if there is such a file."""
        system, _ = self._opened
        with store_errors("look into", self.address):
            return bool(system.exists(self._path(place)))
        raise AssertionError

    def remove(self, place: str) -> None:
        """Delete a file or folder, if it is there."""
        system, _ = self._opened
        with suppress(Exception):  # what is left over costs a little room and nothing else
            system.rm(self._path(place), recursive=True)


@contextmanager
def store_errors(doing: str, address: str) -> Iterator[None]:
    """Turn every error of a file system or its library into a FleetError of one line, the cause behind it."""
    try:
        yield
    except SuperfineError:
        raise
    except ImportError as error:
        needed = (error.name or str(error)).partition(".")[0]
        hint = (
            install_command("fleet") if needed in ("s3fs", "pyarrow") else f"pip install the package for it ({error})"
        )
        raise FleetError(f"cannot {doing} {address}: {needed or 'a package'} is not installed: {hint}") from error
    except Exception as error:  # each library has exceptions of its own
        raise FleetError(f"cannot {doing} {address}: {_reason(error)}") from error


def is_full(error: BaseException | None) -> bool:
    """Say if an error, or what it was raised for, is a disk that takes nothing more."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(error: Exception) -> str:
    """Describe an error in a few words, on one line."""
    words = " ".join(str(error).split())[:200]
    if isinstance(error, FileNotFoundError):
        return f"there is no such folder, file or bucket ({words})"
    if isinstance(error, PermissionError):
        return f"access is denied ({words}): check the credentials"
    if "credentials" in words.lower():
        return f"{words}: set them, for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return words or type(error).__name__


def _protocol(system: Any) -> str:
    name = system.protocol
    return str(name if isinstance(name, str) else name[0])


def _below(name: str, path: str) -> str:
    return name.removeprefix(path).lstrip("/")
