"""EXIF mended in place: orientation, dimensions, thumbnail; maker notes untouched."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from superfine.images import Picture, read, write
from superfine.images.metadata import current_xmp, update_exif

MAKER_NOTE = b"NOTE" + bytes(range(60))
THUMBNAIL = b"\xff\xd8" + b"secret old picture" * 3 + b"\xff\xd9"


def block(order: str = "<", kind: int = 3, thumbnail: bool = True, trailing: bytes = b"") -> bytes:
    """An EXIF block by hand: orientation 6, 4000 x 3000, a maker note with an offset into the block, a thumbnail."""

    def entry(tag: int, type: int, count: int, value: int) -> bytes:
        packed = struct.pack(order + "HH", value, 0) if type == 3 else struct.pack(order + "I", value)
        return struct.pack(order + "HHI", tag, type, count) + packed

    first = 8
    exif = first + 2 + 12 * 4 + 4
    second = exif + 2 + 12 * 3 + 4
    note = second + (2 + 12 * 2 + 4 if thumbnail else 0)
    picture = note + len(MAKER_NOTE)
    out = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, first)
    out += struct.pack(order + "H", 4) + entry(0x0100, kind, 1, 4000) + entry(0x0101, kind, 1, 3000)
    out += entry(0x0112, 3, 1, 6) + entry(0x8769, 4, 1, exif) + struct.pack(order + "I", second if thumbnail else 0)
    out += struct.pack(order + "H", 3) + entry(0x927C, 7, len(MAKER_NOTE), note)
    out += entry(0xA002, kind, 1, 4000) + entry(0xA003, kind, 1, 3000) + bytes(4)
    if thumbnail:
        out += (
            struct.pack(order + "H", 2) + entry(0x0201, 4, 1, picture) + entry(0x0202, 4, 1, len(THUMBNAIL)) + bytes(4)
        )
    return out + MAKER_NOTE + (THUMBNAIL if thumbnail else b"") + trailing


def parsed(data: bytes) -> tuple[Image.Exif, dict[int, object]]:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + data)
    return exif, exif.get_ifd(0x8769)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize(("width", "height"), [(8000, 6000), (70_000, 3), (1, 1)])
def test_orientation_and_dimensions_become_true(order: str, kind: int, width: int, height: int) -> None:
    """Also where a 16-bit entry is too small for the new width: it is widened in place."""
    exif, inner = parsed(update_exif(block(order, kind), width, height))
    assert exif[0x0112] == 1
    assert (exif[0x0100], exif[0x0101]) == (width, height)
    assert (inner[0xA002], inner[0xA003]) == (width, height)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("trailing", [b"", b"more after it"])
def test_the_thumbnail_is_unlinked_and_its_bytes_are_gone(order: str, trailing: bytes) -> None:
    mended = update_exif(block(order, trailing=trailing), 10, 10)
    assert b"secret" not in mended and mended.endswith(trailing)
    assert parsed(mended)[0].get_ifd(1) == {}


def test_maker_notes_keep_their_place_and_bytes() -> None:
    data = block()
    at = data.index(MAKER_NOTE)
    assert update_exif(data, 10, 10)[at : at + len(MAKER_NOTE)] == MAKER_NOTE


def test_mending_twice_changes_nothing_more() -> None:
    once = update_exif(block(), 10, 20)
    assert update_exif(once, 10, 20) == once


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=8), st.integers(0, 400))
def test_damaged_blocks_are_mended_or_left_but_never_raise(at: int, junk: bytes, cut: int) -> None:
    data = bytearray(block())
    data[at : at + len(junk)] = junk
    update_exif(bytes(data), 100, 100)
    update_exif(bytes(data[:cut]), 100, 100)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_a_written_file_has_true_exif_and_no_old_thumbnail(tmp_path: Path, suffix: str) -> None:
    write(Picture(np.zeros((6, 9, 3), np.uint8), exif=block()), tmp_path / f"a{suffix}")
    assert b"secret" not in (tmp_path / f"a{suffix}").read_bytes()
    with Image.open(tmp_path / f"a{suffix}") as image:
        image.load()
        inner = image.getexif().get_ifd(0x8769)
        assert image.getexif().get(0x0112, 1) == 1
    assert (inner[0xA002], inner[0xA003]) == (9, 6)
    assert inner[0x927C] == MAKER_NOTE
    assert read(tmp_path / f"a{suffix}").width == 9, "it is not turned again"


def test_xmp_loses_its_own_copy_of_the_orientation() -> None:
    assert current_xmp(b'<a tiff:Orientation="6" b="6"/>') == b'<a tiff:Orientation="1" b="6"/>'
    assert current_xmp(b"<tiff:Orientation>8</tiff:Orientation>") == b"<tiff:Orientation>1</tiff:Orientation>"


def test_exif_too_large_for_a_jpeg_is_left_out_there_only(tmp_path: Path) -> None:
    large = block(thumbnail=False) + bytes(70_000)
    for suffix, kept in ((".jpg", False), (".png", True), (".webp", True)):
        write(Picture(np.zeros((6, 9, 3), np.uint8), exif=large), tmp_path / f"a{suffix}")
        assert (read(tmp_path / f"a{suffix}").exif is not None) == kept


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize(("unit", "now"), [(2, 600.0), (3, 600 / 2.54)])
def test_the_resolution_becomes_true(endian: str, unit: int, now: float) -> None:
    exif = Image.Exif()
    exif.endian = endian
    exif[0x011A], exif[0x011B], exif[0x0128], exif[0x010F] = 72.0, 72.0, unit, "Maker"
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    mended, _ = parsed(update_exif(data, 10, 10, (600.0, 600.0)))
    assert abs(mended[0x011A] - now) < 0.002 and abs(mended[0x011B] - now) < 0.002
    assert (mended[0x0128], mended[0x010F]) == (unit, "Maker")
    assert update_exif(data, 10, 10) == update_exif(data, 10, 10, (72.0, 72.0) if unit == 2 else (72 * 2.54, 72 * 2.54))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_a_scaled_resolution_is_the_same_wherever_a_file_says_it(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    pixels = np.zeros((8, 8, 3), np.uint8)
    write(Picture(pixels, exif=block, dpi=(600.0, 600.0)), tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as image:
        said = image.getexif()
        assert abs(said[0x011A] - 600) < 0.01
        if "dpi" in image.info:
            assert abs(image.info["dpi"][0] - 600) < 0.01


def test_xmp_loses_motion_photo_and_gain_map_and_keeps_the_rest() -> None:
    xmp = (
        b'<rdf:Description xmlns:GCamera="g" xmp:Rating="5" hdrgm:Version="1.0" GCamera:MotionPhoto="1"'
        b" GCamera:MicroVideoOffset='9' GCamera:BurstID=\"7\"><Container:Directory><rdf:Seq><rdf:li>"
        b'<Container:Item Item:Length="9"/></rdf:li></rdf:Seq></Container:Directory>'
        b"<HDRGainMap:HDRGainMapVersion>65536</HDRGainMap:HDRGainMapVersion><dc:title>T</dc:title></rdf:Description>"
    )
    assert current_xmp(xmp) == (
        b'<rdf:Description xmlns:GCamera="g" xmp:Rating="5" GCamera:BurstID="7">'
        b"<dc:title>T</dc:title></rdf:Description>"
    )
