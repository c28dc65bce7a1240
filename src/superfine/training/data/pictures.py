"""Training pictures before they are packed: finding the files, and decoding one of them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from superfine.errors import DataError, ImageError
from superfine.images import SUFFIXES, files

Samples = NDArray[np.uint8]


@dataclass(frozen=True)
class ZippedPicture:
    """A picture inside a portable pack (portable.py): one file of a ZIP archive."""

    archive: Path
    entry: str
    name: str
    """The picture's own file name, before it went into the archive."""


PictureSource = Path | ZippedPicture


def find_pictures(folders: Sequence[Path], exclude: Sequence[str] = ()) -> list[Path]:
    """List the pictures below the folders, sorted by path, without those whose file name is in `exclude`.

    Raises DataError if a folder is missing or none holds a picture.
    """
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; wanted a folder of pictures")
        found.update(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and path.name not in exclude and not path.name.startswith(".")
        )
    if not found:
        where = ", ".join(map(str, folders))
        raise DataError(f"no pictures in {where}; wanted files that end in one of {' '.join(SUFFIXES)}")
    return sorted(found)


def evenly_spaced(paths: Sequence[Path], count: int) -> list[Path]:
    """Choose at most `count` of the paths, at even distances."""
    count = min(count, len(paths))
    return [paths[k * len(paths) // count] for k in range(count)]


def decode(source: PictureSource, smallest_side: int = 1) -> Samples | str:
    """Decode a picture to HWC uint8 RGB, upright; or say in one line why it cannot be trained on."""
    try:
        pixels = files.read(source if isinstance(source, Path) else _unzipped(source)).pixels
    except ImageError as error:
        return str(error)
    name = source if isinstance(source, Path) else source.name
    if pixels.dtype != np.uint8:
        return f"{name}: {pixels.dtype} samples: training wants 8-bit pictures"
    if min(pixels.shape[:2]) < smallest_side:
        return f"{name}: {pixels.shape[1]}x{pixels.shape[0]} is under {smallest_side} pixels a side"
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _unzipped(member: ZippedPicture) -> io.BytesIO:
    try:
        with zipfile.ZipFile(member.archive) as archive:
            file = io.BytesIO(archive.read(member.entry))
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ImageError(f"{member.name} in {member.archive} is damaged: {error}") from error
    file.name = member.name  # for messages
    return file
