"""Write TIFF: deflated strips of any depth, little-endian, with the EXIF and GPS directories.

Pillow writes no colour of more than 8 bits, and no EXIF directory into a compressed file. Its public class for
directories is used here.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
from PIL import Image, TiffImagePlugin

from superfine.images.bands import Band, BandedImage, regroup
from superfine.images.depth import Pixels
from superfine.images.formats.deflate import WRAPPED, choose_effort, compress_all
from superfine.images.formats.png import map_in_threads
from superfine.images.metadata import DESCRIPTIVE_TAGS, EXIF_DIRECTORY, EXIF_PREFIX, GPS_DIRECTORY

_STRIP_BYTES: Final = 1 << 22
_SAMPLE_BYTES: Final = 1 << 16
_SHORT, _LONG, _UNDEFINED, _LONG8 = 3, 4, 7, 16
# A classic TIFF ends at 4 GiB; what is near it before packing is written as BigTIFF.
BIG: Final = 3_900_000_000


@dataclass(frozen=True)
class PackedImage(BandedImage):
    """A picture whose strips are packed already, in several processes perhaps: `bands` is not looked at."""

    strips: Iterable[bytes] = ()
    """All strips in order, as pack_strips makes them of `strip_rows` rows each."""


def strip_rows(image: BandedImage) -> int:
    """Return the rows of a strip."""
    return max(1, _STRIP_BYTES // image.row_bytes)


def pack_strips(bands: Iterable[Band], rows: int) -> Iterator[bytes]:
    """Deflate bands as strips of `rows` rows; the last may be shorter."""
    return map_in_threads(_compress_strip, regroup(bands, rows))


def describing_tags(exif: bytes | None, xmp: bytes | None) -> Image.Exif:
    """Collect the tags of a first directory that describe the picture."""
    tags = Image.Exif()
    if exif:
        tags.load(EXIF_PREFIX + exif)
        for tag in [tag for tag in tags if tag not in DESCRIPTIVE_TAGS]:
            del tags[tag]
    if xmp:
        tags[700] = xmp
    return tags


def write_tiff(
    file: IO[bytes], image: BandedImage, tags: Image.Exif, icc: bytes | None, dpi: tuple[float, float] | None
) -> None:
    """Write rows (uint8, uint16 or float32) as they are produced; `file` must be able to seek."""
    pixels, samples, height = image.head.pixels, image.channels, image.height
    rows = strip_rows(image)
    strips = -(-height // rows)
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    big = height * image.row_bytes > BIG
    if big:
        directory._bigtiff = True
    for tag in tags:
        directory[tag] = tags.get_ifd(tag) if tag in (EXIF_DIRECTORY, GPS_DIRECTORY) else tags[tag]
    whole = pixels.dtype.kind == "u"
    fixed: dict[int, tuple[int, Any]] = {
        256: (_LONG, image.width),
        257: (_LONG, height),
        258: (_SHORT, (8 * pixels.itemsize,) * samples),
        259: (_SHORT, 8),  # deflate
        262: (_SHORT, 2 if pixels.shape[2] == 3 else 1),
        277: (_SHORT, samples),
        278: (_LONG, rows),
        284: (_SHORT, 1),
        317: (_SHORT, 2 if whole else 1),  # differences along the row
        339: (_SHORT, (1 if whole else 3,) * samples),
    }
    if image.head.alpha is not None:
        fixed[338] = (_SHORT, 2)  # straight alpha
    if icc:
        fixed[34675] = (_UNDEFINED, icc)
    for tag, (kind, value) in fixed.items():
        directory[tag] = value
        directory.tagtype[tag] = kind
    if dpi:
        directory[282], directory[283], directory[296] = dpi[0], dpi[1], 2
    # The directory comes first; it is written again, at the same length, when the sizes of the strips are known.
    offset = _LONG8 if big else _LONG

    def put_directory(sizes: list[int]) -> None:
        for tag, values in ((273, np.cumsum([0, *sizes[:-1]]).tolist()), (279, sizes)):
            directory[tag] = tuple(values)
            directory.tagtype[tag] = offset
        file.seek(0)
        directory.save(file)

    put_directory([0] * strips)
    sizes = []
    for data in image.strips if isinstance(image, PackedImage) else pack_strips(image.bands, rows):
        sizes.append(len(data))
        file.write(data)
    end = file.tell()
    put_directory(sizes)
    file.seek(end)


def _compress_strip(band: Band) -> bytes:
    """Deflate one strip."""
    pixels, alpha = band
    part = pixels if alpha is None else np.concatenate([pixels, alpha[:, :, None]], axis=2)
    raw = part.astype("<f4").tobytes() if part.dtype.kind == "f" else _differences(part)
    start = len(raw) // 2
    return compress_all(raw, choose_effort(lambda: raw[start : start + max(len(raw) // 64, _SAMPLE_BYTES)]), WRAPPED)


def _differences(part: Pixels) -> bytes:
    """Subtract from every sample the one to its left, modulo its range (TIFF 6.0, section 14)."""
    out = part.copy()
    out[:, 1:] -= part[:, :-1]
    return out.astype(out.dtype.newbyteorder("<"), copy=False).tobytes()


def is_tiff(start: bytes) -> bool:
    """Return True if a file starts as TIFF or BigTIFF do."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and len(start) >= struct.calcsize("<2sHI")
