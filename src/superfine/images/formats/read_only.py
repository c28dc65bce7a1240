"""Tell formats that can only be read from those that are refused with the name of a program that converts them."""

from typing import Final

from superfine.errors import ImageError

SUFFIXES: Final = (
    ".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".psd", ".psb", ".exr", ".hdr", ".qoi", ".ico", ".dds", ".tga", ".jpe",
    ".jfif",
)  # fmt: skip
"""Suffixes, lower case, with their dot, that are looked for in folders beside those that can be written."""

_RAW: Final = "is a camera's raw file: develop it to a 16-bit TIFF with darktable or RawTherapee first"
_PAGES: Final = "holds pages, not a picture: take its pictures out with pdfimages -all, or draw its pages with pdftoppm"


def kind_of(start: bytes) -> str | None:
    """Name the format of a file by its first bytes: "OpenEXR", "Radiance", "PSD" or None."""
    if start[:4] == b"\x76\x2f\x31\x01":
        return "OpenEXR"
    if start.startswith((b"#?RADIANCE", b"#?RGBE")):
        return "Radiance"
    return "PSD" if start[:4] == b"8BPS" else None


def refuse_foreign(start: bytes) -> None:
    """Raise ImageError for what is no picture of pixels, or needs another program first; it says which."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"%PDF", b"%!PS", b"\xc5\xd0\xd3\xc6")):
        raise ImageError(_PAGES)
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!DOCTYPE")) and b"<svg" in text):
        raise ImageError("is a drawing (SVG), sharp at every size: draw it as large as you want with resvg or Inkscape")
    raw = start[:4] in (b"II*\0", b"MM\0*") and start[8:10] == b"CR"
    if raw or start.startswith((b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")) or start[4:12] == b"ftypcrx ":
        raise ImageError(_RAW)


def refuse_raw(tags: dict[int, object]) -> None:
    """Raise ImageError for a TIFF whose first picture is only the preview of a camera's raw data (DNG, NEF, ARW)."""
    kind, photometric = tags.get(254, 0), tags.get(262)
    if photometric in (32803, 34892) or (isinstance(kind, int) and kind & 1 and (330 in tags or 50706 in tags)):
        raise ImageError(_RAW)
