"""TIFF of all depths, byte orders, layouts, photometrics and alpha, against the specification and a referee."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import referee
from superfine.errors import ImageError
from superfine.images import Picture, read
from superfine.images.rows import open_rows
from tiff_files import tiff

HEIGHT, WIDTH = 19, 23
ALPHA = {"none": (), "associated": (1,), "straight": (2,)}


def samples(bits: int, count: int) -> np.ndarray:
    """Numbers over the whole range, both ends among them."""
    top = (1 << bits) - 1
    values = np.random.default_rng(bits * 9 + count).integers(0, top + 1, (HEIGHT, WIDTH, count))
    values[0, 0], values[-1, -1] = 0, top
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def scaled(values: np.ndarray, bits: int) -> np.ndarray:
    """value · 255 / (2^bits - 1), or · 65535 above 8 bits, rounded to nearest."""
    peak = 255 if bits <= 8 else 65535
    exact = values.astype(float) * peak / ((1 << bits) - 1)
    return np.floor(exact + 0.5).astype(np.uint8 if bits <= 8 else np.uint16)


def check(data: bytes, pixels: np.ndarray, alpha: np.ndarray | None, tmp_path: Path) -> Picture:
    """The picture read whole and by rows is these pixels."""
    picture = read(io.BytesIO(data))
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alpha, alpha)
    (tmp_path / "a.tif").write_bytes(data)
    rows = open_rows(tmp_path / "a.tif")
    if rows is not None:
        np.testing.assert_array_equal(rows.band(0, HEIGHT)[0], pixels)
    return picture


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, 16])
def test_every_depth_order_and_layout_is_its_numbers_scaled(
    bits: int, order: str, tile: int | None, tmp_path: Path
) -> None:
    top = 255 if bits <= 8 else 65535
    for deflate in (False, True):
        gray, colour = samples(bits, 1), samples(bits, 3)
        settings = {"order": order, "tile": tile, "deflate": deflate}
        check(tiff(gray, bits, 1, **settings), scaled(gray, bits), None, tmp_path)
        check(tiff(gray, bits, 0, **settings), top - scaled(gray, bits), None, tmp_path)
        check(tiff(colour, bits, 2, **settings), scaled(colour, bits), None, tmp_path)
        check(tiff(colour, bits, 2, planar=True, **settings), scaled(colour, bits), None, tmp_path)


@pytest.mark.parametrize("bits", [1, 4, 8, 10, 12, 16])
@pytest.mark.parametrize("alpha", ["associated", "straight"])
@pytest.mark.parametrize("photometric", [0, 1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
def test_alpha_is_straight_in_the_depth_of_the_file(
    bits: int, alpha: str, photometric: int, order: str, tmp_path: Path
) -> None:
    count = 3 if photometric == 2 else 1
    values = samples(bits, count + 1)
    if alpha == "associated":
        values[:, :, :-1] = np.minimum(values[:, :, :-1], values[:, :, -1:])
    full = scaled(values, bits)
    peak = np.iinfo(full.dtype).max
    cover, pixels = full[:, :, -1], full[:, :, :-1]
    pixels = peak - pixels if photometric == 0 else pixels
    if alpha == "associated":
        share = cover[:, :, None].astype(float)
        exact = np.divide(pixels.astype(float) * peak, share, out=np.zeros(pixels.shape), where=share > 0)
        pixels = np.minimum(np.rint(exact), peak).astype(full.dtype)
    for planar in (False, True):
        data = tiff(values, bits, photometric, order=order, extra=ALPHA[alpha], planar=planar)
        check(data, pixels, cover, tmp_path)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_a_palette_is_its_colours(bits: int, tmp_path: Path) -> None:
    colours = np.random.default_rng(bits).integers(0, 256, (1 << bits, 3))
    colours[-1] = (255, 0, 9)
    index = samples(bits, 1)
    more = {320: tuple((colours * 257).T.ravel().tolist())}
    check(tiff(index, bits, 3, more=more), colours[index[:, :, 0]].astype(np.uint8), None, tmp_path)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_of_every_size(dtype: str, order: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((HEIGHT, WIDTH, 3)).astype(dtype)
    data = tiff(values, 8 * values.itemsize, 2, order=order, deflate=True)
    check(data, values.astype(np.float32), None, tmp_path)


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "lzma", "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("predictor", [False, True])
def test_every_lossless_compression_by_another_writer(
    compression: str, dtype: str, predictor: bool, tmp_path: Path
) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    if predictor and compression == "packbits":
        pytest.skip("PackBits knows no differences")
    values = np.random.default_rng(1).random((HEIGHT, WIDTH, 3))
    values = values.astype(dtype) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", compression=compression, predictor=predictor, rowsperstrip=4)
    check(file.getvalue(), values, None, tmp_path)


@pytest.mark.parametrize("compression", ["webp", "jpeg2000", "jpegxl"])
def test_strips_that_are_pictures_of_their_own(compression: str, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    values = samples(8, 3)
    file = io.BytesIO()
    settings = {"compressionargs": {"level": -1}} if compression == "webp" else {}
    tifffile.imwrite(file, values, photometric="rgb", compression=compression, rowsperstrip=8, **settings)
    check(file.getvalue(), values, None, tmp_path)


def test_signed_numbers_below_zero_are_refused() -> None:
    data = tiff(samples(16, 1), 16, 1, more={339: (2,)})
    with pytest.raises(ImageError, match="below 0"):
        read(io.BytesIO(data))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("photometric", [0, 1, 2])
@pytest.mark.parametrize("alpha", ["none", "associated", "straight"])
def test_a_referee_sees_the_same(bits: int, photometric: int, alpha: str, tmp_path: Path) -> None:
    """ImageMagick, which decodes with libtiff and a reader of its own."""
    if referee.imagemagick() is None:
        pytest.skip("ImageMagick is not installed")
    if alpha != "none" and bits not in (8, 16):
        pytest.skip("ImageMagick's own alpha is wrong in odd depths")
    if photometric == 0 and (bits not in (1, 8, 16) or alpha != "none"):
        pytest.skip("ImageMagick 6 forgets WhiteIsZero here; libtiff's tiff2rgba inverts, as the specification says")
    count = (3 if photometric == 2 else 1) + (alpha != "none")
    values = samples(bits, count)
    if alpha == "associated":
        values[:, :, :-1] = np.minimum(values[:, :, :-1], values[:, :, -1:])
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values, bits, photometric, extra=ALPHA[alpha]))
    seen = referee.pixels_of(path)
    assert seen is not None
    picture = read(path)
    to_16 = 257 if picture.pixels.dtype == np.uint8 else 1
    ours = np.broadcast_to(picture.pixels.astype(int) * to_16, (HEIGHT, WIDTH, 3))
    visible = np.ones((HEIGHT, WIDTH), bool) if picture.alpha is None else picture.alpha > 0
    # One level of the file's own depth: the referee may round elsewhere.
    exact = alpha == "none" and bits in (1, 8, 16)
    assert np.abs(ours - seen[:, :, :3].astype(int))[visible].max() <= (0 if exact else 257)
    if picture.alpha is not None:
        np.testing.assert_array_equal(picture.alpha.astype(int) * to_16, seen[:, :, 3])


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_one_uncompressed_strip_goes_by_rows_whatever_its_planes(planes: str, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(1).integers(0, 65536, (1000, 700, 3), np.uint16)  # several bands
    values = pixels if planes == "contig" else np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", planarconfig=planes, rowsperstrip=1000)
    rows = open_rows(tmp_path / "a.tif")
    assert rows is not None
    assert all(np.array_equal(rows.band(top, top + 50)[0], pixels[top : top + 50]) for top in range(0, 1000, 50))
    assert np.array_equal(read(tmp_path / "a.tif").pixels, pixels)


def test_pillows_limit_of_pixels_does_not_count_the_bytes_of_a_strip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(1).integers(0, 65536, (60, 50, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="lzw", rowsperstrip=60)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    assert np.array_equal(read(tmp_path / "a.tif", max_pixels=3000).pixels, pixels)
