"""Put EXIF, XMP and an ICC profile into an AVIF stream whose encoder takes none (ISO/IEC 14496-12, 8.11; 23008-12)."""

import struct
from collections.abc import Iterator
from typing import Final

_FULL: Final = 12
"""Bytes before the content of a box with version and flags."""
_XMP_TYPE: Final = b"application/rdf+xml\0"


def box(kind: bytes, content: bytes) -> bytes:
    """Make a box of an ISO media file."""
    if len(content) + 8 < 1 << 32:
        return struct.pack(">I4s", len(content) + 8, kind) + content
    return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content


def boxes_in(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and whole bytes of the boxes that lie one behind the other in `data`."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        size = len(data) - at if size == 0 else size
        if size < 8:
            raise ValueError("a box of less than 8 bytes")
        yield kind, data[at : at + size]
        at += size


def with_items(data: bytes, exif: bytes | None, xmp: bytes | None, icc: bytes | None) -> bytes:
    """Return an AVIF file as libavif writes it (version 0 of its boxes) with metadata of its main picture added.

    exif: block from its byte order mark on. Raises ValueError for a file of another build.
    """
    added = [] if exif is None else [(b"Exif", b"", bytes(4) + exif)]
    added += [] if xmp is None else [(b"mime", _XMP_TYPE, xmp)]
    top = dict(boxes_in(data))
    parts = dict(boxes_in(top[b"meta"][_FULL:]))
    if parts[b"iloc"][8:14] != b"\0\0\0\0\x44\0" or parts[b"iinf"][8]:
        raise ValueError("an AVIF container of an unknown build")
    first = 1 + max(struct.unpack_from(">H", entry, _FULL)[0] for _, entry in boxes_in(parts[b"iinf"][_FULL + 2 :]))
    entries = [(first + number, *item) for number, item in enumerate(added)]
    (main,) = struct.unpack_from(">H", parts[b"pitm"], _FULL)
    if icc is not None:
        parts[b"iprp"] = _with_profile(parts[b"iprp"], icc, main)
    infos = b"".join(
        box(b"infe", b"\2\0\0\0" + struct.pack(">HH", number, 0) + kind + b"\0" + more)
        for number, kind, more, _ in entries
    )
    parts[b"iinf"] = _grown(parts[b"iinf"], infos, len(entries))
    references = b"".join(box(b"cdsc", struct.pack(">HHH", number, 1, main)) for number, *_ in entries)
    if references:
        known = parts.get(b"iref", box(b"iref", bytes(4)))
        parts[b"iref"] = box(b"iref", known[8:] + references)
    # Places are counted from the start of the file: what is added before the pixels moves them.
    places = 14 * len(entries)
    grown = sum(map(len, parts.values())) + places - (len(top[b"meta"]) - _FULL)
    parts[b"iloc"] = _located(parts[b"iloc"], grown, entries, len(data) + grown + 8)
    top[b"meta"] = box(b"meta", top[b"meta"][8:_FULL] + b"".join(parts.values()))
    top[b"added"] = box(b"mdat", b"".join(content for *_, content in entries)) if entries else b""
    return b"".join(top.values())


def _grown(container: bytes, entries: bytes, count: int) -> bytes:
    """Add entries to a box that begins with a count of 16 bits."""
    (before,) = struct.unpack_from(">H", container, _FULL)
    count_now = struct.pack(">H", before + count)
    return box(container[4:8], container[8:_FULL] + count_now + container[_FULL + 2 :] + entries)


def _located(container: bytes, grown: int, entries: list[tuple[int, bytes, bytes, bytes]], start: int) -> bytes:
    """Move the places of all items by `grown` bytes and add those of new items, which lie from `start` on."""
    out = bytearray(container[8:])
    (count,) = struct.unpack_from(">H", out, 6)
    at = 8
    for _ in range(count):
        (extents,) = struct.unpack_from(">H", out, at + 4)
        at += 6
        for _ in range(extents):
            (place,) = struct.unpack_from(">I", out, at)
            struct.pack_into(">I", out, at, place + grown)
            at += 8
    struct.pack_into(">H", out, 6, count + len(entries))
    for number, _, _, content in entries:
        out += struct.pack(">HHHII", number, 0, 1, start, len(content))
        start += len(content)
    return box(b"iloc", bytes(out))


def _with_profile(container: bytes, icc: bytes, main: int) -> bytes:
    """Add an ICC profile to the properties, beside the code points, and tie it to the main picture."""
    parts = dict(boxes_in(container[8:]))
    properties = parts[b"ipco"][8:]
    number = sum(1 for _ in boxes_in(properties)) + 1
    parts[b"ipco"] = box(b"ipco", properties + box(b"colr", b"prof" + icc))
    ties = bytearray(parts[b"ipma"])
    at = _FULL + 4
    while struct.unpack_from(">H", ties, at)[0] != main:
        at += 3 + ties[at + 2]
    ties[at + 2] += 1
    ties.insert(at + 2 + ties[at + 2], number)
    parts[b"ipma"] = box(b"ipma", bytes(ties[8:]))
    return box(b"iprp", b"".join(parts.values()))
