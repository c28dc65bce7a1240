"""Read and write HEIC and JPEG XL by the libraries of `superfine[formats]`."""

import io
import struct
from dataclasses import replace
from typing import IO, Any, Final

import numpy as np
from PIL import Image, ImageCms

from superfine.errors import ImageError
from superfine.images.colour_codes import codes_of, described, is_hdr, nclx_codes, profile_of_codes
from superfine.images.depth import Pixels, as_float32, as_uint8, as_uint16
from superfine.images.formats.avif_items import box, with_items
from superfine.images.formats.deep import library
from superfine.images.metadata import EXIF_PREFIX, announced, current_xmp
from superfine.images.picture import Picture, check_size, from_pil, unit_floats
from superfine.images.profile import decode_linear, encode_linear

_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_JXL_BOX: Final = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
# Names of the profiles libjxl makes up where a file has none: sRGB or gray, on sRGB's tone curve or linear.
_JXL_PLAIN: Final = ("sRGB", "RGB_D65_SRG_Rel_SRG", "RGB_D65_SRG_Per_SRG", "Gra_D65_Rel_SRG", "Gra_D65_Per_SRG")
_JXL_LINEAR: Final = ("RGB_D65_SRG_Rel_Lin", "RGB_D65_SRG_Per_Lin", "Gra_D65_Rel_Lin", "Gra_D65_Per_Lin")
_RINGING: Final = 0.1  # what lossy packing adds to float values at sharp edges; more than that is HDR
_JXL_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def kind_of(start: bytes) -> str | None:
    """Name the format of a file by its first 32 bytes: "JPEG XL", "HEIC" or None."""
    if start[:2] == b"\xff\x0a" or start.startswith(_JXL_BOX):
        return "JPEG XL"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        return "HEIC"
    return None


def read_with_extra(data: bytes, max_pixels: int) -> Picture:
    """Read a picture of one of `kind_of`'s formats. Raises ImageError without the library or over `max_pixels`."""
    return _read_jxl(data, max_pixels) if kind_of(data[:32]) == "JPEG XL" else _read_heif(data, max_pixels)


# HEIC -------------------------------------------------------------------------------------------


def _read_heif(data: bytes, max_pixels: int) -> Picture:
    """Read the main picture of a HEIC file."""
    heif = library("pillow_heif", "reading HEIC")
    file = heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=True)
    width, height = file.size
    check_size(width, height, max_pixels)
    values: Pixels = np.ascontiguousarray(np.asarray(file))
    if file.mode.startswith(("RGBa", "La")):
        image = Image.frombytes(file.mode, file.size, as_uint8(values).tobytes())
        values = np.asarray(image.convert(image.mode.upper()))
    nclx = file.info.get("nclx_profile")
    # The library tells of code points only where there is no profile.
    found = (nclx["color_primaries"], nclx["transfer_characteristics"]) if nclx else nclx_codes(data)
    if found is not None:
        codes = int(found[0]), int(found[1])
        file.info["icc_profile"] = described(file.info.get("icc_profile"), codes, gray=file.mode.startswith("L"))
    # libheif has turned the picture; the EXIF block still says how it lay.
    picture = _picture(values, file.mode, file.info)
    beside = {"gain map": "gainmap", "depth map": "depth"}
    kinds = str(list(file.info.get("aux") or {})).lower() + ("depth" if file.info.get("depth_images") else "")
    left_out = [*picture.left_out, *(name for name, word in beside.items() if word in kinds)]
    return replace(picture, left_out=tuple(dict.fromkeys(left_out)))


def deep_avif(data: bytes) -> tuple[Pixels, Pixels | None] | None:
    """Decode an AVIF of 10 or 12 bits to 16 (Pillow gives 8); None for 8 bits and without imagecodecs."""
    at = data.find(b"av1C")
    if at < 0 or at + 7 > len(data) or not data[at + 6] & 0x40:
        return None
    try:
        import imagecodecs
    except ImportError:
        return None
    values: Pixels = np.asarray(imagecodecs.avif_decode(data, index=0))
    if values.dtype != np.uint16:
        return None
    top = 4095 if data[at + 6] & 0x20 else 1023
    values = ((values.astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[2] in (2, 4):
        return np.ascontiguousarray(values[:, :, :-1]), np.ascontiguousarray(values[:, :, -1])
    return values, None


def hdr_avif(picture: Picture, quality: int, speed: int) -> bytes:
    """Encode an HDR picture as AVIF of 10 bits with its code points, EXIF, XMP and a profile that came with it."""
    codecs = library("imagecodecs", "writing HDR as AVIF")
    codes = codes_of(picture.icc)
    assert codes is not None
    pixels, alpha = as_uint16(picture.pixels), None if picture.alpha is None else as_uint16(picture.alpha)
    pixels = np.repeat(pixels, 3, axis=2) if picture.is_gray else pixels
    values = pixels if alpha is None else np.dstack([pixels, alpha])
    values = ((values.astype(np.uint32) * 1023 + 32767) // 65535).astype(np.uint16)
    matrix = 9 if codes[0] == 9 else 1
    settings: dict[str, Any] = {
        "bitspersample": 10,
        "primaries": codes[0],
        "transfer": codes[1],
        "matrix": matrix,
        "speed": speed,
    }
    if quality >= 90:
        settings["pixelformat"] = "444"
    data = bytes(codecs.avif_encode(np.ascontiguousarray(values), quality, **settings))
    return with_items(data, picture.exif, picture.xmp, None if _says_codes_alone(picture) else picture.icc)


def _says_codes_alone(picture: Picture) -> bool:
    """Return True for an HDR profile made of code points: programs would believe it before these, and show it dark."""
    codes = codes_of(picture.icc)
    return codes is not None and is_hdr(picture.icc) and picture.icc == profile_of_codes(*codes, gray=picture.is_gray)


def write_heif(picture: Picture, file: IO[bytes], quality: int) -> None:
    """Write HEIC: 8 bits, or 10 for deeper pictures; 4:4:4 from quality 90 on; never lossless."""
    heif = library("pillow_heif", "writing HEIC")
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
    if picture.icc and not _says_codes_alone(picture):
        settings["icc_profile"] = picture.icc
    if (codes := codes_of(picture.icc)) is not None:
        settings |= {"color_primaries": codes[0], "transfer_characteristics": codes[1], "full_range_flag": 1}
        settings["matrix_coefficients"] = 9 if codes[0] == 9 else 1 if codes[0] in (1, 12) else 6
    size = (picture.width, picture.height)
    heif.encode(mode + ";16" * deep, size, np.ascontiguousarray(pixels).tobytes(), file, **settings)


# JPEG XL ----------------------------------------------------------------------------------------


def _read_jxl(data: bytes, max_pixels: int) -> Picture:
    """Read the first picture of a JPEG XL file."""
    check_size(*_jxl_size(data), max_pixels)
    codecs = library("imagecodecs", "reading JPEG XL")
    plugin = library("pillow_jxl", "reading JPEG XL")
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
    codecs = library("imagecodecs", "writing JPEG XL")
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
        stream = _JXL_BOX + box(b"ftyp", b"jxl \0\0\0\0jxl ") + box(b"jxlc", stream)
    start = len(_JXL_BOX) + 20
    if stream[start + 4 : start + 8] == b"jxll":  # the level, which must come next
        start += 9
    file.write(stream[:start])
    if picture.exif:
        file.write(box(b"Exif", bytes(4) + picture.exif))
    if picture.xmp:
        file.write(box(b"xml ", picture.xmp))
    file.write(stream[start:])


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
        xmp=current_xmp(bytes(xmp)) if xmp else None,
        left_out=announced(bytes(xmp or b"")),
    )
