"""A portable pack: training pictures re-encoded into one file under a size limit, to carry to another machine.

It is a ZIP archive: `superfine.json` (what was done), then every picture as an ordinary file. A picture whose own
file is already smaller than its re-encoding travels as it is. There, `superfine train --pack FILE` unpacks it into
a native pack (pack.py), LR pictures and all; that takes Pillow and NumPy, nothing else.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from PIL import Image

from superfine.atomic import whole_file
from superfine.errors import DataError
from superfine.quality.metrics import psnr
from superfine.cores import in_order
from superfine.training.data.pictures import ZippedPicture, decode

MANIFEST = "superfine.json"
FORMAT = "superfine-portable-1"

Codec = Literal["webp", "jpeg", "avif"]

OPTIONS: dict[str, dict[str, Any]] = {
    "webp": {"method": 4},
    "jpeg": {"subsampling": "4:4:4", "optimize": True, "progressive": True},
    "avif": {"subsampling": "4:4:4", "speed": 6, "max_threads": 1},
}
"""Pillow's options by codec. AVIF keeps about 2.5 dB more than WebP at the same size, and takes six times as long;
JPEG keeps least and is fastest."""

OWN_FILE = 101
"""One above the highest quality: every picture's own file."""

CARRIED_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif"}
"""Files that may travel as they are: Pillow reads them everywhere."""

SAMPLE_COUNT = 96
"""The quality is looked for on so many pictures, spread evenly, before all are encoded with it."""


@dataclass(frozen=True)
class PortableReport:
    """The outcome of re-encoding, and what it cost."""

    size: int
    """Bytes of the file."""
    quality: int | None
    """The codec's quality, 1..100; None if every picture travels as it is."""
    as_they_are: int
    """Pictures whose own files went in unchanged."""
    reencoded: int
    psnr_mean: float
    """Mean over the re-encoded pictures of the RGB PSNR against their originals, dB; infinite if there are none."""
    psnr_worst: float
    left_out: list[str]
    """One line for every file that could not be used: its name and the reason."""


@dataclass(frozen=True)
class _Encoded:
    data: bytes
    suffix: str
    psnr: float  # dB; infinite for the picture's own file


def write_portable(
    target: Path,
    paths: Sequence[Path],
    limit: int,
    *,
    codec: Codec = "webp",
    smallest_side: int = 128,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PortableReport:
    """Pack `paths` into one file of at most `limit` bytes, atomically, at the highest quality that fits.

    progress: called with (pictures done, pictures in all) of each pass over the pictures.
    Raises DataError if no picture can be used, if they do not fit at any quality, or on a failed write.
    """
    quality = _find_quality(paths, limit, codec, smallest_side, workers)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            while True:
                report = _write(file, paths, quality, codec, smallest_side, workers, progress)
                if report.size <= limit:
                    return report
                if quality == 1:
                    raise DataError(
                        f"{len(paths)} pictures do not fit into {limit:,} bytes: even at quality 1 they are "
                        f"{report.size:,}; allow more, or pack fewer"
                    )
                # The guess came from a sample: step down as far as the overshoot says, at least by one.
                quality = max(1, quality - max(1, round(quality * (report.size / limit - 1) / 2)))
    except OSError as error:
        raise DataError(f"cannot write the pack {target}: {error.strerror or error}") from error


def is_portable(path: Path) -> bool:
    """Return True if a file is a portable pack, whole or damaged (and not a native one)."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def read_portable(path: Path) -> list[ZippedPicture]:
    """List the pictures of a portable pack, for write_pack. Raises DataError if it is cut short or foreign."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            if manifest["format"] != FORMAT:
                raise DataError(f"{path} is of another version of superfine: {manifest['format']!r}, not {FORMAT!r}")
            return [ZippedPicture(path, str(item["entry"]), str(item["name"])) for item in manifest["pictures"]]
    except OSError as error:
        raise DataError(f"cannot open the pack {path}: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"the portable pack {path} is cut short or damaged: copy it again") from error
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is a ZIP archive, but not a pack of superfine's: make one with 'superfine pack'"
        ) from error


def _find_quality(paths: Sequence[Path], limit: int, codec: Codec, smallest_side: int, workers: int | None) -> int:
    """Find the highest quality at which a sample of the pictures fits; 1 if none does, OWN_FILE if all fit as they are."""
    every = max(1, math.ceil(len(paths) / SAMPLE_COUNT))
    sample = paths[::every]
    share = limit * len(sample) / len(paths)
    low, high = 1, OWN_FILE + 1  # fits (or is the last resort), does not fit
    while high - low > 1:
        middle = (low + high) // 2
        encode = partial(_encode, quality=middle, codec=codec, smallest_side=smallest_side)
        sizes = (len(e.data) for e in in_order(encode, sample, workers) if isinstance(e, _Encoded))
        if sum(sizes) <= share:
            low = middle
        else:
            high = middle
    return low


def _write(
    file: IO[bytes],
    paths: Sequence[Path],
    quality: int,
    codec: Codec,
    smallest_side: int,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> PortableReport:
    pictures: list[dict[str, Any]] = []
    left_out: list[str] = []
    cost: list[float] = []
    encode = partial(_encode, quality=quality, codec=codec, smallest_side=smallest_side)
    file.seek(0)
    file.truncate()  # what an earlier, better quality left
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for done, encoded in enumerate(in_order(encode, paths, workers), 1):
            name = paths[done - 1].name
            if isinstance(encoded, str):
                left_out.append(encoded)
            else:
                # Numbered, because pictures of different folders may bear the same name.
                entry = f"{len(pictures):05d}-{Path(name).stem}{encoded.suffix}"
                archive.writestr(zipfile.ZipInfo(entry), encoded.data)
                pictures.append({"entry": entry, "name": name})
                cost += [encoded.psnr] if math.isfinite(encoded.psnr) else []
            if progress:
                progress(done, len(paths))
        if not pictures:
            raise DataError(f"none of {len(paths)} pictures can be trained on; the first: {left_out[0]}")
        manifest = {"format": FORMAT, "codec": codec, "quality": quality if cost else None, "pictures": pictures}
        archive.writestr(zipfile.ZipInfo(MANIFEST), json.dumps(manifest))
    return PortableReport(
        size=file.seek(0, io.SEEK_END),
        quality=quality if cost else None,
        as_they_are=len(pictures) - len(cost),
        reencoded=len(cost),
        psnr_mean=float(np.mean(cost)) if cost else math.inf,
        psnr_worst=min(cost, default=math.inf),
        left_out=left_out,
    )


def _encode(path: Path, quality: int, codec: Codec, smallest_side: int) -> _Encoded | str:
    """Encode a picture at one quality; or take its own file if that is no larger; or say why it cannot be used."""
    pixels = decode(path, smallest_side)
    if isinstance(pixels, str):
        return pixels
    own = _Encoded(path.read_bytes(), path.suffix.lower(), math.inf)
    if quality == OWN_FILE:
        return own
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, codec.upper(), quality=quality, **OPTIONS[codec])
    except (ValueError, OSError):  # too large: WebP ends at 16,383 pixels a side, JPEG and AVIF at 65,535
        return own
    if len(own.data) <= buffer.tell() and own.suffix in CARRIED_SUFFIXES:
        return own
    with Image.open(buffer) as image:
        cost = psnr(pixels, np.asarray(image.convert("RGB")))
    return _Encoded(buffer.getvalue(), f".{codec}", cost)
