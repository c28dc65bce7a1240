"""docs/fidelity.md, cell by cell: each table is measured on real files and must say what was found."""

import io
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fidelity_files as source
from superfine.engines.nearest import NearestEngine
from superfine.images import Picture, read, write
from superfine.images.convert import flatten
from superfine.images.depth import as_float32, as_type
from superfine.images.formats.frames import Frames, read_frames, write_frames
from superfine.images.provenance import Note, embed, read_note
from superfine.upscaling import Upscaler

PAGE = Path(__file__).resolve().parents[1] / "docs" / "fidelity.md"
PROFILE = Path(__file__).parent / "golden" / "profiles" / "compatibleWithAdobeRGB1998.icc"
DEPTH = {"uint8": "8", "uint16": "16", "float32": "float"}
NOTHING = "·"


@cache
def tables() -> dict[str, dict[tuple[str, str], str]]:
    """Heading → (row, column) → cell, of every table of the page."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    heading, columns = "", []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading, columns = line.lstrip("#").strip(), []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not columns:
                columns = cells
            elif not re.fullmatch(r"[-: ]+", cells[0]):
                for column, cell in zip(columns[1:], cells[1:], strict=True):
                    found.setdefault(heading, {})[cells[0], column] = cell
    return found


def cells(heading: str) -> list[tuple[str, str]]:
    return list(tables()[heading])


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    return bool(np.abs(as_float32(found) - as_float32(wanted)).mean() < tolerance)


# Reading ----------------------------------------------------------------------------------------


def read_cell(format: str, mode: str) -> str:
    """Say what reading a file of this kind gives: "RGB+alpha 16", "close" behind it where the format is lossy."""
    data = source.make(format, mode)
    if data is None:
        return NOTHING
    picture = read(io.BytesIO(data))
    pixels, alpha = source.expected(mode, format)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    exact = picture.pixels.dtype == pixels.dtype and np.array_equal(
        picture.pixels, np.broadcast_to(pixels, picture.pixels.shape)
    )
    assert exact or close(picture.pixels, np.broadcast_to(pixels, picture.pixels.shape), 0.01)
    if alpha is not None:
        assert picture.alpha is not None and picture.alpha.dtype == picture.pixels.dtype
        assert close(picture.alpha, alpha, 0.002)
    shape = ("gray" if picture.is_gray else "RGB") + ("+alpha" if picture.alpha is not None else "")
    return f"{shape} {DEPTH[picture.pixels.dtype.name]}" + ("" if exact else " close")


@pytest.mark.parametrize(("format", "mode"), cells("Reading"))
def test_reading_is_as_the_page_says(format: str, mode: str) -> None:
    assert read_cell(format, mode) == tables()["Reading"][format, mode]


def test_the_page_leaves_no_format_or_mode_out() -> None:
    assert set(cells("Reading")) == {(format, mode) for format in source.SUFFIX for mode in source.MODES}
    assert {row for row, _ in cells("Writing")} == set(source.SUFFIX)
    assert {row for row, _ in cells("Beside the pixels")} == set(source.SUFFIX)


# Writing ----------------------------------------------------------------------------------------

KINDS = {
    f"{'RGB' if colour else 'gray'}{'+alpha' if alpha else ''} {DEPTH[np.dtype(dtype).name]}": (dtype, colour, alpha)
    for dtype in (np.uint8, np.uint16, np.float32) for colour in (False, True) for alpha in (False, True)
}  # fmt: skip


def picture_of(kind: str, **beside: object) -> Picture:
    dtype, colour, alpha = KINDS[kind]
    pixels = source.rgb(dtype) if colour else source.gray(dtype)[:, :, None]
    return Picture(pixels, source.mask(dtype) if alpha else None, **beside)


def write_cell(format: str, kind: str) -> str:
    """Say what becomes of a picture in a file: "exact" or "close", then whatever was converted."""
    if format in ("HEIC", "JPEG XL"):
        pytest.importorskip("imagecodecs")
        pytest.importorskip("pillow_heif")
    if format == "TIFF":
        pytest.importorskip("tifffile")
    picture, file = picture_of(kind), io.BytesIO()
    write(picture, file, format=source.SUFFIX[format])
    file.seek(0)
    back = read(file)
    notes = []
    wanted = picture
    if picture.alpha is not None and back.alpha is None:
        wanted = flatten(picture, (255, 255, 255))
        notes.append("over white")
    assert (back.alpha is None) == (wanted.alpha is None)
    pixels = np.broadcast_to(wanted.pixels, back.pixels.shape)
    if back.pixels.shape[2] != wanted.pixels.shape[2]:
        off = np.abs(back.pixels.astype(int) - back.pixels[:, :, :1]).max()
        assert off <= 1, "gray stays neutral"
        notes.append("RGB" if off == 0 else "RGB within a level of neutral")
    if format == "HEIC" and back.pixels.dtype == np.uint16:
        assert len(np.unique(back.pixels)) <= 1024
        notes.append("10 bits")
    elif back.pixels.dtype != picture.pixels.dtype:
        notes.append(f"{DEPTH[back.pixels.dtype.name]} bits")
    if format == "GIF":
        colours = len(np.unique(back.pixels.reshape(-1, back.pixels.shape[2]), axis=0))
        assert colours <= 256
        if wanted.alpha is not None:
            assert back.alpha is not None
            np.testing.assert_array_equal(back.alpha, np.where(as_type(wanted.alpha, np.uint8) < 128, 0, 255))
            notes.append("alpha 0 or 1")
            visible = back.alpha > 0
            assert close(back.pixels[visible], pixels[visible], 0.05)
            return ", ".join(["256 colours", *notes])
        if not picture.is_gray:
            assert close(back.pixels, pixels, 0.05)
            return ", ".join(["256 colours", *notes])
    exact = np.array_equal(back.pixels, as_type(pixels, back.pixels.dtype))
    assert exact or close(back.pixels, pixels, 0.012)
    if wanted.alpha is not None:
        assert back.alpha is not None and close(back.alpha, wanted.alpha, 0.003)
    return ", ".join(["exact" if exact else "close", *notes])


@pytest.mark.parametrize(("format", "kind"), cells("Writing"))
def test_writing_is_as_the_page_says(format: str, kind: str) -> None:
    assert write_cell(format, kind) == tables()["Writing"][format, kind]


@pytest.mark.parametrize("suffix", [".webp", ".jxl"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("float")])
def test_quality_100_is_exact_where_the_page_says_lossless(suffix: str, kind: str) -> None:
    if suffix == ".jxl":
        pytest.importorskip("imagecodecs")
        pytest.importorskip("pillow_jxl")
    picture, file = picture_of(kind), io.BytesIO()
    write(picture, file, format=suffix, quality=100)
    file.seek(0)
    back = read(file)
    wanted = as_type(np.broadcast_to(picture.pixels, back.pixels.shape), back.pixels.dtype)
    # JPEG XL of 16 bits goes through linear light in floating point and may be off by the last of them.
    np.testing.assert_allclose(back.pixels.astype(int), wanted.astype(int), atol=1 if back.pixels.itemsize == 2 else 0)


# Beside the pixels ------------------------------------------------------------------------------


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 1
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def beside_cell(format: str, what: str) -> str:
    if format in ("HEIC", "JPEG XL"):
        pytest.importorskip("imagecodecs")
        pytest.importorskip("pillow_heif")
    suffix = source.SUFFIX[format]
    icc = PROFILE.read_bytes()
    picture = picture_of(
        "RGB 8", icc=icc if what == "profile" else None, exif=exif_block(), dpi=(300.0, 200.0),
        xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", text={"Title": "a title", "Comment": "a comment"},
    )  # fmt: skip
    if what == "frames":
        file = io.BytesIO()
        pictures = [picture_of("RGB 8"), Picture(source.rgb(np.uint8)[::-1])]
        write_frames(Frames(pictures, [] if format == "TIFF" else [70, 130], 0), file, format=suffix)
        file.seek(0)
        back = read_frames(file)
        if len(back.pictures) == 1:
            return "first"
        if back.durations:
            assert back.durations == [70, 130]
        return "all" if back.durations else "pages"
    if what == "note":
        picture = embed(picture, Note("superfine", "esrgcnn", "4"))
    file = io.BytesIO()
    write(picture, file, format=suffix)
    file.seek(0)
    back = read(file)
    if what == "note":
        return "yes" if read_note(back) is not None else NOTHING
    if what == "profile":
        if back.icc == icc:
            return "kept"
        assert back.icc is None
        # Adobe RGB's green is far outside sRGB's: converted pixels differ, others would not.
        assert not close(back.pixels, picture.pixels, 0.02)
        return "to sRGB"
    if what == "EXIF":
        if back.exif is None:
            return NOTHING
        exif = Image.Exif()
        exif.load(b"Exif\0\0" + back.exif)
        assert exif[0x010F] == "Maker" and exif.get_ifd(0x8825)[1] == "N"
        assert exif.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        return "kept"
    if what == "XMP":
        return "kept" if back.xmp == picture.xmp else NOTHING
    if what == "DPI":
        return "kept" if back.dpi == pytest.approx((300, 200), abs=0.02) else NOTHING
    kept = [key for key in ("Title", "Comment") if back.text.get(key) == picture.text[key]]
    return {0: NOTHING, 1: "comment", 2: "kept"}[len(kept)]


@pytest.mark.parametrize(("format", "what"), cells("Beside the pixels"))
def test_what_stands_beside_the_pixels_is_as_the_page_says(format: str, what: str) -> None:
    assert beside_cell(format, what) == tables()["Beside the pixels"][format, what]


# TIFF -------------------------------------------------------------------------------------------

VARIANTS = {
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 16)},
    "LZW": {"compression": "lzw"},
    "LZW, differences": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib"},
    "deflate, differences": {"compression": "zlib", "predictor": True},
    "deflated tiles": {"compression": "zlib", "tile": (16, 16)},
    "separate planes": {"planarconfig": "separate"},
    "deflated planes": {"planarconfig": "separate", "compression": "zlib"},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
}
VALUES = {
    "gray 8": lambda: source.gray(np.uint8), "RGB 8": lambda: source.rgb(np.uint8),
    "gray 16": lambda: source.gray(np.uint16), "RGB 16": lambda: source.rgb(np.uint16),
    "gray float": lambda: source.gray(np.float32), "RGB float": lambda: source.rgb(np.float32),
}  # fmt: skip


@pytest.mark.parametrize(("variant", "values"), cells("TIFF inside"))
def test_every_kind_of_tiff_is_read_as_the_page_says(variant: str, values: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    pixels, settings = VALUES[values](), VARIANTS[variant]
    if "planarconfig" in settings and pixels.ndim == 2:
        assert tables()["TIFF inside"][variant, values] == NOTHING
        return
    stored = np.moveaxis(pixels, 2, 0) if "planarconfig" in settings else pixels
    file = io.BytesIO()
    tifffile.imwrite(file, stored, photometric="rgb" if pixels.ndim == 3 else "minisblack", **settings)
    file.seek(0)
    picture = read(file)
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, pixels.reshape(*pixels.shape[:2], -1))
    assert tables()["TIFF inside"][variant, values] == "exact"


# Through the network ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
@pytest.mark.parametrize("kind", ["gray 16", "RGB 16"])
def test_16_bits_go_through_without_a_trip_over_8(tmp_path: Path, suffix: str, kind: str) -> None:
    """File to file: with repeated pixels every bit is there; the real network gives far more than 256 levels."""
    picture = picture_of(kind)
    write(picture, tmp_path / f"a{suffix}")
    larger = Upscaler(engine=NearestEngine(2))(read(tmp_path / f"a{suffix}"), 2)
    write(larger, tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"b{suffix}").pixels, picture.pixels.repeat(2, 0).repeat(2, 1))
    smooth = Upscaler("esrgcnn", precision="fp32")(picture, 2).pixels
    assert smooth.dtype == np.uint16
    assert len(np.unique(smooth)) > 2000 and (smooth % 257 != 0).mean() > 0.9
