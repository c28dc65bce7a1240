"""A pack: every training picture, decoded, with its LR pictures, in one memory-mapped file.

    SUPERFINE-PACK-1\\n | 8 bytes: header length | header, JSON | uint8 samples

The header lists, for every picture, where its HR samples and those of each scale's LR start. Decoding
and the bit-exact bicubic happen once, at pack time; opening a pack reads the header alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import lcm
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from superfine.errors import DataError, ImageError
from superfine.images.resize import crop_to_multiple, downscale, resize

MAGIC = b"SUPERFINE-PACK-1\n"
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}

Samples = NDArray[np.uint8]


@dataclass(frozen=True)
class PackOptions:
    """How pictures become a pack."""

    scales: tuple[int, ...] = (2, 3, 4)
    """Magnifications to make LR pictures for."""
    extra_downscales: tuple[float, ...] = ()
    """Every picture is packed once more at each of these sizes (0.6 to 0.9): it also cleans JPEG traces."""
    smallest_side: int = 128
    """Pictures with a shorter side, in HR pixels, are left out and counted."""


@dataclass(frozen=True)
class Plane:
    """Where one uint8 HWC picture lies: `offset` in samples from the start of the data."""

    offset: int
    height: int
    width: int


@dataclass(frozen=True)
class PackedPicture:
    name: str
    hr: Plane
    lr: dict[int, Plane]


@dataclass
class PackReport:
    """What packing did: pictures kept, and those left out with the reason."""

    kept: int
    left_out: list[str]


def find_pictures(folders: Sequence[Path], exclude: Sequence[str] = ()) -> list[Path]:
    """Pictures below the folders, sorted by name, without those whose file name is in `exclude`.

    Raises DataError if a folder is missing or none holds a picture.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder: data.folders wants folders of pictures")
        found += [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.name not in exclude]
    if not found:
        raise DataError(f"no pictures in {', '.join(map(str, folders))}: wanted {', '.join(sorted(SUFFIXES))}")
    return sorted(found)


def _planes(path: Path, options: PackOptions) -> list[tuple[str, list[Samples]]] | str:
    """The HR and LR pictures made from one file, or why there are none."""
    from superfine.images import files

    try:
        picture = files.read(path)
    except ImageError as error:
        return str(error)
    if picture.pixels.dtype != np.uint8:
        return f"{path}: {picture.pixels.dtype} samples: training wants 8-bit pictures"
    pixels = np.repeat(picture.pixels, 3, axis=2) if picture.pixels.shape[2] == 1 else picture.pixels
    if min(pixels.shape[:2]) < options.smallest_side:
        return f"{path}: {pixels.shape[1]}x{pixels.shape[0]} is under {options.smallest_side} pixels a side"
    made = []
    for shrink in (1.0, *options.extra_downscales):
        size = (round(pixels.shape[0] * shrink), round(pixels.shape[1] * shrink))
        if min(size) < options.smallest_side:
            continue
        hr = crop_to_multiple(pixels if shrink == 1 else resize(pixels, size), lcm(*options.scales))
        name = path.name if shrink == 1 else f"{path.name}@{shrink:g}"
        made.append((name, [np.ascontiguousarray(hr), *(downscale(hr, s) for s in options.scales)]))
    return made


def write_pack(
    target: Path,
    paths: Sequence[Path],
    options: PackOptions,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Decode `paths` in parallel and write them as one pack, atomically.

    progress: called with (pictures done, pictures in all). Files that cannot be used are left out and
    named in the report. Raises DataError if none can be used.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    pictures: list[dict[str, Any]] = []
    left_out: list[str] = []
    offset = 0
    with tempfile.TemporaryFile(dir=target.parent) as body:
        with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
            results = pool.map(partial(_planes, options=options), paths, chunksize=4)
            for done, result in enumerate(results, 1):
                if isinstance(result, str):
                    left_out.append(result)
                else:
                    for name, planes in result:
                        entry: dict[str, Any] = {"name": name, "planes": []}
                        for samples in planes:
                            body.write(samples.tobytes())
                            entry["planes"].append([offset, *samples.shape[:2]])
                            offset += samples.size
                        pictures.append(entry)
                if progress:
                    progress(done, len(paths))
        if not pictures:
            raise DataError(f"none of {len(paths)} pictures can be trained on; the first: {left_out[0]}")
        header = json.dumps({"scales": options.scales, "options": options.__dict__, "pictures": pictures}).encode()
        body.seek(0)
        _assemble(target, header, body)
    return PackReport(len(pictures), left_out)


def _assemble(target: Path, header: bytes, body: IO[bytes]) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(MAGIC + struct.pack("<Q", len(header)) + header)
            while chunk := body.read(1 << 24):
                file.write(chunk)
        temporary.replace(target)
    except OSError as error:
        raise DataError(f"cannot write the pack {target}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


class Pack:
    """An open pack. `data` is a flat memory-mapped uint8 array, `pictures` say where each lies in it."""

    def __init__(self, path: Path) -> None:
        """Raises DataError if the file is missing, cut short or not a pack."""
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise DataError(f"{path} is not a superfine pack: make one with 'superfine pack'")
                (length,) = struct.unpack("<Q", file.read(8))
                raw = file.read(length)
                start = file.tell()
            header = json.loads(raw)
        except (OSError, ValueError, struct.error) as error:
            raise DataError(f"cannot open the pack {path}: {error}") from error
        self.path = path
        self.identity = hashlib.sha256(raw).hexdigest()[:16]
        self.scales: tuple[int, ...] = tuple(header["scales"])
        self.pictures = [_picture(entry, self.scales) for entry in header["pictures"]]
        last = max(plane.offset + plane.height * plane.width * 3 for p in self.pictures for plane in p.lr.values())
        if path.stat().st_size < start + last:
            raise DataError(f"the pack {path} is cut short: make it again")
        self.data: Samples = np.memmap(path, np.uint8, "r", offset=start, shape=(last,))

    def plane(self, plane: Plane) -> Samples:
        """One picture as an HWC view."""
        size = plane.height * plane.width * 3
        return self.data[plane.offset : plane.offset + size].reshape(plane.height, plane.width, 3)

    def __iter__(self) -> Iterator[PackedPicture]:
        return iter(self.pictures)

    def __len__(self) -> int:
        return len(self.pictures)


def _picture(entry: dict[str, Any], scales: tuple[int, ...]) -> PackedPicture:
    hr, *lr = (Plane(*numbers) for numbers in entry["planes"])
    return PackedPicture(entry["name"], hr, dict(zip(scales, lr, strict=True)))
