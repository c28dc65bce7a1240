"""Download one file: resume where an earlier try stopped, and check it before it gets its name."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from superfine.atomic import sha256_of
from superfine.datasets.catalogue import RemoteFile
from superfine.errors import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with (file name, bytes there, bytes in all or None)."""

_CHUNK = 1 << 17  # the most a killed download can lose
_TRIES = 4
_TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class _PartialDownload:
    """An unfinished download, with a note of the remote file's version beside it."""

    path: Path

    @property
    def note(self) -> Path:
        """File with the version."""
        return self.path.with_suffix(self.path.suffix + ".json")

    def size(self) -> int:
        """Return the bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self) -> str:
        """Return the remote file's version; "" if unknown."""
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
            return str(noted["version"]) if isinstance(noted, dict) else ""
        except (OSError, ValueError, KeyError):
            return ""

    def remove(self) -> None:
        """Delete the bytes and the note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(file: RemoteFile, target: Path, progress: Progress | None = None) -> None:
    """Download `file` to `target`, continuing an earlier call that was interrupted.

    Raises:
        DataError: no connection, a missing file, a wrong size or checksum, a full disk.
    """
    partial = _PartialDownload(target.with_name(target.name + ".part"))
    report = progress or (lambda *_: None)
    for attempt in range(_TRIES):
        try:
            total = _transfer(file, partial, report)
        except urllib.error.HTTPError as error:
            raise DataError(_http_message(file, error)) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            if attempt + 1 < _TRIES and not _is_offline(error):
                continue
            raise DataError(_network_message(file, error, partial.size())) from error
        except OSError as error:
            raise DataError(f"cannot write {partial.path}: {error.strerror or error}") from error
        if total is None or partial.size() >= total:
            break
    else:
        raise DataError(
            f"{file.url} broke off {_TRIES} times; {partial.size():,} bytes are kept, run it again to go on"
        )
    _check(file, partial)
    partial.path.replace(target)
    partial.note.unlink(missing_ok=True)


def _transfer(file: RemoteFile, partial: _PartialDownload, report: Progress) -> int | None:
    """Send one request and append its answer; return the length of the whole file if it is known."""
    have, version = partial.size(), partial.version()
    headers = {"User-Agent": "superfine", "Accept-Encoding": "identity"}
    # If-Range: the rest only if the file is still the one the first part came from, otherwise all of it.
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(file.url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # There are no bytes after ours: the file is whole, which the checksum will show, or it is another file.
        error.close()
        if have == file.bytes:
            return have
        partial.remove()
        return _transfer(file, partial, report)
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise DataError(f"{file.url} answered with a web page and not a file; {_moved_hint(file)}")
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else file.bytes
        _save_version(partial, answer.headers)
        with partial.path.open("ab" if resumed else "wb") as out:
            _copy(answer, out, lambda done: report(file.name, have + done, total))
    return total


def _copy(answer: Any, out: BinaryIO, report: Callable[[int], None]) -> None:
    """Copy the answer to a file and report the bytes."""
    done = 0
    while chunk := answer.read(_CHUNK):
        out.write(chunk)
        done += len(chunk)
        report(done)


def _save_version(partial: _PartialDownload, headers: Any) -> None:
    """Note the remote file's version, so that a later try can resume."""
    tag = headers.get("ETag") or ""
    # A weak tag does not promise equal bytes, so it may not be resumed on.
    version = (tag if not tag.startswith("W/") else "") or headers.get("Last-Modified") or ""
    partial.note.write_text(json.dumps({"version": version}), encoding="utf-8")


def _check(file: RemoteFile, partial: _PartialDownload) -> None:
    """Raise DataError, and delete the file, if its size or checksum is not the catalogue's."""
    size = partial.size()
    if file.bytes is not None and size != file.bytes:
        partial.remove()
        raise DataError(f"{file.url} has {size:,} bytes, the catalogue says {file.bytes:,}; {_moved_hint(file)}")
    if file.sha256 is not None and (found := sha256_of(partial.path)) != file.sha256:
        partial.remove()
        raise DataError(
            f"{file.url} has SHA-256 {found[:12]}…, the catalogue says {file.sha256[:12]}…: damaged on its way, or "
            "replaced; it was removed, so try again"
        )


def _moved_hint(file: RemoteFile) -> str:
    """Say what to do if the file has moved."""
    return "it may have moved: look at the data set's home page, and give a catalogue of your own with --catalogue"


def _http_message(file: RemoteFile, error: urllib.error.HTTPError) -> str:
    """Explain an HTTP error."""
    if error.code in (404, 410):
        return f"{file.url} no longer exists (HTTP {error.code}); {_moved_hint(file)}"
    if error.code in (401, 403):
        return f"{file.url} may not be fetched (HTTP {error.code}); {_moved_hint(file)}"
    return f"{file.url} cannot be fetched now (HTTP {error.code} {error.reason}); try again later"


def _is_offline(error: BaseException) -> bool:
    """Return True for errors that a new try will not mend."""
    reason = getattr(error, "reason", error)
    return isinstance(reason, (socket.gaierror, ConnectionRefusedError))


def _network_message(file: RemoteFile, error: BaseException, kept: int) -> str:
    """Explain a failed connection."""
    host = file.url.partition("://")[2].partition("/")[0]
    reason = getattr(error, "reason", None) or error
    rest = f"; {kept:,} bytes are kept, run it again to go on" if kept else ""
    return f"cannot reach {host} ({reason}): check the network{rest}"
