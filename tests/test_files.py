"""Reading and writing picture files, with real files of every format and kind of damage."""

import io
import os
import stat
import struct
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from superfine.errors import ImageError
from superfine.images import SUFFIXES, Picture, from_pil, read, to_pil, write

LOSSLESS = [".png", ".tif", ".tiff", ".bmp"]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photograph(height: int = 37, width: int = 53, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth colour with a little noise: compresses like a picture, and every pixel differs."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (5 + c)) + np.cos(columns / (7 + c)) for c in range(channels)]
    noise = np.random.default_rng(seed).normal(0, 2, (height, width, channels))
    return np.clip(np.stack(waves, axis=2) * 60 + 128 + noise, 0, 255).astype(np.uint8)


def save(path: Path, image: Image.Image, **settings: object) -> Path:
    image.save(path, **settings)
    return path


def rgba() -> Image.Image:
    alpha = np.zeros((37, 53), np.uint8)
    alpha[5:30, 9:40] = 255
    alpha[30:] = 100
    return Image.fromarray(np.dstack([photograph(), alpha]))


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


# Bad input --------------------------------------------------------------------------------------


def refused(path: Path, **settings: int) -> str:
    with pytest.raises(ImageError) as caught:
        read(path, **settings)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def test_missing_file_folder_and_empty_file_are_named(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.png")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "0 bytes" in refused(tmp_path / "empty.png")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_files_are_refused_wherever_the_cut(tmp_path: Path, suffix: str) -> None:
    write(Picture(photograph(90, 120)), tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole[: int(len(whole) * share)])
        refused(cut)


@pytest.mark.parametrize(
    "content", [b"hello, I am not a picture\n" * 40, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0"]
)
def test_fake_pictures_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.png").write_bytes(content)
    refused(tmp_path / "fake.png")


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        write(Picture(np.full((1, 1, 3), 128, np.uint8)), tmp_path / f"a{suffix}")
        assert read(tmp_path / f"a{suffix}").pixels.shape[:2] == (1, 1)


def test_header_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    message = refused(tmp_path / "bomb.png")
    assert "--max-pixels" in message


def test_pixel_limit_is_exact(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", Image.fromarray(photograph(10, 20)))
    assert read(source, max_pixels=200).width == 20
    assert "--max-pixels" in refused(source, max_pixels=199)
    assert "--max-pixels" in refused(source, max_pixels=50)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", Image.fromarray(photograph()))
    source.chmod(0)
    if os.access(source, os.R_OK):
        pytest.skip("this user may read everything")
    assert "permission denied" in refused(source)


def not_written(picture: Picture, path: Path, **settings: object) -> str:
    with pytest.raises(ImageError) as caught:
        write(picture, path, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_unwritable_targets_are_named_and_leave_nothing_behind(tmp_path: Path) -> None:
    picture = Picture(photograph())
    assert "no such file or directory" in not_written(picture, tmp_path / "none" / "a.png")
    (tmp_path / "dir.png").mkdir()
    assert "folder" in not_written(picture, tmp_path / "dir.png")
    assert "unknown suffix '.xyz'" in not_written(picture, tmp_path / "a.xyz")
    assert "no suffix" in not_written(picture, tmp_path / "a")
    assert "1 to 100" in not_written(picture, tmp_path / "a.jpg", quality=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="device files are Unix's")
def test_device_files_are_never_replaced() -> None:
    assert "ordinary file" in not_written(Picture(photograph()), Path("/dev/null"), format=".png")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_sizes_a_format_cannot_hold_are_named(tmp_path: Path) -> None:
    wide = Picture(np.zeros((1, 70_000, 1), np.uint8))
    assert "JPEG" in not_written(wide, tmp_path / "a.jpg")
    assert "WebP" in not_written(wide, tmp_path / "a.webp")
    assert list(tmp_path.iterdir()) == []
    write(wide, tmp_path / "a.png")


def test_failed_write_keeps_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.webp"
    target.write_bytes(b"old")
    not_written(Picture(np.zeros((1, 20_000, 1), np.uint8)), target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.webp"]


# Without the extra ------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["pillow_heif", "imagecodecs"])
def test_missing_libraries_are_named_with_the_extra_that_brings_them(
    tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(missing)
    suffix = {"pillow_heif": ".heic", "imagecodecs": ".jxl"}[missing]
    write(Picture(photograph()), tmp_path / f"a{suffix}")
    monkeypatch.setitem(sys.modules, missing, None)  # what Python does for a module that is not there
    assert "superfine[formats]" in refused(tmp_path / f"a{suffix}")
    assert "superfine[formats]" in not_written(Picture(photograph()), tmp_path / f"b{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_rare_tiffs_name_the_extra_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Picture(photograph().astype(np.float32) / 255), tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert "superfine[formats]" in refused(tmp_path / "a.tif")
    deep = Picture(photograph().astype(np.uint16) * 257)
    write(deep, tmp_path / "b.tif")
    np.testing.assert_array_equal(read(tmp_path / "b.tif").pixels, deep.pixels)


@pytest.mark.parametrize(("suffix", "library"), [(".jxl", "pillow_jxl"), (".heic", "pillow_heif")])
def test_pixel_limit_holds_for_the_formats_of_the_extra(tmp_path: Path, suffix: str, library: str) -> None:
    """Their libraries would unpack first and ask later, so the size is read out of the header."""
    pytest.importorskip(library)
    pytest.importorskip("imagecodecs")
    for height, width in ((16, 24), (300, 200), (257, 1030)):
        write(Picture(photograph(height, width)), tmp_path / f"a{suffix}")
        assert read(tmp_path / f"a{suffix}", max_pixels=height * width).width == width
        assert "--max-pixels" in refused(tmp_path / f"a{suffix}", max_pixels=height * width - 1)
