"""Evidence: a JPEG's own tables, the blocks and the noise that pixels show; nothing in clean pictures."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from superfine import images
from superfine.images.evidence import NOISY, examine
from superfine.images.jpeg_quality import LUMA, quality_of
from superfine.images.picture import Picture, from_pil
from superfine.images.resize import downscale
from superfine.images.rows import PictureRows, open_rows

PHOTO = Path(__file__).resolve().parents[1] / "src" / "superfine" / "demo" / "budgerigar.jpg"


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """A photograph with no trace of JPEG left: the demo's, made smaller by three."""
    with Image.open(PHOTO) as image:
        return downscale(np.asarray(image.convert("RGB")), 3)


def saved(pixels: np.ndarray, quality: int, subsampling: str = "4:2:0", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("quality", [1, 5, 20, 35, 49, 50, 51, 60, 75, 80, 85, 90, 93, 95, 98, 100])
def test_the_quality_pillow_was_asked_for_is_read_from_the_file(clean: np.ndarray, quality: int) -> None:
    for options in ({}, {"progressive": True, "optimize": True}):
        assert images.read(saved(clean[:40, :56], quality, **options)).jpeg_quality == quality
    assert images.read(saved(clean[:40, :56, 0], quality, subsampling="4:4:4")).jpeg_quality == quality


@pytest.mark.skipif(shutil.which("convert") is None, reason="ImageMagick is not installed")
@pytest.mark.parametrize("quality", [30, 62, 75, 92])
def test_the_quality_imagemagick_was_asked_for_is_read_from_the_file(quality: int, tmp_path: Path) -> None:
    target = tmp_path / "out.jpg"
    subprocess.run(["convert", "-size", "64x48", "plasma:", "-quality", str(quality), str(target)], check=True)
    assert images.read(target).jpeg_quality == quality


def test_tables_that_are_not_libjpegs_get_the_quality_that_is_as_coarse(clean: np.ndarray) -> None:
    """Pillow has the tables of a well-known editor's "save for web" and "save as"."""
    for steps, worst in (
        (("web_low", "web_medium", "web_high", "web_very_high", "web_maximum"), 50),
        (("low", "medium", "high", "maximum"), 75),
    ):
        found = []
        for step in steps:
            file = io.BytesIO()
            Image.fromarray(clean).save(file, "JPEG", quality=step)
            file.seek(0)
            found.append(images.read(file).jpeg_quality or 0)
        assert found == sorted(set(found)) and found[0] < worst and found[-1] >= 94, found
    assert quality_of({0: LUMA, 1: [99] * 64}) == 50
    assert (quality_of({0: [255] * 64}), quality_of({0: [1] * 64}), quality_of({})) == (1, 100, None)


def test_only_jpegs_have_a_quality_and_results_have_none(clean: np.ndarray, tmp_path: Path) -> None:
    from superfine.upscaling import Upscaler

    for suffix in (".png", ".webp", ".tif"):
        images.write(Picture(clean), tmp_path / f"a{suffix}")
        assert images.read(tmp_path / f"a{suffix}").jpeg_quality is None
    picture = images.read(saved(clean[:24, :24], 70))
    assert (picture.jpeg_quality, from_pil(Image.open(saved(clean, 70))).jpeg_quality) == (70, 70)
    assert Upscaler(engine="nearest")(picture, 2).jpeg_quality is None


def test_a_clean_photograph_shows_neither_blocks_nor_noise(clean: np.ndarray) -> None:
    for pixels in (clean, downscale(clean, 2), clean[:, :, :1], np.ascontiguousarray(clean[::-1, ::-1])):
        found = examine(Picture(pixels))
        assert not found.blocky and not found.noisy


@pytest.mark.parametrize("quality", [20, 40, 60, 75])
def test_blocks_are_found_in_a_jpeg_saved_again_wherever_its_grid_lies(clean: np.ndarray, quality: int) -> None:
    worn = np.asarray(Image.open(saved(clean, quality)))
    for top, left in ((0, 0), (3, 5), (7, 1)):
        assert examine(Picture(worn[top:, left:])).blocky
    wide = worn.astype(np.uint16) * 257
    assert examine(Picture(wide)).blockiness == pytest.approx(examine(Picture(worn)).blockiness)
    assert examine(Picture(worn.astype(np.float32) / 255)).blocky


@pytest.mark.parametrize("sigma", [4, 8, 15])
def test_the_noise_of_flat_parts_is_estimated_to_a_fifth(clean: np.ndarray, sigma: int) -> None:
    grain = np.random.default_rng(sigma).standard_normal(clean.shape[:2])[..., None] * sigma
    found = examine(Picture(np.clip(np.rint(clean + grain), 0, 255).astype(np.uint8)))
    assert found.noise == pytest.approx(sigma, rel=0.2)
    assert found.noisy == (found.noise >= NOISY)


def test_flat_tiny_and_saturated_pictures_show_nothing() -> None:
    for pixels in (
        np.full((300, 300, 3), 128, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.full((9, 2000, 1), 255, np.uint8),
        np.random.default_rng(0).integers(0, 2, (200, 200, 1), dtype=np.uint8) * 255,
        (np.indices((256, 256)).sum(0) // 8 % 2 * 60 + 90).astype(np.uint8)[..., None],
    ):
        assert not examine(Picture(pixels)).noisy
    assert not examine(Picture(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None])).blocky


def test_a_file_by_rows_shows_what_it_shows_whole_and_a_large_one_is_only_sampled(
    clean: np.ndarray, tmp_path: Path
) -> None:
    worn = np.asarray(Image.open(saved(clean, 50)))
    large = np.tile(worn, (1 + 2400 // worn.shape[0], 1 + 1600 // worn.shape[1], 1))[:2400, :1600]
    for pixels, name in ((worn, "small.png"), (large, "large.png"), (large, "large.tif")):
        images.write(Picture(pixels), tmp_path / name)
        rows = open_rows(tmp_path / name)
        assert rows is not None
        whole = examine(Picture(pixels))
        assert examine(rows) == whole == examine(PictureRows(Picture(pixels)))
        np.testing.assert_array_equal(rows.band(0, 40)[0], pixels[:40])  # the walk from the top is not disturbed
    unseen = large.copy()
    unseen[200:700] = np.random.default_rng(1).integers(0, 256, unseen[200:700].shape)
    assert examine(Picture(unseen)) == examine(Picture(large))
