"""What a picture file holds, in words: for people who ask what came back, and for `superfine inspect`."""

import io
import os
from pathlib import Path
from typing import Any, Final

from PIL import ExifTags, Image, ImageCms

from superfine.images import files
from superfine.images.metadata import EXIF_DIRECTORY, EXIF_PREFIX
from superfine.images.picture import Picture
from superfine.images.provenance import read_note
from superfine.images.rare import kind_of

_DEPTHS: Final = {"uint8": "8 bits", "uint16": "16 bits", "float32": "float"}
_TOLD: Final = ("Make", "Model", "DateTimeOriginal", "DateTime", "Artist", "Copyright", "Software")


def describe(path: str | os.PathLike[str], *, max_pixels: int = files.DEFAULT_MAX_PIXELS) -> dict[str, Any]:
    """A file's format, size, colour, metadata and provenance note, JSON-ready; what it does not hold is left out.

    Raises ImageError where `files.read` would.
    """
    name, source = files.source_of(path)
    with files.errors_named(name, max_pixels):
        opened = files.open_picture(source, name, max_pixels)
        if isinstance(opened, Picture):
            picture, format, frames = opened, kind_of(Path(path).read_bytes()[:32]), 1
        else:
            with opened as image:
                format, frames = image.format, int(getattr(image, "n_frames", 1))
                picture = files.load(image, source, name, max_pixels)
    exif = _exif(picture)
    told = {
        "file": str(path),
        "format": format,
        "bytes": Path(path).stat().st_size,
        "width": picture.width,
        "height": picture.height,
        "frames": frames if frames > 1 else None,
        "colour": ("gray" if picture.is_gray else "RGB") + (" with alpha" if picture.alpha is not None else ""),
        "depth": _DEPTHS[picture.pixels.dtype.name],
        "stored as": picture.mode,
        "profile": _profile(picture.icc),
        "dpi": None if picture.dpi is None else [round(dots, 2) for dots in picture.dpi],
        "exif": exif or None,
        "xmp": f"{len(picture.xmp)} bytes" if picture.xmp else None,
        "text": {key: value for key, value in picture.text.items() if key != "superfine"} or None,
    }
    note = read_note(picture)
    if note is not None:
        told["note"] = {key: value for key, value in vars(note).items() if value}
    return {key: value for key, value in told.items() if value is not None}


def _profile(icc: bytes | None) -> str | None:
    if icc is None:
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.profile_description or "without a name"
    except OSError:
        return f"damaged ({len(icc)} bytes)"


def _exif(picture: Picture) -> dict[str, str]:
    if picture.exif is None:
        return {}
    exif = Image.Exif()
    try:
        exif.load(EXIF_PREFIX + picture.exif)
        entries = {**exif, **exif.get_ifd(EXIF_DIRECTORY)}
    except Exception:  # a damaged block says nothing; Pillow raises half a dozen types here
        return {}
    named = {ExifTags.TAGS.get(tag, ""): value for tag, value in entries.items()}
    return {key: " ".join(str(named[key]).split()) for key in _TOLD if named.get(key)}
