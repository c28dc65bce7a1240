"""A picture in memory with its alpha and metadata, and conversion to and from PIL images."""

import io
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from superfine.errors import ImageError
from superfine.images.depth import Pixels, as_uint8
from superfine.images.jpeg_quality import quality_of
from superfine.images.metadata import announced, current_xmp, exif_of, orientation_of

# A float picture may overshoot 0..1 by what one 8-bit level is worth (resampling does that) before it is called HDR.
_FLOAT_SLACK = 1 / 255

_ROWS = 256


@dataclass
class Picture:
    """Upright pixels (EXIF orientation applied) with everything that must be written back with them."""

    pixels: Pixels
    """HWC, C = 1 (gray) or 3 (RGB); uint8 0..255, uint16 0..65535 or float32 0..1."""
    alpha: Pixels | None = None
    """HW, same type as pixels, straight (not premultiplied); None: opaque."""
    icc: bytes | None = None
    """ICC profile of the pixels; None means sRGB."""
    exif: bytes | None = None
    """EXIF block from its byte order mark on (no `Exif` prefix); `files.write` updates its sizes and orientation."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, horizontal and vertical."""
    mode: str = ""
    """Pillow's mode of the source, for messages."""
    xmp: bytes | None = None
    """XMP packet."""
    left_out: tuple[str, ...] = ()
    """What the file holds beside the still picture, and is not read: "gain map", "video of a motion photo"."""
    text: dict[str, str] = field(default_factory=dict)
    """Text notes: PNG text chunks by keyword; the comment of a JPEG or GIF under `Comment`."""
    jpeg_quality: int | None = None
    """Quality of the JPEG file the pixels were read from, 1..100, as its tables tell; None for all others."""

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def is_gray(self) -> bool:
        """True for one channel beside alpha."""
        return int(self.pixels.shape[2]) == 1

    def _repr_png_(self) -> bytes:
        """Encode the picture in 8 bits, as a notebook shows it."""
        alpha = None if self.alpha is None else as_uint8(self.alpha)
        file = io.BytesIO()
        to_pil(replace(self, pixels=as_uint8(self.pixels), alpha=alpha)).save(file, "PNG")
        return file.getvalue()


def from_pil(image: Image.Image) -> Picture:
    """Convert any PIL image to a Picture, turned upright by its EXIF orientation.

    Gray stays one channel, 16-bit gray stays 16 bits, a palette becomes RGB (gray if all its used
    colours are), CMYK and LAB become sRGB through their profile. Raises ImageError for 32-bit
    integers beyond 65535 and for floats outside 0..1.
    """
    _scale_key(image)
    image.load()
    mode = image.mode
    plain, icc = _to_plain_mode(image, image.info.get("icc_profile") or None)
    pixels, alpha = _arrays(plain)
    return assemble(image, pixels, alpha, icc, mode)


def assemble(image: Image.Image, pixels: Pixels, alpha: Pixels | None, icc: bytes | None, mode: str) -> Picture:
    """Build a Picture of pixels as stored in the file (not yet upright) and the metadata of the loaded image."""
    orientation = orientation_of(image)
    xmp = image.info.get("xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Picture(
        pixels=turn_upright(pixels, orientation),
        alpha=None if alpha is None else turn_upright(alpha, orientation),
        icc=icc,
        exif=exif_of(image),
        dpi=_dpi(image, turned=orientation >= 5),
        mode=mode,
        xmp=current_xmp(xmp) if isinstance(xmp, bytes) and xmp else None,
        text=_text(image),
        jpeg_quality=quality_of(getattr(image, "quantization", None) or {}),
        left_out=announced(xmp if isinstance(xmp, bytes) else b""),
    )


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError for a picture over the limit."""
    if width * height > max_pixels:
        raise ImageError(
            f"{width:,} x {height:,} = {width * height:,} pixels is over the limit of {max_pixels:,}; "
            "raise it with --max-pixels"
        )


def to_pil(picture: Picture) -> Image.Image:
    """Convert to a PIL image of mode L, LA, RGB or RGBA; 16-bit gray without alpha gives I;16, float gray F.

    Pillow has no mode for 16-bit or float RGB, nor for those with alpha: they are rounded to 8 bits
    here (`files.write` does not go this way for them). ICC profile, EXIF, DPI and XMP are in `info`.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if picture.is_gray and alpha is None and pixels.dtype in (np.uint16, np.float32):
        image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]))
    else:
        eight = np.ascontiguousarray(as_uint8(pixels))
        image = Image.fromarray(eight[:, :, 0] if picture.is_gray else eight)
        if alpha is not None:
            image.putalpha(Image.fromarray(np.ascontiguousarray(as_uint8(alpha))))
    for key, value in {
        "icc_profile": picture.icc,
        "exif": picture.exif,
        "dpi": picture.dpi,
        "xmp": picture.xmp,
    }.items():
        if value is not None:
            image.info[key] = value
    return image


def turn_upright(values: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (1..8) to an array of rows and columns; contiguous."""
    if orientation >= 5:
        values = np.swapaxes(values, 0, 1)
    # After the transpose of 5..8: 6 mirrors columns, 8 mirrors rows, 7 both.
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return np.ascontiguousarray(values)


def _to_plain_mode(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None]:
    """Convert an image to mode L, LA, RGB, RGBA, I;16, I or F, and return it with its new profile."""
    mode = image.mode
    if mode in ("L", "LA", "RGB", "RGBA", "I", "F") or mode.startswith("I;16"):
        return image, icc
    if mode == "1":
        plain = image.convert("L")
    elif mode in ("P", "PA"):
        plain = _from_palette(image, gray_allowed=icc is None or icc[16:20] == b"GRAY")
    elif mode in ("La", "RGBa"):
        plain = image.convert("LA" if mode == "La" else "RGBA")
    elif mode in ("CMYK", "LAB"):
        plain, icc = cmyk_to_srgb(image, icc), None
    else:
        plain = image.convert("RGB")
    key = image.info.get("transparency") if mode == "1" else None
    plain.info = {} if key is None else {"transparency": key}  # a palette's transparency is in the alpha channel now
    return plain, icc


def _scale_key(image: Image.Image) -> None:
    """Scale the transparent gray of a PNG of 1, 2 or 4 bits as Pillow scales its pixels."""
    key, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if image.format != "PNG" or not tiles or not isinstance(key, int):
        return
    top = {"1": 1, "L;2": 3, "L;4": 15}.get(str(tiles[0].args), 255)
    if key <= top:
        image.info["transparency"] = key * 255 // top


def _from_palette(image: Image.Image, gray_allowed: bool) -> Image.Image:
    """Convert a palette to RGB or RGBA, or to L or LA where all colours in use are gray and that is allowed."""
    transparent = image.mode == "PA" or "transparency" in image.info
    palette = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    gray = False
    if gray_allowed and len(palette):
        used = [index for index, count in enumerate(image.histogram()[:256]) if count]
        entries = palette[[index for index in used if index < len(palette)]]
        gray = bool((entries == entries[:, :1]).all())
    if transparent:
        rgba = image.convert("RGBA")
        return Image.merge("LA", (rgba.getchannel("R"), rgba.getchannel("A"))) if gray else rgba
    rgb = image.convert("RGB")
    return rgb.getchannel("R") if gray else rgb


def cmyk_to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert CMYK or LAB to sRGB by the profile; CMYK without a usable profile by Pillow's plain formula."""
    srgb = ImageCms.createProfile("sRGB")
    try:
        if image.mode == "LAB":
            source: Any = ImageCms.createProfile("LAB")
        elif icc is None:
            return image.convert("RGB")
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        if image.mode == "LAB":
            raise ImageError("a CIE LAB picture could not be converted to sRGB; convert it to RGB first") from None
        return image.convert("RGB")
    return converted if converted is not None else image.convert("RGB")


def _arrays(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """Return pixels HWC and alpha HW of an image in a plain mode."""
    values = array_of(image)
    if image.mode == "I":
        values = _sixteen_bits(values)
    elif image.mode == "F":
        values = unit_floats(values)
    elif image.mode.startswith("I;16"):
        values = values.astype(np.uint16, copy=False)
    if image.mode in ("LA", "RGBA"):
        return np.ascontiguousarray(values[:, :, :-1]), np.ascontiguousarray(values[:, :, -1])
    pixels = values[:, :, None] if values.ndim == 2 else values
    return np.ascontiguousarray(pixels), keyed_alpha(pixels, image.info.get("transparency"))


def array_of(image: Image.Image) -> NDArray[Any]:
    """Copy a loaded image's values a few rows at a time; NumPy alone would make two more copies of the whole."""
    first: NDArray[Any] = np.asarray(image.crop((0, 0, image.width, min(_ROWS, image.height))))
    if len(first) == image.height:
        return first
    out = np.empty((image.height, *first.shape[1:]), first.dtype)
    for top in range(0, image.height, _ROWS):
        bottom = min(top + _ROWS, image.height)
        out[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return out


def keyed_alpha(pixels: Pixels, key: object) -> Pixels | None:
    """Build alpha from PNG's one transparent colour (`tRNS` of gray and RGB); None if there is no such colour."""
    colour = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(level, int) for level in colour) or len(colour) != pixels.shape[2]:
        return None
    opaque = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    hit = (pixels == np.array(colour)).all(axis=2)
    return np.where(hit, 0, opaque).astype(pixels.dtype)


def unit_floats(values: Pixels) -> NDArray[np.float32]:
    """Convert floating point pixels to float32 0..1. Raises ImageError if they are outside that range."""
    if not np.isfinite(values).all():
        raise ImageError("float picture holds NaN or infinity; want finite values 0..1")
    low, high = float(values.min()), float(values.max())
    if low < -_FLOAT_SLACK or high > 1 + _FLOAT_SLACK:
        raise ImageError(f"float picture holds values {low:.4g} to {high:.4g}; want 0..1, so scale it first")
    return np.clip(values, 0, 1).astype(np.float32, copy=False)


def _sixteen_bits(values: Pixels) -> NDArray[np.uint16]:
    """Convert Pillow's 32-bit integers (PGM, signed TIFF) to uint16. Raises ImageError for wider values."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"integer picture holds values {low} to {high}; want 0..65535, so scale it to 16 bits first")
    return values.astype(np.uint16)


def _dpi(image: Image.Image, turned: bool) -> tuple[float, float] | None:
    """Return the resolution, sides exchanged if the picture is turned by a quarter; None if it makes no sense."""
    found = image.info.get("dpi")
    if not isinstance(found, tuple) or len(found) != 2:
        return None
    try:
        x, y = float(found[0]), float(found[1])
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0 < x < 1e6 and 0 < y < 1e6):
        return None
    return (y, x) if turned else (x, y)


def _text(image: Image.Image) -> dict[str, str]:
    """Collect PNG text chunks and the comment of a JPEG or GIF."""
    notes = {}
    chunks = getattr(image, "text", None)
    for key, value in (chunks if isinstance(chunks, dict) else {}).items():
        # XMP and EXIF travel in fields of their own.
        if isinstance(value, str) and key != "XML:com.adobe.xmp" and not key.startswith("Raw profile type"):
            notes[key] = str(value)
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        comment = comment.decode("utf-8", "replace")
    if isinstance(comment, str) and comment:
        notes.setdefault("Comment", comment)
    return notes
