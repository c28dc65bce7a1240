"""A note inside the picture that says what made it: in XMP, which every common format holds, and in PNG's text."""

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from html import escape, unescape  # xml.sax would bring all of urllib into every start
from typing import Final

from superfine.images.picture import Picture

_NAMESPACE: Final = "urn:superfine:note#"
_PREFIX: Final = "superfine"
_TEXT_KEY: Final = "superfine"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OURS: Final = re.compile(rb"<rdf:Description[^>]*urn:superfine:note#[^>]*/>\s*")
_END: Final = re.compile(rb"</rdf:RDF\s*>")


@dataclass(frozen=True)
class Note:
    """Who upscaled a picture, and how."""

    software: str
    """Name and version."""
    model: str
    scale: str
    """Result over source, "4" or, where the sides differ, "2.5x2.51"."""
    weights: str = ""
    """SHA-256 of the weights file in hexadecimal; empty for an engine without weights."""


def embed(picture: Picture, note: Note) -> Picture:
    """The picture with the note in its XMP (an older note is replaced, all other XMP kept) and its text."""
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
    """The note a picture carries; None where there is none, or one that is not whole."""
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
    """A value as it stands in an XML attribute, where bare line ends and tabs would be read as blanks."""
    value = escape(value)
    for character in "\n\r\t":
        value = value.replace(character, f"&#{ord(character)};")
    return value
