"""Writing TIFF: deflated strips of any depth, little-endian, with the EXIF and GPS directories.

Pillow writes no colour of more than 8 bits, and no EXIF directory into a compressed file. Its own
public class puts the directory into bytes here.
"""

import struct
from typing import IO, Any, Final

import numpy as np
from PIL import Image, TiffImagePlugin

from superfine.images.bands import Band, Scroll, regroup
from superfine.images.depth import Pixels
from superfine.images.formats.deflate import WRAPPED, choose_effort, deflated
from superfine.images.formats.png import in_order
from superfine.images.metadata import DESCRIPTIVE_TAGS, EXIF_DIRECTORY, EXIF_PREFIX, GPS_DIRECTORY

_STRIP_BYTES: Final = 1 << 22
_SAMPLE_BYTES: Final = 1 << 16
_SHORT, _LONG, _UNDEFINED, _LONG8 = 3, 4, 7, 16
# A classic TIFF ends at 4 GiB; what is near it before packing is written as BigTIFF.
BIG: Final = 3_900_000_000


def describing_tags(exif: bytes | None, xmp: bytes | None) -> Image.Exif:
    """The tags of a first directory that describe the picture."""
    tags = Image.Exif()
    if exif:
        tags.load(EXIF_PREFIX + exif)
        for tag in [tag for tag in tags if tag not in DESCRIPTIVE_TAGS]:
            del tags[tag]
    if xmp:
        tags[700] = xmp
    return tags


def write_tiff(
    file: IO[bytes], scroll: Scroll, tags: Image.Exif, icc: bytes | None, dpi: tuple[float, float] | None
) -> None:
    """Write rows (uint8, uint16 or float32) while they come; `file` must be able to seek."""
    pixels, samples, height = scroll.head.pixels, scroll.channels, scroll.height
    rows = max(1, _STRIP_BYTES // scroll.row_bytes)
    strips = -(-height // rows)
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    big = height * scroll.row_bytes > BIG
    if big:
        directory._bigtiff = True
    for tag in tags:
        directory[tag] = tags.get_ifd(tag) if tag in (EXIF_DIRECTORY, GPS_DIRECTORY) else tags[tag]
    whole = pixels.dtype.kind == "u"
    fixed: dict[int, tuple[int, Any]] = {
        256: (_LONG, scroll.width),
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
    if scroll.head.alpha is not None:
        fixed[338] = (_SHORT, 2)  # straight alpha
    if icc:
        fixed[34675] = (_UNDEFINED, icc)
    for tag, (kind, value) in fixed.items():
        directory[tag] = value
        directory.tagtype[tag] = kind
    if dpi:
        directory[282], directory[283], directory[296] = dpi[0], dpi[1], 2
    # The directory comes first, its strips' sizes filled in when they are known: a second writing of the same length.
    offset = _LONG8 if big else _LONG

    def put_directory(sizes: list[int]) -> None:
        for tag, values in ((273, np.cumsum([0, *sizes[:-1]]).tolist()), (279, sizes)):
            directory[tag] = tuple(values)
            directory.tagtype[tag] = offset
        file.seek(0)
        directory.save(file)

    put_directory([0] * strips)
    sizes = []
    for data in in_order(_packed, regroup(scroll.bands, rows)):
        sizes.append(len(data))
        file.write(data)
    end = file.tell()
    put_directory(sizes)
    file.seek(end)


def _packed(band: Band) -> bytes:
    """A strip, deflated."""
    pixels, alpha = band
    part = pixels if alpha is None else np.concatenate([pixels, alpha[:, :, None]], axis=2)
    raw = part.astype("<f4").tobytes() if part.dtype.kind == "f" else _differences(part)
    start = len(raw) // 2
    return deflated(raw, choose_effort(lambda: raw[start : start + max(len(raw) // 64, _SAMPLE_BYTES)]), WRAPPED)


def _differences(part: Pixels) -> bytes:
    """Every sample less the one to its left, wrapping around (TIFF 6.0, section 14)."""
    out = part.copy()
    out[:, 1:] -= part[:, :-1]
    return out.astype(out.dtype.newbyteorder("<"), copy=False).tobytes()


def is_tiff(start: bytes) -> bool:
    """Whether a file starts as TIFF or BigTIFF do."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and len(start) >= struct.calcsize("<2sHI")
