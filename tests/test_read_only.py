"""Formats that can only be read: every pixel as an independent decoder (FFmpeg's own) reads it; others in one line."""

import io
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import referee
import superfine as package
from picture_samples import photograph
from processes import assert_refused, upscale_nearest
from superfine.errors import ImageError
from superfine.images import Picture, read, write
from superfine.images.colour_codes import is_hdr, matrix_between
from superfine.images.files import READABLE
from superfine.images.profile import is_linear
from superfine.images.tone_map import WHITE, pq_to_light

codecs = pytest.importorskip("imagecodecs")
EIGHT = photograph(40, 56)
ALPHA = np.where(np.mgrid[:40, :56][1] < 30, 255, 90).astype(np.uint8)
SIXTEEN = EIGHT.astype(np.uint16) * 257 - np.minimum(EIGHT, 77)
KINDS: dict[str, Any] = {
    "gray 8": EIGHT[:, :, 0], "RGB 8": EIGHT, "RGBA 8": np.dstack([EIGHT, ALPHA]),
    "gray 16": SIXTEEN[:, :, 0], "RGB 16": SIXTEEN, "RGBA 16": np.dstack([SIXTEEN, ALPHA.astype(np.uint16) * 257]),
    "gray 12": SIXTEEN[:, :, 0] >> 4, "RGB 12": SIXTEEN >> 4,
}  # fmt: skip


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(bytes(data))
    return path


def stored(picture: Picture) -> np.ndarray:
    """RGBA 0..1."""
    peak = np.iinfo(picture.pixels.dtype).max
    colour = np.broadcast_to(picture.pixels, (*picture.pixels.shape[:2], 3)) / peak
    alpha = np.ones(colour.shape[:2]) if picture.alpha is None else picture.alpha / peak
    return np.dstack([colour, alpha])


def assert_as_ffmpeg_reads_it(path: Path, tolerance: float = 1e-4) -> None:
    wanted = referee.by_ffmpeg(path)
    if wanted is None:
        pytest.skip("no independent decoder")
    np.testing.assert_allclose(stored(read(path)), wanted, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("container", ["jp2", "j2k"])
def test_jpeg_2000_of_every_depth(kind: str, container: str, tmp_path: Path) -> None:
    bits = {"bitspersample": 12} if "12" in kind else {}
    data = codecs.jpeg2k_encode(KINDS[kind], level=0, reversible=True, codecformat=container, **bits)
    path = put(tmp_path / f"a.{container}", data)
    assert read(path).pixels.dtype == (np.uint8 if kind.endswith(" 8") else np.uint16)
    # FFmpeg shifts 12 bits to 16 where we scale: white is 65520 there.
    assert_as_ffmpeg_reads_it(path, 3e-4 if "12" in kind else 1e-4)


@pytest.mark.parametrize("kind", ["RGB 8", "RGBA 8"])
def test_qoi(kind: str, tmp_path: Path) -> None:
    assert_as_ffmpeg_reads_it(put(tmp_path / "a.qoi", codecs.qoi_encode(KINDS[kind])))


@pytest.mark.parametrize("kind", ["RGB 8", "RGBA 8"])
def test_dds_and_ico_of_which_the_largest_is_taken(kind: str, tmp_path: Path) -> None:
    image = Image.fromarray(KINDS[kind])
    image.save(tmp_path / "a.dds")
    image.save(tmp_path / "a.ico", sizes=[(56, 40)], bitmap_format="bmp" if kind == "RGBA 8" else "png")
    assert_as_ffmpeg_reads_it(tmp_path / "a.dds")
    assert (stored(read(tmp_path / "a.ico")) == stored(read(tmp_path / "a.dds"))).all()
    image.save(tmp_path / "b.ico", sizes=[(16, 16), (56, 40)])
    assert read(tmp_path / "b.ico").pixels.shape[:2] == (40, 56)


@pytest.mark.parametrize("kind", ["gray 12", "RGB 12", "RGB 16"])
def test_lossless_and_twelve_bit_jpeg_with_metadata(kind: str, tmp_path: Path) -> None:
    values, depth = KINDS[kind], int(kind[-2:])
    data = bytes(codecs.jpeg8_encode(values, bitspersample=depth, lossless=True))
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    with_exif = data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]
    picture = read(put(tmp_path / "a.jpg", with_exif))
    assert b"Maker" in (picture.exif or b"") and picture.pixels.shape[:2] == (56, 40)
    plain = read(put(tmp_path / "b.jpg", data)).pixels
    top = (1 << depth) - 1
    assert (plain.squeeze() == (values.astype(np.uint32) * 65535 + top // 2) // top).all()
    seen = referee.by_ffmpeg(tmp_path / "b.jpg")
    if seen is not None:
        scale = 65535 / top if kind == "RGB 12" else 1  # FFmpeg leaves 12-bit colour as it lies, and shifts gray
        np.testing.assert_allclose(seen[:, :, :3] * scale, np.broadcast_to(plain, (40, 56, 3)) / 65535, atol=3e-4)
    if depth == 12:
        lossy = read(put(tmp_path / "c.jpg", codecs.jpeg8_encode(values, level=98, bitspersample=12))).pixels
        assert np.abs(lossy / 65535 - plain / 65535).mean() < 0.01


def exr(values: np.ndarray, path: Path, half: bool = False, **header: Any) -> Path:
    library = pytest.importorskip("OpenEXR")
    names = {1: "Y", 3: "RGB", 4: "RGBA"}[values.shape[2]]
    form = {"compression": library.PIZ_COMPRESSION, "type": library.scanlineimage, **header}
    array = np.ascontiguousarray(values.astype(np.float16 if half else np.float32))
    library.File(form, {names: array[:, :, 0] if names == "Y" else array}).write(str(path))
    return path


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_open_exr_in_standard_range_stays_linear_light(half: bool, channels: int, tmp_path: Path) -> None:
    path = exr(EIGHT[:, :, :channels] / 255, tmp_path / "a.exr", half)
    picture, wanted = read(path), referee.by_ffmpeg(path)
    assert wanted is not None
    assert picture.pixels.dtype == np.float32 and is_linear(picture.icc)
    np.testing.assert_array_equal(picture.pixels, wanted[:, :, :channels])
    # A TIFF holds the light itself; a PNG has sRGB's curve, as every other picture.
    write(picture, tmp_path / "a.tif")
    assert (read(tmp_path / "a.tif").pixels == picture.pixels).all() and is_linear(read(tmp_path / "a.tif").icc)
    done = upscale_nearest(path, tmp_path / "a.png")
    assert "linear light to sRGB's curve" in done.stderr
    curve = np.where(wanted <= 0.0031308, 12.92 * wanted, 1.055 * np.maximum(wanted, 1e-9) ** (1 / 2.4) - 0.055)
    found = read(tmp_path / "a.png")
    assert found.icc is None and np.abs(found.pixels[::2, ::2] / 65535 - curve[:, :, :channels]).max() < 2e-5


def test_python_gets_open_exr_on_srgbs_curve(tmp_path: Path) -> None:
    light = np.full((8, 8, 3), 0.2140411, np.float32)  # sRGB's 127.5
    larger = package.upscale(exr(light, tmp_path / "a.exr"), 2, engine="nearest")
    assert larger.mode == "RGB" and "icc_profile" not in larger.info
    assert larger.getpixel((3, 3))[0] in (127, 128)


@pytest.mark.parametrize("source", ["EXR", "Radiance"])
def test_light_beyond_white_becomes_hdr(source: str, tmp_path: Path) -> None:
    light = (EIGHT / 255 * 8).astype(np.float32)
    path = tmp_path / ("a.exr" if source == "EXR" else "a.hdr")
    _ = exr(light, path) if source == "EXR" else put(path, codecs.rgbe_encode(light, header=True))
    picture, wanted = read(path), referee.by_ffmpeg(path)
    assert wanted is not None and is_hdr(picture.icc)
    back = pq_to_light((picture.pixels / 65535).astype(np.float32)) @ matrix_between(9, 1).T / WHITE
    np.testing.assert_allclose(back, wanted[:, :, :3], rtol=0.02, atol=0.01)
    assert "1.0 being 203" in upscale_nearest(path, tmp_path / "o.png").stderr
    assert upscale_nearest(path, tmp_path / "o.jpg", "--tone-map").returncode == 0


def test_radiance_exposure_is_undone(tmp_path: Path) -> None:
    data = bytes(codecs.rgbe_encode((EIGHT / 510).astype(np.float32), header=True))
    twice = data.replace(b"FORMAT", b"EXPOSURE=0.5\nFORMAT", 1)
    one, other = (read(io.BytesIO(each)).pixels for each in (data, twice))
    np.testing.assert_allclose(np.minimum(one * 2, 1), other, atol=1e-6)


def test_open_exr_is_unpremultiplied_and_laid_into_its_window(tmp_path: Path) -> None:
    alpha = ALPHA[:, :, None] / 255
    picture = read(exr(np.dstack([EIGHT / 255 * alpha, alpha]), tmp_path / "a.exr"))
    assert picture.alpha is not None
    np.testing.assert_allclose(picture.pixels, EIGHT / 255, atol=1e-5)
    np.testing.assert_allclose(picture.alpha, ALPHA / 255, atol=1e-6)
    window = {"dataWindow": ((3, 2), (58, 41)), "displayWindow": ((0, 0), (63, 47))}
    placed = read(exr(EIGHT / 255, tmp_path / "b.exr", **window))
    assert placed.pixels.shape == (48, 64, 3) and placed.alpha is not None
    np.testing.assert_allclose(placed.pixels[2:42, 3:59], EIGHT / 255, atol=1e-6)
    assert (placed.alpha[2:42, 3:59] == 1).all() and placed.alpha.sum() == 40 * 56


@pytest.mark.parametrize("kind", ["gray 8", "RGB 8", "gray 16", "RGB 16"])
def test_psd_as_imagemagick_writes_and_reads_it(kind: str, tmp_path: Path) -> None:
    program = referee.imagemagick()
    if program is None:
        pytest.skip("needs ImageMagick")
    pytest.importorskip("psd_tools")
    values = KINDS[kind]
    write(Picture(values if values.ndim == 3 else values[:, :, None]), tmp_path / "a.png")
    for more in ([], ["-compress", "RLE"]):
        subprocess.run([program, tmp_path / "a.png", *more, tmp_path / "a.psd"], check=True, capture_output=True)
        wanted = referee.pixels_of(tmp_path / "a.psd")
        assert wanted is not None
        np.testing.assert_allclose(stored(read(tmp_path / "a.psd")), wanted / 65535, atol=1e-4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "resvg"),
        (b"%PDF-1.7\n" + bytes(50), "pdftoppm"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "pdftoppm"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "darktable"),
        (b"FUJIFILMCCD-RAW " + bytes(50), "darktable"),
    ],
)
def test_what_is_no_picture_of_pixels_is_refused_with_a_way_on(data: bytes, words: str, tmp_path: Path) -> None:
    assert_refused(upscale_nearest(put(tmp_path / "a.file", data), tmp_path / "o.png"), words)
    assert not (tmp_path / "o.png").exists()


def test_the_preview_of_a_raw_file_is_not_taken_for_its_picture(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    dng = (50706, "B", 4, b"\1\4\0\0", True)
    tifffile.imwrite(tmp_path / "a.dng", EIGHT[::4, ::4], subfiletype=1, extratags=[dng])
    with pytest.raises(ImageError, match="darktable"):
        read(tmp_path / "a.dng")


@pytest.mark.parametrize("suffix", [".exr", ".hdr", ".jp2", ".psd", ".jpg"])
def test_damaged_files_are_one_line(suffix: str, tmp_path: Path) -> None:
    light = (EIGHT / 255).astype(np.float32)
    if suffix == ".exr":
        data = exr(light, tmp_path / "whole.exr").read_bytes()
    else:
        data = bytes({
            ".hdr": lambda: codecs.rgbe_encode(light, header=True),
            ".jp2": lambda: codecs.jpeg2k_encode(SIXTEEN, level=0),
            ".psd": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 4, 40, 56, 16, 3) + bytes(99),
            ".jpg": lambda: codecs.jpeg8_encode(SIXTEEN >> 4, bitspersample=12),
        }[suffix]())  # fmt: skip
    for share in (0.02, 0.3, 0.6):
        path = put(tmp_path / f"a{suffix}", data[: max(8, int(len(data) * share))])
        with pytest.raises(ImageError, match="a" + suffix):
            read(path)
    assert_refused(upscale_nearest(path, tmp_path / "o.png"), "a" + suffix)


def test_formats_that_can_only_be_read_are_found_in_folders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    put(tmp_path / "in" / "a.qoi", codecs.qoi_encode(EIGHT))
    assert upscale_nearest(tmp_path / "in", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / "a.png").is_file() and {".exr", ".psd", ".jp2"} <= set(READABLE)
