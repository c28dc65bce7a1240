"""Reading and writing picture files, real ones of every format."""

import io
import stat
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from picture_samples import photograph, rgba, save
from superfine.errors import ImageError
from superfine.images import Picture, from_pil, read, to_pil, write

LOSSLESS = [".png", ".tif", ".tiff", ".bmp"]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# Every format and mode --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_of_lossless_formats_come_back_to_the_bit(tmp_path: Path, suffix: str, channels: int) -> None:
    pixels = photograph(channels=channels)
    write(Picture(pixels), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}")
    assert back.pixels.dtype == np.uint8
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.alpha is None


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_come_back_close(tmp_path: Path, suffix: str, channels: int) -> None:
    pixels = photograph(channels=channels)
    write(Picture(pixels), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}").pixels
    assert back.shape[:2] == pixels.shape[:2]
    assert np.abs(back.astype(int) - pixels).mean() < 3


def test_webp_of_quality_100_is_lossless_even_under_transparency(tmp_path: Path) -> None:
    picture = from_pil(rgba())
    write(picture, tmp_path / "a.webp", quality=100)
    back = read(tmp_path / "a.webp")
    np.testing.assert_array_equal(back.pixels, picture.pixels)
    np.testing.assert_array_equal(back.alpha, picture.alpha)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_comes_back_to_the_bit(tmp_path: Path, suffix: str, mode: str) -> None:
    source = save(tmp_path / f"a{suffix}", rgba().convert(mode))
    picture = read(source)
    assert picture.pixels.shape[2] == len(mode) - 1
    write(picture, tmp_path / f"b{suffix}")
    back = Image.open(tmp_path / f"b{suffix}")
    assert back.mode == mode
    np.testing.assert_array_equal(np.asarray(back), np.asarray(Image.open(source)))


def test_palette_becomes_rgb_and_its_transparency_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(photograph()).quantize(32)
    plain = read(save(tmp_path / "plain.png", image))
    np.testing.assert_array_equal(plain.pixels, np.asarray(image.convert("RGB")))
    assert plain.alpha is None and plain.mode == "P"
    see_through = read(save(tmp_path / "clear.png", image, transparency=bytes([0, 128] + [255] * 30)))
    expected = np.array([0, 128] + [255] * 30, np.uint8)[np.asarray(image)]
    np.testing.assert_array_equal(see_through.alpha, expected)


def test_palette_of_grays_stays_one_channel(tmp_path: Path) -> None:
    image = Image.fromarray(photograph(channels=1)[:, :, 0] // 16 * 16).convert("P")
    picture = read(save(tmp_path / "a.png", image))
    assert picture.mode == "P" and picture.pixels.shape[2] == 1
    np.testing.assert_array_equal(picture.pixels[:, :, 0], np.asarray(image.convert("L")))


def test_one_bit_becomes_black_and_white_gray(tmp_path: Path) -> None:
    bits = photograph()[:, :, 0] > 128
    for suffix in (".png", ".tif", ".bmp"):
        picture = read(save(tmp_path / f"a{suffix}", Image.fromarray(bits)))
        np.testing.assert_array_equal(picture.pixels[:, :, 0], bits * np.uint8(255))


def test_transparent_colour_key_becomes_alpha(tmp_path: Path) -> None:
    pixels = photograph()
    picture = read(save(tmp_path / "a.png", Image.fromarray(pixels), transparency=tuple(int(v) for v in pixels[3, 4])))
    assert picture.alpha is not None and picture.alpha[3, 4] == 0 and picture.alpha.max() == 255


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_gray_stays_16_bits(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, (19, 23, 1), dtype=np.uint16)
    write(Picture(pixels), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}")
    assert back.pixels.dtype == np.uint16
    np.testing.assert_array_equal(back.pixels, pixels)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_of_every_colour_type_comes_back_to_the_bit(tmp_path: Path, channels: int, alpha: bool) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 65536, (190, 230, channels), dtype=np.uint16)
    mask = rng.integers(0, 65536, (190, 230), dtype=np.uint16) if alpha else None
    write(Picture(pixels, mask, icc=SRGB, dpi=(300.0, 300.0), text={"Title": "é"}), tmp_path / "a.png")
    back = read(tmp_path / "a.png")
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.alpha is None) == (mask is None)
    if mask is not None:
        np.testing.assert_array_equal(back.alpha, mask)
    assert back.icc == SRGB and back.text == {"Title": "é"}
    assert back.dpi is not None and back.dpi[0] == pytest.approx(300, abs=0.02)


def test_interlaced_16_bit_png_keeps_its_low_bytes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 65536, (11, 13, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(interlaced_png16(pixels))
    np.testing.assert_array_equal(read(tmp_path / "a.png").pixels, pixels)


def interlaced_png16(pixels: np.ndarray) -> bytes:
    """Adam7 by the specification's table, filter 0: a file neither Pillow nor superfine can write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    rows = b""
    for top, down, left, along in passes:
        for row in pixels[top::down, left::along]:
            rows += b"\0" + row.astype(">u2").tobytes()
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_cmyk_and_lab_become_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(photograph())
    cmyk = read(save(tmp_path / "a.tif", image.convert("CMYK")))
    assert cmyk.mode == "CMYK" and cmyk.icc is None
    assert np.abs(cmyk.pixels.astype(int) - np.asarray(image)).max() <= 2
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = read(save(tmp_path / "b.tif", ImageCms.applyTransform(image, to_lab)))
    assert np.abs(lab.pixels.astype(int) - np.asarray(image)).mean() < 3


def test_float_gray_tiff_stays_float_and_hdr_is_refused(tmp_path: Path) -> None:
    values = np.random.default_rng(4).random((9, 8), dtype=np.float32)
    picture = read(save(tmp_path / "a.tif", Image.fromarray(values)))
    np.testing.assert_array_equal(picture.pixels[:, :, 0], values)
    with pytest.raises(ImageError, match=r"want 0\.\.1"):
        read(save(tmp_path / "b.tif", Image.fromarray(values * 40)))


# What a file says beside its pixels -------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    settings = {"lossless": True} if suffix == ".webp" else {}
    source = save(tmp_path / f"a{suffix}", Image.fromarray(photograph()), exif=exif.tobytes(), **settings)
    with Image.open(source) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    picture = read(source)
    np.testing.assert_array_equal(picture.pixels, upright)
    write(picture, tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x010F] == "Maker"
        assert image.size == (upright.shape[1], upright.shape[0])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_icc_profile_is_kept(tmp_path: Path, suffix: str) -> None:
    source = save(tmp_path / f"a{suffix}", Image.fromarray(photograph()), icc_profile=SRGB)
    picture = read(source)
    assert picture.icc == SRGB
    write(picture, tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.info["icc_profile"] == SRGB


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_dpi_is_kept(tmp_path: Path, suffix: str) -> None:
    source = save(tmp_path / f"a{suffix}", Image.fromarray(photograph()), dpi=(300, 150))
    write(read(source), tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)


# The way out ------------------------------------------------------------------------------------


def test_alpha_is_laid_over_the_background_where_the_format_holds_none(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 3), 200, np.uint8)
    alpha = np.array([[0, 255, 128, 0]] * 4, np.uint8)
    write(Picture(pixels, alpha), tmp_path / "white.bmp")
    np.testing.assert_array_equal(read(tmp_path / "white.bmp").pixels[0, :, 0], [255, 200, 227, 255])
    write(Picture(pixels, alpha), tmp_path / "red.bmp", background=(255, 0, 0))
    np.testing.assert_array_equal(read(tmp_path / "red.bmp").pixels[0, 0], [255, 0, 0])


def test_16_bit_is_rounded_not_cut_where_the_format_holds_8(tmp_path: Path) -> None:
    levels = np.array([[0, 128, 129, 32896, 65406, 65535]], np.uint16)[:, :, None]
    write(Picture(levels), tmp_path / "a.bmp")
    np.testing.assert_array_equal(read(tmp_path / "a.bmp").pixels[0, :, 0], [0, 0, 1, 128, 254, 255])


def test_streams_work_like_files() -> None:
    pixels = photograph()
    stream = io.BytesIO()
    write(Picture(pixels), stream, format=".png")
    stream.seek(0)
    np.testing.assert_array_equal(read(stream).pixels, pixels)


def test_pil_images_go_in_and_out_unchanged() -> None:
    for mode in ("L", "LA", "RGB", "RGBA"):
        image = rgba().convert(mode)
        back = to_pil(from_pil(image))
        assert back.mode == mode
        np.testing.assert_array_equal(np.asarray(back), np.asarray(image))


def test_written_files_have_the_users_usual_permissions(tmp_path: Path) -> None:
    write(Picture(photograph()), tmp_path / "a.png")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_writing_through_a_symbolic_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "real.png").touch()
    (tmp_path / "link.png").symlink_to("real.png")
    write(Picture(photograph()), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert read(tmp_path / "real.png").width == 53


def test_many_threads_read_at_once_without_disturbing_pillow(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", Image.fromarray(photograph()))
    limit = Image.MAX_IMAGE_PIXELS
    refused = []

    def work(index: int) -> None:
        try:
            read(source, max_pixels=10 if index % 2 else 10_000)
        except ImageError:
            refused.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(refused) == list(range(1, 16, 2))
    assert limit == Image.MAX_IMAGE_PIXELS
