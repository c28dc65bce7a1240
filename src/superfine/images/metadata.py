"""Read EXIF and XMP, and update what is no longer true of a larger picture."""

import re
import struct
from typing import Final

from PIL import Image

ORIENTATION: Final = 0x0112
EXIF_DIRECTORY: Final = 0x8769
GPS_DIRECTORY: Final = 0x8825
EXIF_PREFIX: Final = b"Exif\x00\x00"

# Tags of a TIFF's first directory that describe the picture; the others describe how its bytes lie in the file.
DESCRIPTIVE_TAGS: Final = (
    0x010E,  # ImageDescription
    0x010F,  # Make
    0x0110,  # Model
    0x0131,  # Software
    0x0132,  # DateTime
    0x013B,  # Artist
    0x013C,  # HostComputer
    0x4746,  # Rating
    0x8298,  # Copyright
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    *range(0x9C9B, 0x9CA0),  # XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject
)

_WIDTH_TAGS = (0x0100, 0xA002)
_HEIGHT_TAGS = (0x0101, 0xA003)
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_UNIT_TAG: Final = 0x0128
_RESOLUTION_TAGS: Final = (0x011A, 0x011B)
_SHORT, _LONG, _RATIONAL = 3, 4, 5


def exif_of(image: Image.Image) -> bytes | None:
    """Return the EXIF block of an opened image from its byte order mark (`II` or `MM`) on; None if there is none."""
    raw = image.info.get("exif")
    if isinstance(raw, bytes):
        raw = raw.removeprefix(EXIF_PREFIX)
        return raw if raw[:4] in (b"II*\x00", b"MM\x00*") else None
    try:
        return descriptive_exif(image.getexif())
    except Exception:  # a damaged EXIF block must not cost the picture; Pillow raises half a dozen types here
        return None


def descriptive_exif(found: Image.Exif) -> bytes | None:
    """Copy the DESCRIPTIVE_TAGS (with EXIF and GPS directories) into an EXIF block; None if there are none."""
    kept = Image.Exif()
    kept.endian = found.endian or "<"
    for tag in DESCRIPTIVE_TAGS:
        if tag in found:
            kept[tag] = found.get_ifd(tag) if tag in (EXIF_DIRECTORY, GPS_DIRECTORY) else found[tag]
    return kept.tobytes().removeprefix(EXIF_PREFIX) if len(kept) else None


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8; 1 (upright) if it is missing or cannot be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # as above
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_LOST_PROPERTY: Final = (
    rb"(?:hdrgm|HDRGainMap|apdi|Container|GContainer|GCamera:(?:MotionPhoto|MicroVideo)|xmpNote:HasExt)"
)
_LOST_ATTRIBUTE: Final = re.compile(rb"\s" + _LOST_PROPERTY + rb"[\w:]*\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_LOST_ELEMENT: Final = re.compile(rb"<(" + _LOST_PROPERTY + rb"[\w:]*)(?:\s[^<>]*)?(?:/>|>.*?</\1\s*>)", re.DOTALL)


def announced(xmp: bytes) -> tuple[str, ...]:
    """Name what XMP says lies in the file beside the still picture, which alone is read."""
    kinds = {
        "gain map": rb"hdrgm:Version|HDRGainMap:|apdi:AuxiliaryImageType",
        "video of a motion photo": rb"GCamera:(?:MotionPhoto|MicroVideo)\b|Item:Semantic=[\"']MotionPhoto",
        "depth map": rb"GDepth:|Device:Profiles|Item:Semantic=[\"']Depth",
    }
    return tuple(kind for kind, pattern in kinds.items() if re.search(pattern, xmp))


def current_xmp(xmp: bytes) -> bytes:
    """Remove from XMP what is not true of upright pixels alone: the orientation, motion photos and gain maps.

    Only the still picture is read, so properties that announce a video or a gain map in the file (Google's, Adobe's,
    Apple's) would be wrong.
    """
    xmp = _LOST_ELEMENT.sub(b"", xmp)
    xmp = _LOST_ATTRIBUTE.sub(b"", xmp)
    xmp = re.sub(rb'(tiff:Orientation=["\'])[0-9]', rb"\g<1>1", xmp)
    return re.sub(rb"(<tiff:Orientation>)[0-9]", rb"\g<1>1", xmp)


def update_exif(exif: bytes, width: int, height: int, dpi: tuple[float, float] | None = None) -> bytes:
    """Update an EXIF block for upright pixels of a new size and resolution (None keeps the resolution).

    The block is patched in place, because maker notes hold offsets from its start. Orientation becomes 1; pixel
    dimensions and resolution are set where they are present; the thumbnail, which shows the old picture, is
    unlinked and its bytes are cleared. A block too damaged to parse is returned as it is.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return exif
    block = bytearray(exif)
    try:
        first = struct.unpack_from(order + "I", block, 4)[0]
        entries, link = _directory(block, order, first)
        directories = [entries]
        if EXIF_DIRECTORY in entries:
            start = _value(block, order, entries[EXIF_DIRECTORY])
            directories.append(_directory(block, order, start)[0])
        if dpi is not None and min(dpi) > 0:
            _set_resolution(block, order, entries, dpi)
        for tags in directories:
            for tag, at in tags.items():
                if tag == ORIENTATION:
                    _set(block, order, at, 1)
                elif tag in _WIDTH_TAGS:
                    _set(block, order, at, width)
                elif tag in _HEIGHT_TAGS:
                    _set(block, order, at, height)
        _drop_thumbnail(block, order, link)
    except (struct.error, IndexError):
        return exif
    return bytes(block)


def _directory(block: bytearray, order: str, start: int) -> tuple[dict[int, int], int]:
    """Return a directory's entries (tag → offset of its 12 bytes) and the offset of the link to the next one."""
    count = struct.unpack_from(order + "H", block, start)[0]
    entries = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        entries[struct.unpack_from(order + "H", block, at)[0]] = at
    return entries, start + 2 + 12 * count


def _value(block: bytearray, order: str, at: int) -> int:
    """Read the single SHORT or LONG of an entry."""
    kind = struct.unpack_from(order + "H", block, at + 2)[0]
    return int(struct.unpack_from(order + ("H" if kind == _SHORT else "I"), block, at + 8)[0])


def _set(block: bytearray, order: str, at: int, value: int) -> None:
    """Store a whole number in an entry; a SHORT that is too small for it becomes a LONG of the same four bytes."""
    kind, count = struct.unpack_from(order + "HI", block, at + 2)
    if count != 1 or kind not in (_SHORT, _LONG):
        return
    if kind == _SHORT and value > 0xFFFF:
        struct.pack_into(order + "H", block, at + 2, _LONG)
        kind = _LONG
    struct.pack_into(
        order + ("HH" if kind == _SHORT else "I"), block, at + 8, *((value, 0) if kind == _SHORT else (value,))
    )


def _set_resolution(block: bytearray, order: str, tags: dict[int, int], dpi: tuple[float, float]) -> None:
    """Set the resolution in the block's own unit (inch or centimetre), in thousandths."""
    centimetres = _UNIT_TAG in tags and _value(block, order, tags[_UNIT_TAG]) == 3
    for tag, dots in zip(_RESOLUTION_TAGS, dpi, strict=True):
        if tag not in tags:
            continue
        kind, count, start = struct.unpack_from(order + "HII", block, tags[tag] + 2)
        if (kind, count) != (_RATIONAL, 1) or not 8 <= start <= len(block) - 8:
            continue
        above, below = struct.unpack_from(order + "II", block, start)
        now = dots / 2.54 if centimetres else dots
        if below == 0 or abs(above / below - now) > 0.01:  # a value that is right already is not touched
            struct.pack_into(order + "II", block, start, round(now * 1000), 1000)


def _drop_thumbnail(block: bytearray, order: str, link: int) -> None:
    """Unlink the thumbnail's directory and clear its bytes."""
    second = struct.unpack_from(order + "I", block, link)[0]
    if second == 0:
        return
    struct.pack_into(order + "I", block, link, 0)
    tags, _ = _directory(block, order, second)
    if _THUMBNAIL_OFFSET not in tags or _THUMBNAIL_LENGTH not in tags:
        return
    start = _value(block, order, tags[_THUMBNAIL_OFFSET])
    end = start + _value(block, order, tags[_THUMBNAIL_LENGTH])
    if not 8 <= start <= end:
        return
    if end >= len(block):
        del block[start:]
    else:
        block[start:end] = bytes(end - start)
