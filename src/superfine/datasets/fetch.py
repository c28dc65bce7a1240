"""Download a data set from its official address, check it, unpack it, and record its files."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from superfine.atomic import replace_file, sha256_of, whole_file
from superfine.datasets.catalogue import DataSet, RemoteFile
from superfine.datasets.download import Progress, download
from superfine.errors import DataError

MANIFEST = "superfine-data.json"
"""File in the folder of a fetched set with the source and SHA-256 of every file."""


def fetch(
    data: DataSet,
    folder: Path,
    parts: Sequence[str] = (),
    *,
    keep_archives: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Download a data set into `folder`/NAME; parts that are there already are skipped.

    Args:
        data: what to fetch.
        folder: made if it does not exist.
        parts: which of its files; empty takes those that are not optional.
        keep_archives: do not delete a zip file once it is unpacked.
        progress: called after every piece.

    Returns:
        the folder of the set.

    Raises:
        DataError: a set that is only given on request; any error of `download`; an archive that cannot be unpacked.
    """
    if not data.files:
        raise DataError(f"{data.name} cannot be fetched: {data.on_request or f'see {data.homepage}'}")
    chosen = data.chosen(parts)
    target = folder / data.name
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {target}: {error.strerror or error}; choose another folder with -o") from error
    try:
        _fetch_parts(data.name, chosen, target, keep_archives, progress)
    except DataError:
        with contextlib.suppress(OSError):
            target.rmdir()  # if nothing came at all
        raise
    return target


def _fetch_parts(
    name: str, chosen: Sequence[RemoteFile], target: Path, keep_archives: bool, progress: Progress | None
) -> None:
    """Download and unpack every chosen part that the manifest does not list yet."""
    manifest = read_manifest(target)
    for file in chosen:
        if file.part in manifest["parts"]:
            continue
        _refuse_full_disk(file, target)
        archive = target / file.name
        if not archive.is_file():
            download(file, archive, progress)
        digest = sha256_of(archive)
        files = unpack(archive, target, strip=file.strip)
        manifest["files"].update(files)
        manifest["parts"][file.part] = {"url": file.url, "sha256": digest, "bytes": archive.stat().st_size}
        _write_manifest(target, name, manifest)
        if not keep_archives:
            archive.unlink()


def read_manifest(folder: Path) -> dict[str, dict[str, object]]:
    """Read {"parts": part → source, "files": path → SHA-256}; both are empty before the first fetch."""
    path = folder / MANIFEST
    if not path.is_file():
        return {"parts": {}, "files": {}}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {"parts": dict(raw["parts"]), "files": dict(raw["files"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); remove it and fetch again") from error


def _write_manifest(folder: Path, name: str, manifest: dict[str, dict[str, object]]) -> None:
    """Replace the manifest in one step."""
    replace_file(folder / MANIFEST, (json.dumps({"name": name, **manifest}, indent=1) + "\n").encode())


def _refuse_full_disk(file: RemoteFile, folder: Path) -> None:
    """Raise DataError if the disk has no room for the archive and its content."""
    # The archive and what comes out of it lie side by side for a while; pictures hardly shrink in a zip file.
    if file.bytes and (free := shutil.disk_usage(folder).free) < 2 * file.bytes:
        raise DataError(f"{file.name} needs {2 * file.bytes / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free")


def unpack(archive: Path, folder: Path, *, strip: bool = False) -> dict[str, str]:
    """Unpack a zip file into `folder`, each member whole or not at all.

    Args:
        archive: the zip file.
        folder: for its members.
        strip: drop the one folder that all members lie in.

    Returns:
        path, relative to `folder` → SHA-256, of every file.

    Raises:
        DataError: no zip file, a damaged one, or one with members that lead outside the folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [each for each in opened.infolist() if not each.is_dir() and _is_picture_data(each.filename)]
            prefix = _common_folder([each.filename for each in members]) if strip else ""
            names = {each: _safe_name(each, each.filename.removeprefix(prefix), archive) for each in members}
            return {name: _extract(opened, each, folder / name) for each, name in names.items()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive} is not a complete zip file ({error}); remove it and fetch again") from error
    except OSError as error:
        raise DataError(f"cannot unpack {archive}: {error.strerror or error}") from error


def _is_picture_data(name: str) -> bool:
    """Return False for the files that file managers add."""
    return not name.startswith("__MACOSX/") and PurePosixPath(name).name not in (".DS_Store", "Thumbs.db")


def _common_folder(names: Sequence[str]) -> str:
    """Return the one folder that holds all names, with its slash; "" if there is none."""
    tops = {name.partition("/")[0] for name in names}
    nested = all("/" in name for name in names)
    return f"{tops.pop()}/" if len(tops) == 1 and nested else ""


def _safe_name(member: zipfile.ZipInfo, name: str, archive: Path) -> str:
    """Return the name as a path inside the folder. Raises DataError for a name that leads outside."""
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{archive} holds {member.filename!r}, which leads outside its folder; it was not unpacked")
    return str(path)


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> str:
    """Unpack one member; return its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, whole_file(target) as out:
        shutil.copyfileobj(source, out, 1 << 20)
    return sha256_of(target)
