"""Read 16-bit colour from PNG and PPM files, which Pillow alone reduces to 8 bits.

Pillow's raw mode for 16-bit samples keeps the high byte of each. The same mode for the other byte order keeps the low
byte. So two passes of Pillow's own decoder give all 16 bits, interlaced or not.
"""

import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from superfine.images.depth import Pixels

_LITTLE: Final = sys.byteorder == "little"
_MODES: Final = ("RGB", "RGBA", "RGBX")
_GRAY_ALPHA: Final = "LA;16B"


def is_16bit(image: Image.Image) -> bool:
    """Return True if an opened, not yet loaded image has 16-bit samples that Pillow would reduce to 8."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.format not in ("PNG", "PPM"):
        return False
    if image.format == "PPM":
        return image.mode == "RGB" and image.tile[0].codec_name == "ppm" and _maximum(image) > 255
    raw = _raw_mode(image)
    return raw == _GRAY_ALPHA or (raw[:-1] in [f"{mode};16" for mode in _MODES] and raw[-1] in "BLN")


def read_16bit(image: Image.Image, again: Image.Image) -> NDArray[np.uint16]:
    """Read HWC uint16, C = 2 (gray, alpha), 3 or 4, from one file opened twice; this loads `image`.

    Raises OSError where the file is damaged or cut short.
    """
    assert isinstance(image, ImageFile.ImageFile) and isinstance(again, ImageFile.ImageFile)
    if image.format == "PPM":
        return _read_ppm(image, again)
    raw = _raw_mode(image)
    if raw == _GRAY_ALPHA:
        _decode_as(again, "RGBA")  # the four bytes of gray and alpha, as they are
        image.load()
        return np.ascontiguousarray(again).view(">u2").astype(np.uint16)
    big = raw[-1] == "B" or (raw[-1] == "N" and not _LITTLE)
    high, low = ("B", "L") if big else ("L", "B")
    _decode_as(image, raw[:-1] + high)
    _decode_as(again, raw[:-1] + low)
    out = np.asarray(image).astype(np.uint16)
    out <<= 8
    out |= np.asarray(again)
    return out


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return Pillow's raw mode of the first tile."""
    args = image.tile[0].args
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _decode_as(image: ImageFile.ImageFile, raw: str) -> None:
    """Load an image with another raw mode."""

    def swapped(args: Any) -> Any:
        return (raw, *args[1:]) if isinstance(args, tuple) else raw

    image.tile = [tile._replace(args=swapped(tile.args)) for tile in image.tile]
    image.load()


def _maximum(image: ImageFile.ImageFile) -> int:
    """Return the largest sample value a PPM header names."""
    args = image.tile[0].args
    return args[1] if isinstance(args, tuple) and len(args) > 1 and isinstance(args[1], int) else 255


def _read_ppm(image: ImageFile.ImageFile, again: ImageFile.ImageFile) -> NDArray[np.uint16]:
    """Read binary PPM, scaled from its maximum to 65535."""
    maximum, count = _maximum(image), image.width * image.height * 3
    assert again.fp is not None
    again.fp.seek(again.tile[0].offset)
    data = again.fp.read(2 * count)
    if len(data) < 2 * count:
        raise OSError(f"{len(data)} bytes of pixels where {2 * count} are due")
    values: Pixels = np.frombuffer(data, ">u2").reshape(image.height, image.width, 3)
    if maximum < 65535:
        values = (np.minimum(values, maximum).astype(np.uint32) * 65535 + maximum // 2) // maximum
    return values.astype(np.uint16)
