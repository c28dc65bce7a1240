"""Rows out of a file one after the other: what reading the whole gives, of every kind that can be had so."""

from __future__ import annotations

import zlib
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from icc_files import DISPLAY_P3, gamma, rgb_profile
from superfine.errors import ImageError
from superfine.images import read, write
from superfine.images.bands import BandedImage, head_of, join_bands
from superfine.images.formats import png_rows, tiff_directory
from superfine.images.picture import Picture, array_of
from superfine.images.rows import PictureRows, open_rows

HEIGHT, WIDTH = 53, 37
PROFILE = rgb_profile(DISPLAY_P3, gamma(2.2))


@pytest.fixture(autouse=True)
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows at a time, so that a small picture has many bands."""
    monkeypatch.setattr(png_rows, "_BAND_BYTES", 500)
    monkeypatch.setattr(png_rows, "_BLOCK", 97)
    monkeypatch.setattr(tiff_directory, "BAND_BYTES", 500)


def values(channels: int, dtype: str = "uint8", seed: int = 0) -> NDArray[np.generic]:
    """Neither even nor random: a filter that goes wrong shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [np.sin(y / (3 + plane) + x * 0.3) * 0.5 + 0.5 for plane in range(channels)]
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH, channels)) * 0.1
    unit = np.clip(np.dstack(planes) * 0.85 + noise, 0.02, 1)
    return unit.astype(np.float32) if dtype == "float32" else np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def same_as_whole(path: Path, step: int = 9) -> None:
    """Windows that overlap, as tiles read them, and the head."""
    rows = open_rows(path)
    assert rows is not None, "this kind of file can be had by rows"
    whole = read(path)
    assert rows.height == whole.height
    found, wanted = rows.head, head_of(whole)
    for field in fields(Picture):
        if field.name not in ("pixels", "alpha"):
            assert getattr(found, field.name) == getattr(wanted, field.name), field.name
    assert (found.pixels.shape, found.pixels.dtype) == (wanted.pixels.shape, wanted.pixels.dtype)
    for top in range(0, whole.height, step):
        first, last = max(0, top - 4), min(whole.height, top + step + 4)
        pixels, alpha = rows.band(first, last)
        assert np.array_equal(pixels, whole.pixels[first:last])
        assert (alpha is None) == (whole.alpha is None)
        if alpha is not None and whole.alpha is not None:
            assert np.array_equal(alpha, whole.alpha[first:last])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_rows_of_our_own_files(tmp_path: Path, dtype: str, channels: int, alpha: bool, suffix: str) -> None:
    samples = values(channels + alpha, dtype)
    picture = Picture(
        samples[:, :, :channels], samples[:, :, -1] if alpha else None, PROFILE, dpi=(300.0, 300.0), xmp=b"<x/>",
        text={"Comment": "hills"} if suffix == ".png" else {},
    )  # fmt: skip
    write(picture, tmp_path / f"a{suffix}")
    same_as_whole(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("optimize", [False, True])
def test_rows_of_pillows_png(tmp_path: Path, mode: str, optimize: bool) -> None:
    channels = {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
    array = values(channels, "uint16" if mode == "I;16" else "uint8")
    image = Image.fromarray(array[:, :, 0] if channels == 1 else array)
    assert image.mode == mode
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Title", "before")
    notes.add_itxt("After", "behind the pixels", zip=True)
    exif = Image.Exif()
    exif[0x010E] = "hills"
    image.save(tmp_path / "a.png", optimize=optimize, pnginfo=notes, exif=exif)
    same_as_whole(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_one_transparent_colour_becomes_alpha_row_by_row(tmp_path: Path, mode: str) -> None:
    array = values(3 if mode == "RGB" else 1)
    image = Image.fromarray(array if mode == "RGB" else array[:, :, 0])
    image.save(tmp_path / "a.png", transparency=(0, 0, 1) if mode == "RGB" else 1)  # no pixel has that
    same_as_whole(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr"])
@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_lzw", "packbits", "jpeg"])
@pytest.mark.parametrize("strip", [400, 1 << 16])
def test_rows_of_pillows_tiff(tmp_path: Path, mode: str, compression: str | None, strip: int) -> None:
    if compression == "jpeg" and mode not in ("L", "RGB", "YCbCr"):
        pytest.skip("libtiff packs no such JPEG")
    if mode == "F":
        image = Image.fromarray(values(1, "float32")[:, :, 0])
    elif mode == "I;16":
        image = Image.fromarray(values(1, "uint16")[:, :, 0])
    else:
        image = Image.fromarray(values(3)).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression, strip_size=strip, dpi=(72, 72))
    same_as_whole(tmp_path / "a.tif")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_rows_of_other_peoples_tiff(
    tmp_path: Path, order: str, big: bool, tile: tuple[int, int] | None, dtype: str
) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "a.tif", values(3, dtype), byteorder=order, bigtiff=big, tile=tile, photometric="rgb",
        compression="zlib", predictor=True, rowsperstrip=None if tile else 7, resolution=(200, 200),
    )  # fmt: skip
    same_as_whole(tmp_path / "a.tif")


def test_what_hangs_together_has_to_be_read_whole(tmp_path: Path) -> None:
    """Interlaced, palette, animated, turned, several pages, and pixels whose colour is hidden."""
    rgb = Image.fromarray(values(3))
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(tmp_path / "turned.png", exif=exif)
    rgb.save(tmp_path / "turned.tif", exif=exif)
    rgb.quantize(16).save(tmp_path / "palette.png")
    rgb.quantize(16).save(tmp_path / "palette.tif")
    rgb.save(tmp_path / "moving.png", save_all=True, append_images=[rgb.transpose(Image.Transpose.ROTATE_180)])
    rgb.save(tmp_path / "pages.tif", save_all=True, append_images=[rgb])
    rgb.save(tmp_path / "photo.jpg")
    hidden = values(4)
    hidden[-1, -1, 3] = 0
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 8
    for name in names:
        assert open_rows(tmp_path / name) is None, name
        assert read(tmp_path / name).width


def test_colour_is_found_wherever_it_is(tmp_path: Path) -> None:
    gray = values(1).repeat(3, axis=2)
    for name, speck in (("gray", None), ("first", 0), ("last", HEIGHT - 1)):
        pixels = gray.copy()
        if speck is not None:
            pixels[speck, 5, 1] ^= 1
        write(Picture(pixels), tmp_path / f"{name}.png")
        rows = open_rows(tmp_path / f"{name}.png")
        assert rows is not None and rows.neutral == (speck is None)
        assert rows.neutral == PictureRows(Picture(pixels)).neutral


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_file_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values(3)).save(path, compression="tiff_deflate", strip_size=400)
    data = path.read_bytes()
    if suffix == ".png":  # whole chunks around half of the pixels
        stream = zlib.compress(zlib.decompress(data[data.index(b"IDAT") + 4 : data.index(b"IEND") - 8])[: 60 * WIDTH])
        start = data[: data.index(b"IDAT") - 4]
        chunk = b"IDAT" + stream
        path.write_bytes(
            start + len(stream).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[-12:]
        )
    else:
        path.write_bytes(data[: len(data) // 2])
    try:
        rows = open_rows(path)
        if rows is not None:
            rows.band(0, rows.height)
    except ImageError as error:
        assert path.name in str(error) and "\n" not in str(error)
    else:
        assert rows is None, "what is not there was not missed"
        with pytest.raises(ImageError):
            read(path)


def test_the_limit_on_pixels_holds(tmp_path: Path) -> None:
    write(Picture(values(3)), tmp_path / "a.png")
    with pytest.raises(ImageError, match="--max-pixels"):
        open_rows(tmp_path / "a.png", max_pixels=HEIGHT * WIDTH - 1)


def test_bands_of_any_heights_join_to_the_same_file(tmp_path: Path) -> None:
    picture = Picture(values(3), values(1, seed=1)[:, :, 0])
    assert picture.alpha is not None
    cuts = [0, 1, 2, 20, 21, 40, HEIGHT]
    for suffix in (".png", ".tif"):
        bands = [(picture.pixels[a:b], picture.alpha[a:b]) for a, b in pairwise(cuts)]
        assert np.array_equal(join_bands(bands)[0], picture.pixels)
        write(BandedImage(head_of(picture), HEIGHT, iter(bands)), tmp_path / f"bands{suffix}")
        write(picture, tmp_path / f"whole{suffix}")
        assert (tmp_path / f"bands{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    with pytest.raises(ImageError, match="write PNG or TIFF"):
        write(BandedImage(head_of(picture), HEIGHT, iter(bands)), tmp_path / "bands.jpg")
    assert not (tmp_path / "bands.jpg").exists()
    assert len(list(tmp_path.iterdir())) == 4, "nothing half written"


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "F", "I;16", "I"])
def test_a_tall_image_is_copied_out_of_pillow_as_it_is(mode: str) -> None:
    tall = Image.fromarray(values(3)).resize((5, 700)).convert("L" if mode == "I;16" else mode)
    tall = tall.convert("I;16") if mode == "I;16" else tall
    found = array_of(tall)
    assert found.dtype == np.asarray(tall).dtype and np.array_equal(found, np.asarray(tall))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_damage_is_an_image_error_or_what_reading_the_whole_gives(tmp_path: Path, suffix: str) -> None:
    """Flipped bytes, cuts and stretches of noise; no other error, and no other pixels."""
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values(3)).save(path, compression="tiff_lzw", strip_size=700)
    whole, random = path.read_bytes(), np.random.default_rng(1)
    fine = 0
    for _ in range(150):
        data = bytearray(whole)
        at = int(random.integers(len(data)) if random.random() < 0.5 else random.integers(120))
        if random.random() < 0.2:
            del data[at:]
        else:
            data[at : at + int(random.integers(1, 9))] = random.bytes(int(random.integers(1, 9)))
        path.write_bytes(data)
        try:
            rows = open_rows(path, max_pixels=10**6) if data else None
            found = None if rows is None else rows.band(0, rows.height)[0]
        except ImageError:
            continue
        if found is not None:
            assert np.array_equal(found, read(path).pixels)
            fine += 1
    assert fine > 5 or suffix == ".png", "all of a PNG is under checksums, a TIFF is not"
