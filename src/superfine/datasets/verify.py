"""Check that a copy of a data set is complete and is the one that published figures were measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from superfine.atomic import sha256_of
from superfine.benchmark import sets
from superfine.datasets.catalogue import DataSet
from superfine.datasets.fetch import read_manifest
from superfine.errors import DataError


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    good: bool
    text: str


def verify(folder: Path, data: DataSet | None) -> Iterator[Finding]:
    """Check a folder against the manifest of its download and the catalogue's pixel hashes.

    Args:
        folder: of one data set.
        data: its entry in the catalogue; None if it has none.

    Raises:
        DataError: no such folder, or a folder without manifest and catalogue entry.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; fetch the data set first, or name the folder it lies in")
    files = read_manifest(folder)["files"]
    pixels = (data.pixels if data else None) or {}
    scales = [scale for scale in pixels if _has_scale(folder, scale)]
    if not files and not scales:
        raise DataError(
            f"nothing is known about {folder}: superfine did not fetch it, and the catalogue has no pixels of it"
        )
    if files:
        yield from _against_manifest(folder, {name: str(digest) for name, digest in files.items()})
    for scale in scales:
        yield _against_pixels(folder, scale, pixels[scale])


def _against_manifest(folder: Path, files: dict[str, str]) -> Iterator[Finding]:
    """Compare the SHA-256 of every file."""
    bad = 0
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            yield Finding(False, f"{name} is missing")
        elif sha256_of(path) != digest:
            yield Finding(False, f"{name} has changed since it was fetched")
        else:
            continue
        bad += 1
    if not bad:
        yield Finding(True, f"all {len(files):,} files are as they were fetched")


def _has_scale(folder: Path, scale: int) -> bool:
    """Return True if the folder holds pairs of this scale."""
    try:
        sets.find_set(folder, scale)
    except DataError:
        return False
    return True


def _against_pixels(folder: Path, scale: int, wanted: str) -> Finding:
    """Compare the pixel hash of all pairs of a scale."""
    chosen = sets.find_set(folder, scale)
    try:
        found = pairs_hash(chosen)
    except DataError as error:
        return Finding(False, f"x{scale}: {error}")
    if found == wanted:
        return Finding(True, f"x{scale}: pixel for pixel the {chosen.name} that figures are reported on")
    return Finding(False, f"x{scale}: other pixels than the set that figures are reported on ({found[:12]}…)")


def pairs_hash(chosen: sets.BenchmarkSet) -> str:
    """Compute the SHA-256 of names and pixel hashes of all pairs of a set, as a benchmark's result states it."""
    digest = hashlib.sha256()
    for pair in sets.pairs(chosen):
        digest.update(f"{pair.name} {sets.pixel_hash(pair.hr)} {sets.pixel_hash(pair.lr)}\n".encode())
    return digest.hexdigest()
