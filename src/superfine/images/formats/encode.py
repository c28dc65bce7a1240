"""Write a Picture into an open file, with everything the format can hold: one function for each format."""

import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any, Final

import numpy as np
from PIL import Image, PngImagePlugin

from superfine.errors import ImageError
from superfine.images.bands import Band, BandedImage
from superfine.images.colour_codes import HdrWarning, codes_of, is_hdr
from superfine.images.convert import flatten, to_eight_bits, to_srgb
from superfine.images.depth import as_uint16
from superfine.images.formats.heif_jxl import hdr_avif, write_heif, write_jxl
from superfine.images.formats.png import write_png
from superfine.images.formats.tiff import describing_tags, write_tiff
from superfine.images.metadata import EXIF_PREFIX, update_exif
from superfine.images.picture import Picture, to_pil
from superfine.images.scene_light import is_light, to_srgb_curve

DEFAULT_QUALITY: Final = 95
WASHED_OUT: Final = "most programs will show it washed out or dark; --tone-map makes it standard range"
# A JPEG marker holds 64 KiB; EXIF, XMP and comments beyond that cannot be written there.
_JPEG_MARKER: Final = 65_000
_INCHES_PER_METRE: Final = 1 / 0.0254
_FULL_CHROMA_FROM: Final = 90
_AVIF_SPEED: Final = 8  # of 10; Pillow's 6 takes several seconds a megapixel


@dataclass(frozen=True)
class Options:
    """Settings of a caller; each format uses those it understands."""

    quality: int = DEFAULT_QUALITY
    """1..100."""
    background: tuple[int, int, int] = (255, 255, 255)
    """RGB 0..255, under transparent pixels in formats without alpha."""

    @property
    def subsampling(self) -> str:
        """Chroma subsampling of JPEG and AVIF."""
        return "4:4:4" if self.quality >= _FULL_CHROMA_FROM else "4:2:0"


def suffix_named(format: str) -> str:
    """Return the suffix that a user means by "png", "PNG" or ".png": ".png". It need not be a known one."""
    return "." + format.lower().lstrip(".")


def checked_options(quality: int | None, background: tuple[int, int, int]) -> Options:
    """Make checked options. Raises ImageError for a quality outside 1..100."""
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"quality is {quality}; want a whole number from 1 to 100")
    return Options(DEFAULT_QUALITY if quality is None else quality, background)


def encode(picture: Picture | BandedImage, file: IO[bytes], suffix: str, options: Options) -> None:
    """Write the picture to an open binary file, able to seek, in the format of a suffix of FORMATS.

    A BandedImage is written as its bands are produced, into PNG and TIFF only.
    Raises ImageError for a size the format cannot hold and where the encoder fails; OSError from the file itself.
    """
    format = FORMATS[suffix]
    height, width = picture.height, picture.width
    if max(height, width) > format.longest_side:
        raise ImageError(
            f"{width} x {height} is too large for {format.name}, which ends at {format.longest_side} pixels a side; "
            "write PNG or TIFF"
        )
    if isinstance(picture, BandedImage):
        _encode_bands(picture, file, format)
        return
    check_hdr(picture, format, format.eight_bits)
    if is_light(picture) and format is not _TIFF:
        picture = to_srgb_curve(picture)
    picture = with_current_exif(picture, width, height)
    if not format.alpha:
        picture = flatten(picture, options.background)
    if not format.icc:
        picture = to_srgb(picture)
    try:
        format.write(picture, file, options)
    except (ValueError, TypeError, RuntimeError, struct.error) as error:
        raise ImageError(f"{format.name} encoder: {error}") from None


def check_hdr(picture: Picture, format: "Format", eight_bits: bool) -> None:
    """Raise ImageError for HDR in a format without profiles; warn where it is to have 8 bits."""
    if is_hdr(picture.icc) and not format.icc:
        raise ImageError(f"{format.name} cannot hold an HDR picture; write PNG, TIFF, HEIC or AVIF, or pass --tone-map")
    if is_hdr(picture.icc) and eight_bits:
        warnings.warn(f"{format.name} holds this HDR picture in 8 bits: {WASHED_OUT}", HdrWarning, stacklevel=4)


def _encode_bands(image: BandedImage, file: IO[bytes], format: "Format") -> None:
    """Write bands as they are produced."""
    if format.write_bands is None:
        raise ImageError(f"{format.name} is written whole, not by bands of rows; write PNG or TIFF")
    if is_light(image.head) and format is not _TIFF:
        light = image.head
        bands = (to_srgb_curve(replace(light, pixels=pixels, alpha=alpha)) for pixels, alpha in image.bands)
        image = replace(image, head=to_srgb_curve(light), bands=((band.pixels, band.alpha) for band in bands))
    image = replace(image, head=with_current_exif(image.head, image.width, image.height))
    try:
        format.write_bands(image, file)
    except struct.error as error:  # other errors may come from the code that makes the bands
        raise ImageError(f"{format.name} encoder: {error}") from None


def with_current_exif(picture: Picture, width: int, height: int) -> Picture:
    """Update the picture's EXIF for its new size."""
    return replace(
        picture, exif=None if picture.exif is None else update_exif(picture.exif, width, height, picture.dpi)
    )


def _save(picture: Picture, file: IO[bytes], kind: str, **settings: Any) -> None:
    """Save with Pillow and exactly the settings given: nothing comes from `info`."""
    image = to_pil(picture)
    image.info = {}
    image.save(file, kind, **{key: value for key, value in settings.items() if value is not None})


def _png(image: BandedImage, file: IO[bytes]) -> None:
    """Write PNG of 8 or 16 bits."""
    head = image.head
    if head.pixels.dtype != np.uint8:
        image = BandedImage(_as_16bit(head), image.height, map(_band_as_16bit, image.bands))
    chunks = []
    if (codes := codes_of(head.icc)) is not None:
        chunks.append((b"cICP", bytes([*codes, 0, 1])))
    if head.icc:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(head.icc)))
    if head.dpi:
        x, y = (round(dots * _INCHES_PER_METRE) for dots in head.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", x, y, 1)))
    if head.exif:
        chunks.append((b"eXIf", head.exif))
    write_png(file, image, chunks + text_chunks(head))


def _as_16bit(picture: Picture) -> Picture:
    """Convert pixels and alpha to uint16."""
    pixels, alpha = _band_as_16bit((picture.pixels, picture.alpha))
    return replace(picture, pixels=pixels, alpha=alpha)


def _band_as_16bit(band: Band) -> Band:
    """Convert a band to uint16."""
    pixels, alpha = band
    return as_uint16(pixels), None if alpha is None else as_uint16(alpha)


def text_chunks(picture: Picture) -> list[tuple[bytes, bytes]]:
    """Make iTXt chunks (UTF-8) of text notes and XMP; keywords have at most 79 characters of Latin-1."""
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
    """Write JPEG."""
    exif = picture.exif if picture.exif and len(picture.exif) < _JPEG_MARKER else None
    _save(
        to_eight_bits(picture),
        file,
        "JPEG",
        quality=options.quality,
        subsampling=options.subsampling,
        icc_profile=picture.icc,
        exif=EXIF_PREFIX + exif if exif else None,
        dpi=picture.dpi,
        xmp=picture.xmp if picture.xmp and len(picture.xmp) < _JPEG_MARKER else None,
        comment=_comment(picture)[:_JPEG_MARKER] or None,
    )


def _comment(picture: Picture) -> bytes:
    """Return the text note `Comment` in UTF-8."""
    return picture.text.get("Comment", "").encode("utf-8", "replace")


def _webp(picture: Picture, file: IO[bytes], options: Options) -> None:
    """Write WebP, lossless at quality 100."""
    lossless = options.quality == 100
    _save(
        to_eight_bits(picture),
        file,
        "WEBP",
        lossless=lossless,
        exact=lossless,
        quality=options.quality,
        icc_profile=picture.icc,
        exif=picture.exif,
        xmp=picture.xmp,
    )


def _avif(picture: Picture, file: IO[bytes], options: Options) -> None:
    """Write AVIF: 8 bits, or 10 for HDR."""
    if is_hdr(picture.icc):
        file.write(hdr_avif(picture, options.quality, _AVIF_SPEED))
        return
    _save(
        to_eight_bits(picture),
        file,
        "AVIF",
        quality=options.quality,
        speed=_AVIF_SPEED,
        subsampling="4:0:0" if picture.is_gray and picture.alpha is None else options.subsampling,
        icc_profile=picture.icc,
        exif=picture.exif,
        xmp=picture.xmp,
    )


def _gif(picture: Picture, file: IO[bytes], options: Options) -> None:
    """Write GIF."""
    image = gif_image(picture)
    image.save(file, "GIF", **({"comment": _comment(picture)} if _comment(picture) else {}))


def gif_image(picture: Picture) -> Image.Image:
    """Reduce to at most 256 colours: gray stays exact, RGB is dithered to a palette, alpha is cut at one half."""
    alpha, plain = picture.alpha, to_pil(to_eight_bits(replace(picture, alpha=None)))
    plain.info = {}
    if alpha is None:
        return plain if picture.is_gray else plain.convert("P", palette=Image.Palette.ADAPTIVE)
    image = plain.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=255)
    clear = to_eight_bits(Picture(picture.pixels, alpha)).alpha
    assert clear is not None
    index = np.where(clear < 128, np.uint8(255), np.asarray(image))
    palette = (image.getpalette() or [])[: 255 * 3]
    cut = Image.fromarray(index, mode="P")
    cut.putpalette(palette + [0] * (256 * 3 - len(palette)))
    cut.info["transparency"] = 255
    return cut


def _tiff(image: BandedImage, file: IO[bytes]) -> None:
    """Write TIFF of any depth."""
    head = image.head
    write_tiff(file, image, describing_tags(head.exif, head.xmp), head.icc, head.dpi)


def _bmp(picture: Picture, file: IO[bytes], options: Options) -> None:
    """Write BMP."""
    _save(to_eight_bits(picture), file, "BMP", dpi=picture.dpi)


def _ppm(picture: Picture, file: IO[bytes], options: Options) -> None:
    """Write a portable anymap: P5 for gray, P6 for RGB; 16 bits (and float, as 16) with the high byte first."""
    pixels = picture.pixels if picture.pixels.dtype == np.uint8 else as_uint16(picture.pixels)
    peak = np.iinfo(pixels.dtype).max
    file.write(f"{'P5' if picture.is_gray else 'P6'}\n{picture.width} {picture.height}\n{peak}\n".encode())
    for top in range(0, picture.height, 256):
        file.write(pixels[top : top + 256].astype(pixels.dtype.newbyteorder(">")).tobytes())


def _heif(picture: Picture, file: IO[bytes], options: Options) -> None:
    """Write HEIC."""
    write_heif(picture, file, options.quality)


def _jxl(picture: Picture, file: IO[bytes], options: Options) -> None:
    """Write JPEG XL."""
    write_jxl(picture, file, options.quality)


def animation_settings(kind: str, first: Picture, options: Options) -> dict[str, Any]:
    """Make Pillow's settings for an animation; metadata is that of the first frame."""
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        for chunk, data in text_chunks(first):
            info.add(chunk, data)
        found: dict[str, Any] = {"pnginfo": info, "icc_profile": first.icc, "exif": first.exif, "dpi": first.dpi}
    elif kind == "GIF":
        found = {"comment": _comment(first) or None, "disposal": 2}
    else:
        found = {"quality": options.quality, "icc_profile": first.icc, "exif": first.exif, "xmp": first.xmp}
        if kind == "AVIF":
            found["subsampling"], found["speed"] = options.subsampling, _AVIF_SPEED
        else:
            found["lossless"] = options.quality == 100
    return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Format:
    """A file format: its name, what it can hold, its largest side and its writer."""

    name: str
    write: Callable[[Picture, IO[bytes], Options], None]
    write_bands: Callable[[BandedImage, IO[bytes]], None] | None = None
    """Writer by bands of rows, if the format has one."""
    eight_bits: bool = False
    """True if deeper pictures are rounded to 8 bits (AVIF holds HDR in 10)."""
    alpha: bool = True
    icc: bool = True
    longest_side: int = 2**31 - 1
    """Pixels."""


_PNG = Format("PNG", lambda picture, file, _: _png(BandedImage.of(picture), file), _png)
_JPEG = Format("JPEG", _jpeg, eight_bits=True, alpha=False, longest_side=65_500)
_WEBP = Format("WebP", _webp, eight_bits=True, longest_side=16_383)
_TIFF = Format("TIFF", lambda picture, file, _: _tiff(BandedImage.of(picture), file), _tiff)
_PPM = Format("PPM", _ppm, alpha=False, icc=False)
_HEIC = Format("HEIC", _heif, longest_side=16_384)

FORMATS: Final[dict[str, Format]] = {
    ".png": _PNG,
    ".apng": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _WEBP,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": Format("BMP", _bmp, eight_bits=True, alpha=False, icc=False, longest_side=32_767),
    ".gif": Format("GIF", _gif, eight_bits=True, icc=False, longest_side=65_535),
    ".avif": Format("AVIF", _avif, longest_side=65_535),
    ".heic": _HEIC,
    ".heif": _HEIC,
    ".jxl": Format("JPEG XL", _jxl, icc=False),
    ".ppm": _PPM,
    ".pgm": _PPM,
    ".pnm": _PPM,
}
"""Suffix (lower case, with its dot) → format."""
