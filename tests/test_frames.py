"""Animations and pages: every frame upscaled, timing kept."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processes import upscale_nearest
from superfine.errors import ImageError
from superfine.images import Picture, read
from superfine.images.formats.frames import Frames, read_frames, write_frames


def frame(shift: int, alpha: bool = False) -> np.ndarray:
    rows, columns = np.mgrid[:24, :32]
    colour = np.stack([rows * 8, columns * 6, np.full_like(rows, 80)], axis=2).astype(np.uint8)
    colour[4 + shift : 10 + shift, 5:15] = (250, 10, 20)
    return np.dstack([colour, np.where(columns < 20, 255, 0).astype(np.uint8)]) if alpha else colour


def animation(path: Path, alpha: bool = False) -> Path:
    images = [Image.fromarray(frame(shift, alpha)) for shift in (0, 5, 10)]
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=[100, 250, 40], loop=2, **lossless)
    return path


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_frames_durations_and_loop_come_back(tmp_path: Path, suffix: str, alpha: bool) -> None:
    frames = read_frames(animation(tmp_path / f"a{suffix}", alpha))
    write_frames(frames, tmp_path / f"b{suffix}", quality=100)
    back = read_frames(tmp_path / f"b{suffix}")
    assert back.durations == frames.durations == [100, 250, 40]
    assert back.loop == frames.loop == 2
    for index, shift in enumerate((0, 5, 10)):
        wanted = frame(shift, alpha)
        visible = wanted[:, :, 3] > 0 if alpha else np.ones((24, 32), bool)
        np.testing.assert_array_equal(back.pictures[index].pixels[visible], wanted[visible][:, :3])
        if alpha:
            np.testing.assert_array_equal(back.pictures[index].alpha, wanted[:, :, 3])


@pytest.mark.parametrize("alpha", [False, True])
def test_gif_animation_comes_back_in_256_colours(tmp_path: Path, alpha: bool) -> None:
    frames = Frames([Picture(frame(s), frame(s, True)[:, :, 3] if alpha else None) for s in (0, 5)], [100, 200], 0)
    write_frames(frames, tmp_path / "a.gif")
    back = read_frames(tmp_path / "a.gif")
    assert back.durations == [100, 200] and back.loop == 0
    for picture, wanted in zip(back.pictures, frames.pictures, strict=True):
        assert (picture.alpha is not None) == alpha
        if wanted.alpha is not None:
            np.testing.assert_array_equal(picture.alpha, wanted.alpha)
        visible = np.ones((24, 32), bool) if wanted.alpha is None else wanted.alpha > 0
        assert np.abs(picture.pixels[visible].astype(int) - wanted.pixels[visible]).mean() < 6


def test_avif_sequence_comes_back_close(tmp_path: Path) -> None:
    write_frames(Frames([Picture(frame(0)), Picture(frame(5))], [100, 200]), tmp_path / "a.avif")
    back = read_frames(tmp_path / "a.avif")
    assert back.durations == [100, 200]
    assert np.abs(back.pictures[1].pixels.astype(int) - frame(5)).mean() < 4


def test_pages_keep_their_own_size_depth_and_alpha(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pages = [
        Picture(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)),
        Picture(rng.integers(0, 65536, (7, 5, 3), dtype=np.uint16), dpi=(300.0, 300.0)),
        Picture(rng.integers(0, 256, (3, 4, 1), dtype=np.uint8), rng.integers(0, 256, (3, 4), dtype=np.uint8)),
        Picture(rng.random((5, 6, 1), dtype=np.float32)),
    ]
    write_frames(Frames(pages), tmp_path / "a.tif")
    back = read_frames(tmp_path / "a.tif")
    assert back.durations == [] and len(back.pictures) == 4
    for page, wanted in zip(back.pictures, pages, strict=True):
        assert page.pixels.dtype == wanted.pixels.dtype
        np.testing.assert_array_equal(page.pixels, wanted.pixels)
        if wanted.alpha is not None:
            np.testing.assert_array_equal(page.alpha, wanted.alpha)
    assert back.pictures[1].dpi == (300, 300)


def test_pages_that_pillow_does_not_know_are_read_wherever_they_stand(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    rng = np.random.default_rng(1)
    deep = Picture(
        rng.integers(0, 65536, (9, 12, 1), dtype=np.uint16), rng.integers(0, 65536, (9, 12), dtype=np.uint16)
    )
    colour = Picture(rng.random((5, 6, 3), dtype=np.float32), dpi=(200.0, 100.0))
    plain = Picture(rng.integers(0, 256, (7, 5, 3), dtype=np.uint8))
    for pages in ([plain, deep, colour], [colour, plain, deep], [deep, colour]):
        write_frames(Frames(pages), tmp_path / "a.tif")
        back = read_frames(tmp_path / "a.tif").pictures
        assert [page.pixels.dtype for page in back] == [page.pixels.dtype for page in pages]
        for page, wanted in zip(back, pages, strict=True):
            np.testing.assert_array_equal(page.pixels, wanted.pixels)
            assert page.dpi == wanted.dpi


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_thumbnail_pages_are_left_out(tmp_path: Path, dtype: type) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = frame(0).astype(dtype) / dtype(1 if dtype is np.uint8 else 255)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels.astype(dtype), photometric="rgb")
        file.write(pixels[::4, ::4].astype(dtype), photometric="rgb", subfiletype=1)
        file.write(pixels[:9].astype(dtype), photometric="rgb")
    assert [page.height for page in read_frames(tmp_path / "a.tif").pictures] == [24, 9]


def test_orientation_and_premultiplied_alpha_of_rare_tiffs_are_undone(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    colour = frame(0).astype(np.float32) / 255
    alpha = np.linspace(0.5, 1, 32, dtype=np.float32)[None, :].repeat(24, axis=0)
    stored = np.dstack([colour * alpha[:, :, None], alpha])
    settings = {"photometric": "rgb", "extrasamples": ["assocalpha"], "extratags": [(274, 3, 1, 6, False)]}
    tifffile.imwrite(tmp_path / "a.tif", stored, **settings)
    picture = read(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.pixels, np.rot90(colour, -1), atol=1e-6)
    np.testing.assert_array_equal(picture.alpha, np.rot90(alpha, -1))


def test_formats_of_one_picture_get_the_first_frame(tmp_path: Path) -> None:
    frames = read_frames(animation(tmp_path / "a.png"))
    write_frames(frames, tmp_path / "b.bmp")
    np.testing.assert_array_equal(read(tmp_path / "b.bmp").pixels, frame(0))


def test_pages_do_not_become_an_animation(tmp_path: Path) -> None:
    write_frames(Frames([Picture(frame(0)), Picture(frame(5))]), tmp_path / "a.png")
    assert len(read_frames(tmp_path / "a.png").pictures) == 1


def test_pixel_limit_counts_all_frames(tmp_path: Path) -> None:
    source = animation(tmp_path / "a.png")
    assert len(read_frames(source, max_pixels=3 * 24 * 32).pictures) == 3
    with pytest.raises(ImageError, match="--max-pixels"):
        read_frames(source, max_pixels=3 * 24 * 32 - 1)


def test_the_command_line_upscales_every_frame_and_page(tmp_path: Path) -> None:
    animation(tmp_path / "a.png")
    write_frames(Frames([Picture(frame(0)), Picture(frame(5)[:12])]), tmp_path / "p.tif")
    for name in ("a.png", "p.tif"):
        target = tmp_path / f"large-{name}"
        done = upscale_nearest(tmp_path / name, target)
        assert done.returncode == 0, done.stderr
    large = read_frames(tmp_path / "large-a.png")
    assert large.durations == [100, 250, 40] and large.loop == 2
    for picture, shift in zip(large.pictures, (0, 5, 10), strict=True):
        np.testing.assert_array_equal(picture.pixels, frame(shift).repeat(2, axis=0).repeat(2, axis=1))
    pages = read_frames(tmp_path / "large-p.tif").pictures
    assert [(page.height, page.width) for page in pages] == [(48, 64), (24, 64)]


def test_a_gif_played_once_is_played_once_everywhere(tmp_path: Path) -> None:
    """It says so by saying nothing, which means for ever in an APNG or WebP."""
    images = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 90, 180)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=50)
    frames = read_frames(tmp_path / "a.gif")
    for suffix in (".png", ".webp", ".gif"):
        write_frames(frames, tmp_path / f"b{suffix}")
        with Image.open(tmp_path / f"b{suffix}") as image:
            assert image.info.get("loop") == (None if suffix == ".gif" else 1)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".avif"])
def test_exif_of_an_animation_is_true_of_its_new_size(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA002] = 4
    shown = [Picture(np.full((8, 6, 3), shade, np.uint8)) for shade in (0, 90, 180)]
    shown[0].exif = exif.tobytes().removeprefix(b"Exif\0\0")
    write_frames(Frames(shown, [50.0] * 3), tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif().get_ifd(0x8769)[0xA002] == 6


def test_one_bit_and_palette_pages_stand_beside_pages_pillow_does_not_know(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    bits = np.indices((9, 16)).sum(axis=0) % 3 == 0
    colours = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) * 85
    index = np.arange(144, dtype=np.uint8).reshape(9, 16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.full((9, 16, 3), 0.25, np.float32), photometric="rgb")
        file.write(bits, photometric="minisblack")
        file.write(bits, photometric="miniswhite")
        file.write(index, photometric="palette", colormap=colours)
    plain, dark, light, palette = read_frames(tmp_path / "a.tif").pictures
    assert plain.pixels.dtype == np.float32
    np.testing.assert_array_equal(dark.pixels[:, :, 0], np.where(bits, 255, 0))
    np.testing.assert_array_equal(light.pixels[:, :, 0], np.where(bits, 0, 255))
    np.testing.assert_array_equal(palette.pixels, np.moveaxis(colours[:, index], 0, 2) >> 8)
