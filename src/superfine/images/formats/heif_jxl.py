"""Read and write HEIC and JPEG XL, and read TIFFs Pillow does not know, by the libraries of `superfine[formats]`."""

import importlib
import io
import struct
from dataclasses import replace
from types import ModuleType
from typing import IO, Any, Final

import numpy as np
from PIL import Image, ImageCms

from superfine.errors import ImageError, install_command
from superfine.images.depth import Pixels, as_float32, as_uint8, as_uint16
from superfine.images.formats.tiff import is_tiff
from superfine.images.metadata import EXIF_PREFIX, descriptive_exif, upright_xmp
from superfine.images.picture import Picture, from_pil, turn_upright, unit_floats
from superfine.images.profile import decode_linear, encode_linear

_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_JXL_BOX: Final = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
# Names of the profiles libjxl makes up where a file has none: sRGB or gray, on sRGB's tone curve or linear.
_JXL_PLAIN: Final = ("sRGB", "RGB_D65_SRG_Rel_SRG", "RGB_D65_SRG_Per_SRG", "Gra_D65_Rel_SRG", "Gra_D65_Per_SRG")
_JXL_LINEAR: Final = ("RGB_D65_SRG_Rel_Lin", "RGB_D65_SRG_Per_Lin", "Gra_D65_Rel_Lin", "Gra_D65_Per_Lin")
_RINGING: Final = 0.1  # what lossy packing adds to float values at sharp edges; more than that is HDR
_JXL_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def kind_of(start: bytes) -> str | None:
    """Name the format of a file by its first 32 bytes: "JPEG XL", "HEIC", "TIFF" or None."""
    if start[:2] == b"\xff\x0a" or start.startswith(_JXL_BOX):
        return "JPEG XL"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        return "HEIC"
    return "TIFF" if is_tiff(start) else None


def read_with_extra(data: bytes, max_pixels: int) -> Picture:
    """Read a picture of one of `kind_of`'s formats. Raises ImageError without the library or over `max_pixels`."""
    kind = kind_of(data[:32])
    if kind == "JPEG XL":
        return _read_jxl(data, max_pixels)
    if kind == "HEIC":
        return _read_heif(data, max_pixels)
    picture = _read_tiff(data, max_pixels)
    assert picture is not None  # the first page is never taken for a thumbnail
    return picture


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError for a picture over the limit."""
    if width * height > max_pixels:
        raise ImageError(
            f"{width:,} x {height:,} = {width * height:,} pixels is over the limit of {max_pixels:,}; "
            "raise it with --max-pixels"
        )


def _library(module: str, what: str) -> ModuleType:
    """Import an optional library. Raises ImageError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImageError(f"{what} needs {module}: {install_command('formats')}") from None


# HEIC -------------------------------------------------------------------------------------------


def _read_heif(data: bytes, max_pixels: int) -> Picture:
    """Read the main picture of a HEIC file."""
    heif = _library("pillow_heif", "reading HEIC")
    file = heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=True)
    width, height = file.size
    check_size(width, height, max_pixels)
    values: Pixels = np.ascontiguousarray(np.asarray(file))
    if file.mode.startswith(("RGBa", "La")):
        image = Image.frombytes(file.mode, file.size, as_uint8(values).tobytes())
        values = np.asarray(image.convert(image.mode.upper()))
    # libheif has turned the picture; the EXIF block still says how it lay.
    return _picture(values, file.mode, file.info)


def write_heif(picture: Picture, file: IO[bytes], quality: int) -> None:
    """Write HEIC: 8 bits, or 10 for deeper pictures; 4:4:4 from quality 90 on; never lossless."""
    heif = _library("pillow_heif", "writing HEIC")
    deep = picture.pixels.dtype != np.uint8
    pixels = as_uint16(picture.pixels) if deep else picture.pixels
    mode = "L" if picture.is_gray else "RGB"
    if picture.alpha is not None:
        alpha = as_uint16(picture.alpha) if deep else picture.alpha
        pixels, mode = np.dstack([pixels, alpha]), mode + "A"
    settings: dict[str, Any] = {"quality": quality, "chroma": 444 if quality >= 90 else 420}
    if picture.exif:
        settings["exif"] = EXIF_PREFIX + picture.exif
    if picture.xmp:
        settings["xmp"] = picture.xmp
    if picture.icc:
        settings["icc_profile"] = picture.icc
    size = (picture.width, picture.height)
    heif.encode(mode + ";16" * deep, size, np.ascontiguousarray(pixels).tobytes(), file, **settings)


# JPEG XL ----------------------------------------------------------------------------------------


def _read_jxl(data: bytes, max_pixels: int) -> Picture:
    """Read the first picture of a JPEG XL file."""
    check_size(*_jxl_size(data), max_pixels)
    codecs = _library("imagecodecs", "reading JPEG XL")
    plugin = _library("pillow_jxl", "reading JPEG XL")
    # The plug-in gives profile and boxes, but cuts colour to 8 bits; imagecodecs gives pixels of any depth.
    # It gives up on 16-bit gray with alpha, and then there is no profile to be had.
    try:
        is_jpeg, _, unpacked, icc, boxes = plugin.Decoder(num_threads=1)(data)
    except Exception:
        is_jpeg, unpacked, icc, boxes = False, b"", None, []
    if is_jpeg:
        with Image.open(io.BytesIO(unpacked)) as image:
            return from_pil(image)
    values = np.asarray(codecs.jpegxl_decode(data))
    if values.ndim == 4:  # an animation: its first frame
        values = values[0]
    if values.dtype.kind == "f" and values.min() > -_RINGING and values.max() < 1 + _RINGING:
        values = np.clip(values, 0, 1)
    found = {box.box_type: bytes(box.data) for box in boxes}
    # An Exif box starts with the offset of its TIFF header.
    exif = found.get(b"Exif", b"")[4:]
    name = _profile_name(icc)
    info = {"icc_profile": None if name in _JXL_PLAIN + _JXL_LINEAR else icc, "exif": exif, "xmp": found.get(b"xml ")}
    picture = _picture(values, "JXL", info)
    if name in _JXL_LINEAR and values.dtype != np.uint8:
        # 16 bits on sRGB's curve hold as much as the float: from here on it is an ordinary picture.
        alpha = None if picture.alpha is None else as_uint16(picture.alpha)
        picture = replace(picture, pixels=as_uint16(encode_linear(picture.pixels)), alpha=alpha)
    return picture


def _profile_name(icc: bytes | None) -> str:
    """Return a profile's name; libjxl's name for sRGB if there is no profile, "" for a damaged one."""
    if not icc:
        return _JXL_PLAIN[0]
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.profile_description or ""
    except OSError:
        return ""


def write_jxl(picture: Picture, file: IO[bytes], quality: int) -> None:
    """Write JPEG XL with EXIF and XMP, lossless at quality 100; deeper pictures as float in linear light.

    (imagecodecs says of 8-bit values that they are sRGB, of all others that they are linear, and takes no profile.)
    """
    codecs = _library("imagecodecs", "writing JPEG XL")
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.dtype != np.uint8:
        pixels = decode_linear(pixels, np.dtype(np.float32))
        alpha = None if alpha is None else as_float32(alpha)
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    elif picture.is_gray:
        pixels = pixels[:, :, 0]
    # libjxl's own mapping of quality 30..100 to Butteraugli distance.
    distance = 0.1 + (100 - quality) * 0.09 if quality >= 30 else 6.4 + (30 - quality) * 0.5
    lossless = quality == 100
    stream = codecs.jpegxl_encode(
        np.ascontiguousarray(pixels), lossless=lossless, distance=None if lossless else distance, usecontainer=False
    )
    stream = bytes(stream)
    if not stream.startswith(_JXL_BOX):
        stream = _JXL_BOX + _box(b"ftyp", b"jxl \0\0\0\0jxl ") + _box(b"jxlc", stream)
    start = len(_JXL_BOX) + 20
    if stream[start + 4 : start + 8] == b"jxll":  # the level, which must come next
        start += 9
    file.write(stream[:start])
    if picture.exif:
        file.write(_box(b"Exif", bytes(4) + picture.exif))
    if picture.xmp:
        file.write(_box(b"xml ", picture.xmp))
    file.write(stream[start:])


def _box(kind: bytes, data: bytes) -> bytes:
    """Make a box of an ISO media file."""
    if len(data) + 8 < 1 << 32:
        return struct.pack(">I4s", len(data) + 8, kind) + data
    return struct.pack(">I4sQ", 1, kind, len(data) + 16) + data


def _jxl_size(data: bytes) -> tuple[int, int]:
    """Read width and height from the header (ISO/IEC 18181-1, SizeHeader), before anything is decoded."""
    bits = int.from_bytes(_jxl_stream(data)[2:18], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (1 + take(5)) if small else 1 + take((9, 13, 18, 30)[take(2)])

    height = side()
    ratio = take(3)
    if ratio == 0:
        return side(), height
    across, down = _JXL_RATIOS[ratio - 1]
    return height * across // down, height


def _jxl_stream(data: bytes) -> bytes:
    """Return the start of the codestream, bare or in its container."""
    if data[:2] == b"\xff\x0a":
        return data[:32]
    at = 0
    while at + 16 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 16 if size == 1 else 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if kind in (b"jxlc", b"jxlp"):
            start = at + head + (4 if kind == b"jxlp" else 0)
            return data[start : start + 32]
        if size < head:
            break
        at += size
    raise OSError("no codestream in the container")


# TIFF -------------------------------------------------------------------------------------------


def read_tiff_pages(data: bytes, max_pixels: int) -> list[Picture]:
    """Read all pages of a TIFF that Pillow cannot read whole; `max_pixels` counts them together.

    Thumbnails are left out. Raises ImageError without tifffile.
    """
    tifffile = _library("tifffile", "reading this kind of TIFF")
    pictures: list[Picture] = []
    for index in range(_tiff_page_count(tifffile, data)):
        left = max_pixels - sum(each.width * each.height for each in pictures)
        picture = _read_tiff(data, left, index)
        if picture is not None:
            pictures.append(picture)
    return pictures


def _tiff_page_count(tifffile: ModuleType, data: bytes) -> int:
    """Count the pages of a TIFF."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return len(file.pages)
    except Exception:  # tifffile raises of all kinds, its own among them
        raise OSError from None


def _read_tiff(data: bytes, max_pixels: int, index: int = 0) -> Picture | None:
    """Read a page by tifffile; None for a thumbnail."""
    tifffile = _library("tifffile", "reading this kind of TIFF")
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[index]
            if index and page.tags.valueof(254, 0) & 1:
                return None
            check_size(page.imagewidth, page.imagelength, max_pixels)
            if page.imagedepth != 1 or page.samplesperpixel > 4 or page.photometric not in (0, 1, 2, 3):
                raise ImageError(f"a TIFF of {page.samplesperpixel} x {page.dtype} is no gray or RGB picture")
            values = page.asarray()
            if page.photometric == 3:
                values = as_uint8(np.moveaxis(page.colormap[:, values], 0, 2))
            elif values.dtype == bool:
                values = values.astype(np.uint8) * np.uint8(255)
            if page.planarconfig == 2 and values.ndim == 3:
                values = np.moveaxis(values, 0, 2)
            if page.photometric == 0:
                values = np.iinfo(values.dtype).max - values
            if page.extrasamples and page.extrasamples[0] == 1:
                values = _unpremultiplied(values)
            info = _tiff_info(page.tags)
            orientation = int(page.tags.valueof(274, 1))
    except ImageError:
        raise
    except Exception as error:
        if "imagecodecs" in str(error):
            raise ImageError(f"unpacking this TIFF needs imagecodecs: {install_command('formats')}") from None
        raise OSError from None
    if index == 0:
        try:
            exif = Image.Exif()
            exif.load(data)  # an EXIF block is a TIFF, so Pillow's reader of those reads this one's tags
            info["exif"] = descriptive_exif(exif)
        except Exception:  # what is said beside the pixels must not cost them
            info["exif"] = None
    return _picture(turn_upright(values, orientation), f"TIFF {page.dtype}", info)


def _tiff_info(tags: Any) -> dict[str, Any]:
    """Collect profile, XMP and resolution under Pillow's names."""
    info: dict[str, Any] = {"icc_profile": tags.valueof(34675), "xmp": tags.valueof(700)}
    unit = {2: 1.0, 3: 2.54}.get(int(tags.valueof(296, 2)))
    across, down = tags.valueof(282), tags.valueof(283)
    if unit and across and down and across[0] and across[1] and down[0] and down[1]:
        info["dpi"] = (across[0] / across[1] * unit, down[0] / down[1] * unit)
    return info


def _unpremultiplied(values: Pixels) -> Pixels:
    """Divide premultiplied colour (TIFF's associated alpha) by its alpha, the last channel."""
    peak = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    alpha = values[:, :, -1:].astype(np.float64)
    colour = np.divide(values[:, :, :-1] * float(peak), alpha, out=np.zeros(values[:, :, :-1].shape), where=alpha > 0)
    colour = np.minimum(np.rint(colour) if values.dtype.kind == "u" else colour, peak)
    return np.concatenate([colour.astype(values.dtype), values[:, :, -1:]], axis=2)


def _picture(values: Pixels, mode: str, info: dict[str, Any]) -> Picture:
    """Build a Picture of upright HW or HWC values, C = 1 to 4."""
    if values.dtype.kind == "f":
        values = unit_floats(values)
    elif values.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"pixels are {values.dtype}; want 8 or 16 bits, or floating point")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.ndim == 2:
        values = values[:, :, None]
    alpha = np.ascontiguousarray(values[:, :, -1]) if values.shape[2] in (2, 4) else None
    pixels = np.ascontiguousarray(values[:, :, :-1] if alpha is not None else values)
    exif = (info.get("exif") or b"").removeprefix(EXIF_PREFIX)
    xmp = info.get("xmp") or None
    return Picture(
        pixels=pixels,
        alpha=alpha,
        icc=bytes(info["icc_profile"]) if info.get("icc_profile") else None,
        exif=exif if exif[:4] in (b"II*\0", b"MM\0*") else None,
        dpi=info.get("dpi"),
        mode=mode,
        xmp=upright_xmp(bytes(xmp)) if xmp else None,
    )
