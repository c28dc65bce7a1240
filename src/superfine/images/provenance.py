"""Embed a note that says how a picture was made (in XMP and PNG text), and describe a file with its note."""

import io
import json
import os
import re
from dataclasses import asdict, dataclass, fields, replace
from html import escape, unescape  # xml.sax would bring all of urllib into every start
from pathlib import Path
from typing import Any, Final

from PIL import ExifTags, Image, ImageCms

from superfine.images import files
from superfine.images.metadata import EXIF_DIRECTORY, EXIF_PREFIX
from superfine.images.picture import Picture

_NAMESPACE: Final = "urn:superfine:note#"
_PREFIX: Final = "superfine"
_TEXT_KEY: Final = "superfine"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OURS: Final = re.compile(rb"<rdf:Description[^>]*urn:superfine:note#[^>]*/>\s*")
_END: Final = re.compile(rb"</rdf:RDF\s*>")


@dataclass(frozen=True)
class Note:
    """A record of software, model and scale that made a picture."""

    software: str
    """Name and version."""
    model: str
    scale: str
    """Result over source, "4" or, where the sides differ, "2.5x2.51"."""
    weights: str = ""
    """SHA-256 of the weights file in hexadecimal; empty for an engine without weights."""
    reason: str = ""
    """Why superfine chose the model; empty where the user did."""


def embed(picture: Picture, note: Note) -> Picture:
    """Add the note to the picture's XMP and text; an older note is replaced, all other XMP is kept."""
    values = {key: value for key, value in asdict(note).items() if value}
    attributes = " ".join(f'{_PREFIX}:{key}="{_attribute(value)}"' for key, value in values.items())
    ours = f'<rdf:Description rdf:about="" xmlns:{_PREFIX}="{_NAMESPACE}" {attributes}/>'.encode()
    kept = _OURS.sub(b"", picture.xmp or b"")
    ends = list(_END.finditer(kept))
    if ends:
        at = ends[-1].start()
        xmp = kept[:at] + ours + kept[at:]
    else:
        xmp = (
            b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            b'<rdf:RDF xmlns:rdf="' + _RDF.encode() + b'">' + ours + b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        )
    return replace(picture, xmp=xmp, text={**picture.text, _TEXT_KEY: json.dumps(values)})


def read_note(picture: Picture) -> Note | None:
    """Return the note a picture carries; None if there is none or it is incomplete."""
    found = _OURS.search(picture.xmp or b"")
    if found:
        pattern = rf"{_PREFIX}:(\w+)=(?:\"([^\"]*)\"|'([^']*)')"
        values = {
            match[1]: unescape(match[2] or match[3] or "")
            for match in re.finditer(pattern, found[0].decode("utf-8", "replace"))
        }
    else:
        try:
            values = json.loads(picture.text.get(_TEXT_KEY, "null"))
        except ValueError:
            return None
    if not isinstance(values, dict):
        return None
    known = {field.name: str(values[field.name]) for field in fields(Note) if field.name in values}
    return Note(**known) if {"software", "model", "scale"} <= set(known) else None


def _attribute(value: str) -> str:
    """Escape a value for an XML attribute, where bare line ends and tabs would be read as spaces."""
    value = escape(value)
    for character in "\n\r\t":
        value = value.replace(character, f"&#{ord(character)};")
    return value


_DEPTHS: Final = {"uint8": "8 bits", "uint16": "16 bits", "float32": "float"}
_EXIF_SHOWN: Final = ("Make", "Model", "DateTimeOriginal", "DateTime", "Artist", "Copyright", "Software")


def describe(path: str | os.PathLike[str], *, max_pixels: int = files.DEFAULT_MAX_PIXELS) -> dict[str, Any]:
    """Describe a file's format, size, colour, metadata and note, ready for JSON; what it lacks is left out.

    Raises ImageError where `files.read` would.
    """
    name, source = files.source_of(path)
    with files.image_errors(name, max_pixels):
        opened = files.open_picture(source, name, max_pixels)
        if isinstance(opened, Picture):
            picture, format, frames = opened, files.format_of(source), 1
        else:
            with opened as image:
                format, frames = str(image.format), int(getattr(image, "n_frames", 1))
                picture = files.load(image, source, name, max_pixels)
    exif = _exif(picture)
    facts = {
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
        facts["note"] = {key: value for key, value in vars(note).items() if value}
    return {key: value for key, value in facts.items() if value is not None}


def _profile(icc: bytes | None) -> str | None:
    """Return the profile's name."""
    if icc is None:
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.profile_description or "without a name"
    except OSError:
        return f"damaged ({len(icc)} bytes)"


def _exif(picture: Picture) -> dict[str, str]:
    """Return the tags of _EXIF_SHOWN by name."""
    if picture.exif is None:
        return {}
    exif = Image.Exif()
    try:
        exif.load(EXIF_PREFIX + picture.exif)
        entries = {**exif, **exif.get_ifd(EXIF_DIRECTORY)}
    except Exception:  # a damaged block says nothing; Pillow raises half a dozen types here
        return {}
    named = {ExifTags.TAGS.get(tag, ""): value for tag, value in entries.items()}
    return {key: " ".join(str(named[key]).split()) for key in _EXIF_SHOWN if named.get(key)}
