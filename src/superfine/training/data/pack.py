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
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import lcm
from pathlib import Path
from typing import IO, Any

import numpy as np

from superfine.atomic import whole_file
from superfine.errors import DataError
from superfine.images.resize import crop_to_multiple, downscale, resize
from superfine.cores import in_order
from superfine.training.data.pictures import PictureSource, Samples, decode

MAGIC = b"SUPERFINE-PACK-1\n"


@dataclass(frozen=True)
class PackOptions:
    """The settings by which pictures become a pack."""

    scales: tuple[int, ...] = (2, 3, 4)
    """Magnifications to make LR pictures for."""
    extra_downscales: tuple[float, ...] = ()
    """Every picture is packed once more at each of these sizes (0.6 to 0.9): it also cleans JPEG traces."""
    smallest_side: int = 128
    """Pictures with a shorter side, in HR pixels, are left out and counted."""


@dataclass(frozen=True)
class Plane:
    """The place of one uint8 HWC picture: `offset` in samples from the start of the data."""

    offset: int
    height: int
    width: int


@dataclass(frozen=True)
class PackedPicture:
    """One picture of a pack, and where it lies."""

    name: str
    hr: Plane
    lr: dict[int, Plane]


@dataclass
class PackReport:
    """The outcome of packing."""

    kept: int
    """Pictures in the pack, those made smaller counted too."""
    left_out: list[str]
    """One line for every file that could not be used: its name and the reason."""


def _lr_and_hr(source: PictureSource, options: PackOptions) -> list[tuple[str, list[Samples]]] | str:
    """Make the HR and LR pictures of one file, or say why there are none."""
    pixels = decode(source, options.smallest_side)
    if isinstance(pixels, str):
        return pixels
    made = []
    for shrink in (1.0, *options.extra_downscales):
        size = (round(pixels.shape[0] * shrink), round(pixels.shape[1] * shrink))
        if min(size) < options.smallest_side:
            continue
        hr = crop_to_multiple(pixels if shrink == 1 else resize(pixels, size), lcm(*options.scales))
        name = source.name if shrink == 1 else f"{source.name}@{shrink:g}"
        made.append(
            (name, [np.ascontiguousarray(plane) for plane in (hr, *(downscale(hr, s) for s in options.scales))])
        )
    return made


def write_pack(
    target: Path,
    sources: Sequence[PictureSource],
    options: PackOptions,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Decode `sources` in parallel and write them as one pack, atomically.

    progress: called with (pictures done, pictures in all). Files that cannot be used are left out and
    named in the report. Raises DataError if none can be used, or the pack cannot be written.
    """
    pictures: list[dict[str, Any]] = []
    left_out: list[str] = []
    offset = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent) as body:
            results = in_order(partial(_lr_and_hr, options=options), sources, workers)
            for done, result in enumerate(results, 1):
                if isinstance(result, str):
                    left_out.append(result)
                else:
                    for name, planes in result:
                        # The checksum makes the header, and so the pack's identity, follow the pixels.
                        entry: dict[str, Any] = {"name": name, "crc": zlib.crc32(planes[0].data), "planes": []}
                        for samples in planes:
                            body.write(samples.data)
                            entry["planes"].append([offset, *samples.shape[:2]])
                            offset += samples.size
                        pictures.append(entry)
                if progress:
                    progress(done, len(sources))
            if not pictures:
                raise DataError(f"none of {len(sources)} pictures can be trained on; the first: {left_out[0]}")
            header = json.dumps({"scales": options.scales, "options": options.__dict__, "pictures": pictures}).encode()
            body.seek(0)
            _assemble(target, header, body)
    except OSError as error:
        raise DataError(f"cannot write the pack {target}: {error.strerror or error}") from error
    return PackReport(len(pictures), left_out)


def _assemble(target: Path, header: bytes, body: IO[bytes]) -> None:
    with whole_file(target) as file:
        file.write(MAGIC + struct.pack("<Q", len(header)) + header)
        while chunk := body.read(1 << 24):
            file.write(chunk)


class Pack:
    """An open pack. `data` is a flat memory-mapped uint8 array, `pictures` say where each lies in it."""

    def __init__(self, path: Path) -> None:
        """Read the header alone. Raises DataError if the file is missing, cut short, damaged or not a pack."""
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise DataError(f"{path} is not a superfine pack: make one with 'superfine pack'")
                (length,) = struct.unpack("<Q", file.read(8))
                raw = file.read(min(length, size))
                start = file.tell()
            header = json.loads(raw)
            self.scales: tuple[int, ...] = tuple(header["scales"])
            self.options = PackOptions(**{key: _hashable(value) for key, value in header["options"].items()})
            self.pictures = [_picture(entry, self.scales) for entry in header["pictures"]]
            last = max(plane.offset + plane.height * plane.width * 3 for p in self.pictures for plane in p.lr.values())
        except OSError as error:
            raise DataError(f"cannot open the pack {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise DataError(f"the pack {path} is cut short or damaged: make it again") from error
        if size < start + last:
            raise DataError(f"the pack {path} is cut short: {size:,} bytes of {start + last:,}: make it again")
        self.path = path
        self.identity = hashlib.sha256(raw).hexdigest()[:16]
        self._file = path.open("rb")
        self._size = start + last
        self.data: Samples = np.memmap(self._file, np.uint8, "r", offset=start, shape=(last,))

    def check_alive(self) -> None:
        """Raise DataError if the file has been cut short since it was opened.

        Reading past the end of a mapped file kills the process; asking first turns that into a message.
        """
        if os.fstat(self._file.fileno()).st_size < self._size:
            raise DataError(f"the pack {self.path} was cut short while in use: make it again, then --resume")

    def plane(self, plane: Plane) -> Samples:
        """View one picture, HWC."""
        size = plane.height * plane.width * 3
        return self.data[plane.offset : plane.offset + size].reshape(plane.height, plane.width, 3)

    def __iter__(self) -> Iterator[PackedPicture]:
        return iter(self.pictures)

    def __len__(self) -> int:
        return len(self.pictures)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _picture(entry: dict[str, Any], scales: tuple[int, ...]) -> PackedPicture:
    hr, *lr = (Plane(*numbers) for numbers in entry["planes"])
    return PackedPicture(entry["name"], hr, dict(zip(scales, lr, strict=True)))
