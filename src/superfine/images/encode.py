"""One function a file format: a Picture into an open file, with everything the format can hold."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any, Final

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from superfine.errors import ImageError
from superfine.images.depth import Pixels, as_uint8, as_uint16
from superfine.images.metadata import DESCRIPTIVE_TAGS, EXIF_PREFIX, mend_exif
from superfine.images.picture import Picture, to_pil
from superfine.images.png16 import write_png16

DEFAULT_QUALITY: Final = 95
_ROWS: Final = 256
# A JPEG marker holds 64 KiB; EXIF and XMP beyond that cannot be written there.
_JPEG_MARKER: Final = 65_000
_METRE_PER_INCH: Final = 0.0254


@dataclass(frozen=True)
class Options:
    """What a caller may choose; each format takes what it understands."""

    quality: int = DEFAULT_QUALITY
    """1..100."""
    background: tuple[int, int, int] = (255, 255, 255)
    """RGB 0..255, under transparent pixels in formats without alpha."""


def encode(picture: Picture, file: IO[bytes], suffix: str, options: Options) -> None:
    """Write the picture to an open binary file in the format of a suffix of FORMATS.

    Raises ImageError for a size the format cannot hold and where the encoder fails; OSError from the file itself.
    """
    format = FORMATS[suffix]
    height, width = picture.pixels.shape[:2]
    if max(height, width) > format.longest_side:
        raise ImageError(
            f"{width} x {height} is too large for {format.name}, which ends at {format.longest_side} pixels a side; "
            "write PNG or TIFF"
        )
    exif = None if picture.exif is None else mend_exif(picture.exif, width, height)
    picture = replace(picture, exif=exif)
    if not format.alpha:
        picture = flatten(picture, options.background)
    if not format.icc:
        picture = to_srgb(picture)
    try:
        format.write(picture, file, options)
    except (ValueError, TypeError, struct.error) as error:
        raise ImageError(f"{format.name} encoder: {error}") from None


def flatten(picture: Picture, background: tuple[int, int, int]) -> Picture:
    """The picture laid over a colour, without alpha; the same one where it has none. Gray stays gray over a gray."""
    if picture.alpha is None:
        return picture
    pixels, alpha = picture.pixels, picture.alpha
    if picture.is_gray and len(set(background)) > 1:
        pixels = np.repeat(pixels, 3, axis=2)
    peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    under = np.array(background[: pixels.shape[2]], np.float32) * np.float32(peak / 255)
    out = np.empty_like(pixels)
    for top in range(0, len(pixels), _ROWS):
        rows = slice(top, top + _ROWS)
        share = alpha[rows, :, None].astype(np.float32) / np.float32(peak)
        mixed = pixels[rows] * share + under * (1 - share)
        out[rows] = np.rint(mixed) if pixels.dtype.kind == "u" else mixed
    return replace(picture, pixels=out, alpha=None)


def to_srgb(picture: Picture) -> Picture:
    """The picture in sRGB and without a profile, for formats that hold none; values are rounded to 8 bits on the way.

    A profile that cannot be used is dropped, the pixels staying as they are.
    """
    if picture.icc is None:
        return picture
    plain = replace(picture, icc=None)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
        image = Image.fromarray(_squeeze(as_uint8(picture.pixels)))
        mode = "L" if picture.is_gray else "RGB"
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, profile, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return plain
    if converted is None:
        return plain
    alpha = None if picture.alpha is None else as_uint8(picture.alpha)
    pixels = np.asarray(converted)
    return replace(plain, pixels=pixels[:, :, :1] if mode == "L" else pixels, alpha=alpha)


def _png(picture: Picture, file: IO[bytes], options: Options) -> None:
    if picture.pixels.dtype == np.uint8:
        image = to_pil(picture)
        info = PngImagePlugin.PngInfo()
        for kind, data in _text_chunks(picture):
            info.add(kind, data)
        image.info.pop("xmp", None)  # it is among the text chunks
        image.save(file, "PNG", pnginfo=info, **_present(icc_profile=picture.icc, exif=picture.exif, dpi=picture.dpi))
        return
    chunks = []
    if picture.icc:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc)))
    if picture.dpi:
        x, y = (round(dots / _METRE_PER_INCH) for dots in picture.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", x, y, 1)))
    if picture.exif:
        chunks.append((b"eXIf", picture.exif))
    chunks += _text_chunks(picture)
    alpha = None if picture.alpha is None else as_uint16(picture.alpha)
    write_png16(file, as_uint16(picture.pixels), alpha, chunks)


def _text_chunks(picture: Picture) -> list[tuple[bytes, bytes]]:
    """PNG text notes as iTXt, which is UTF-8; keywords are at most 79 characters of Latin-1."""
    notes = dict(picture.text)
    if picture.xmp:
        notes["XML:com.adobe.xmp"] = picture.xmp.decode("utf-8", "replace")
    chunks = []
    for key, value in notes.items():
        keyword = key.encode("latin-1", "replace").replace(b"\0", b" ").strip()[:79]
        if keyword:
            chunks.append((b"iTXt", keyword + b"\0\0\0\0\0" + value.replace("\0", " ").encode("utf-8", "replace")))
    return chunks


def _jpeg(picture: Picture, file: IO[bytes], options: Options) -> None:
    exif = picture.exif if picture.exif and len(picture.exif) < _JPEG_MARKER else None
    xmp = picture.xmp if picture.xmp and len(picture.xmp) < _JPEG_MARKER else None
    comment = picture.text.get("Comment", "").encode()[:_JPEG_MARKER]
    image = to_pil(_eight(picture))
    image.info = {}
    image.save(
        file,
        "JPEG",
        quality=options.quality,
        subsampling="4:4:4" if options.quality >= 90 else "4:2:0",
        **_present(
            icc_profile=picture.icc,
            exif=EXIF_PREFIX + exif if exif else None,
            dpi=picture.dpi,
            xmp=xmp,
            comment=comment,
        ),
    )


def _webp(picture: Picture, file: IO[bytes], options: Options) -> None:
    lossless = options.quality == 100
    image = to_pil(_eight(picture))
    image.info = {}
    image.save(
        file,
        "WEBP",
        lossless=lossless,
        exact=lossless,
        quality=options.quality,
        **_present(icc_profile=picture.icc, exif=picture.exif, xmp=picture.xmp),
    )


def _tiff(picture: Picture, file: IO[bytes], options: Options) -> None:
    if picture.pixels.dtype != np.uint8 and not (picture.is_gray and picture.alpha is None):
        picture = _eight(picture)
    image = to_pil(picture)
    image.info = {}
    tags = Image.Exif()
    if picture.exif:
        found = Image.Exif()
        found.load(EXIF_PREFIX + picture.exif)
        for tag in DESCRIPTIVE_TAGS:
            if tag in found:
                tags[tag] = found.get_ifd(tag) if tag in (0x8769, 0x8825) else found[tag]
    if picture.xmp:
        tags[700] = picture.xmp
    if picture.pixels.dtype != np.float32:
        tags[317] = 2  # horizontal differences before deflate: a third smaller for photographs
    image.save(
        file,
        "TIFF",
        compression="tiff_adobe_deflate",
        exif=tags,
        big_tiff=picture.pixels.nbytes > 3_900_000_000,
        **_present(icc_profile=picture.icc, dpi=picture.dpi),
    )


def _bmp(picture: Picture, file: IO[bytes], options: Options) -> None:
    image = to_pil(_eight(picture))
    image.info = {}
    image.save(file, "BMP", **_present(dpi=picture.dpi))


def _eight(picture: Picture) -> Picture:
    alpha = None if picture.alpha is None else as_uint8(picture.alpha)
    return replace(picture, pixels=as_uint8(picture.pixels), alpha=alpha)


def _squeeze(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _present(**settings: Any) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value}


@dataclass(frozen=True)
class Format:
    """What a file format is called, how far it goes, and how it is written."""

    name: str
    write: Callable[[Picture, IO[bytes], Options], None]
    alpha: bool = True
    icc: bool = True
    longest_side: int = 2**31 - 1
    """Pixels."""


_PNG = Format("PNG", _png)
_JPEG = Format("JPEG", _jpeg, alpha=False, longest_side=65_500)
_WEBP = Format("WebP", _webp, longest_side=16_383)
_TIFF = Format("TIFF", _tiff)
_BMP = Format("BMP", _bmp, alpha=False, icc=False)

FORMATS: Final[dict[str, Format]] = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _WEBP,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": _BMP,
}
"""Suffix (lower case, with its dot) to format."""
