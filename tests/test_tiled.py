"""upscaling/tiled.py: every kind of picture in, the same kind out; and the package's public names."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import superfine
from box_filter import BoxFilter
from superfine.errors import EngineError, ImageError, ModelError, PlanError
from superfine.images import Picture
from superfine.upscaling import Upscaler
from superfine.upscaling.stitch import magnify_alpha


class ShortOfMemory(BoxFilter):
    """An engine that has memory for windows of so many pixels, and says so the way a runtime does."""

    def __init__(self, scale: int, pixels: int, error: Exception) -> None:
        super().__init__(scale)
        self.pixels, self.error = pixels, error

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        if tile.shape[2] * tile.shape[3] > self.pixels:
            raise self.error
        return super().run(tile)


def nearest(scale: int = 2, tile: int | None = None) -> Upscaler:
    return Upscaler(engine="nearest", scale=scale, tile=tile)


def levels(shape: tuple[int, ...], dtype: type = np.uint8) -> NDArray[np.generic]:
    random = np.random.default_rng(1)
    if np.dtype(dtype).kind == "f":
        return random.random(shape).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_an_array_comes_back_as_an_array_of_its_type_and_shape(shape: tuple[int, ...], dtype: type) -> None:
    array = levels(shape, dtype)
    larger = nearest(3)(array)
    assert larger.dtype == array.dtype
    repeated = array.repeat(3, axis=0).repeat(3, axis=1)
    assert larger.shape == repeated.shape
    # Whole levels survive; floats pass through float32, gray ones through a mean of three equal numbers.
    tolerance = 0 if array.dtype.kind == "u" else 1e-6
    assert np.abs(larger.astype(np.float64) - repeated).max() <= tolerance


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_of_an_array_is_magnified_and_comes_back_last(channels: int) -> None:
    array = levels((6, 5, channels))
    array[:, :, -1] = 77
    larger = nearest(2)(array)
    assert larger.shape == (12, 10, channels)
    assert (larger[:, :, -1] == 77).all()
    assert np.array_equal(larger[:, :, :-1], array[:, :, :-1].repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_pil_image_comes_back_in_its_mode(mode: str) -> None:
    image = Image.fromarray(levels((6, 8, 4)), "RGBA").convert(mode)
    larger = nearest(2)(image)
    assert isinstance(larger, Image.Image) and larger.mode == mode and larger.size == (16, 12)


def test_a_path_gives_a_pil_image_with_its_profile(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(levels((6, 8, 3))).save(path, icc_profile=b"a profile")
    for given in (path, str(path)):
        larger = nearest(4)(given)
        assert larger.size == (32, 24) and larger.info["icc_profile"] == b"a profile"


def test_a_picture_keeps_what_is_not_pixels() -> None:
    picture = Picture(levels((4, 4, 3)), icc=b"profile", exif=b"exif", dpi=(72.0, 72.0), mode="RGB")
    larger = nearest(2)(picture)
    assert (larger.icc, larger.exif, larger.dpi, larger.mode) == (b"profile", b"exif", (72.0, 72.0), "RGB")
    assert (larger.height, larger.width) == (8, 8)
    assert (picture.height, picture.width) == (4, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [1, 3, 4, 10, 100])
def test_the_tile_size_changes_nothing(dtype: type, channels: int, tile: int) -> None:
    array = levels((13, 17, channels), dtype)
    whole = Upscaler(engine=BoxFilter(2))(array)
    assert np.array_equal(Upscaler(engine=BoxFilter(2), tile=tile)(array), whole)


def test_gray_is_rgb_with_equal_channels() -> None:
    gray = levels((9, 9))
    upscale = Upscaler(engine=BoxFilter(2))
    assert np.array_equal(upscale(gray), upscale(np.dstack([gray] * 3))[:, :, 0])


def test_float_output_is_not_rounded() -> None:
    rgb = levels((9, 9, 3))
    used = Upscaler(engine=BoxFilter(2), tile=4)
    exact = used.upscale_float(rgb)
    assert exact.dtype == np.float32
    assert np.array_equal(np.rint(np.clip(exact, 0, 1) * np.float32(255)).astype(np.uint8), used(rgb))
    assert not np.array_equal(exact * 255, np.rint(exact * 255))


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (530, 520)])
def test_alpha_in_tiles_equals_alpha_at_once(shape: tuple[int, int]) -> None:
    from superfine.images.resize import resize

    alpha = levels(shape)
    assert np.array_equal(magnify_alpha(alpha, 2), resize(alpha, (shape[0] * 2, shape[1] * 2)))


def test_float_alpha_stays_within_its_range() -> None:
    alpha = np.zeros((8, 8), np.float32)
    alpha[2:5, 2:5] = 1
    larger = magnify_alpha(alpha, 3)
    assert larger.min() >= 0 and larger.max() <= 1 and 0 < larger.mean() < 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc"), RuntimeError("CUDA out of memory.")])
@pytest.mark.parametrize("shape", [(60, 50, 3), (60, 50), (60, 50, 4)])
def test_when_memory_runs_out_the_tile_shrinks_and_no_bit_changes(shape: tuple[int, ...], error: Exception) -> None:
    array = levels(shape)
    used = Upscaler(engine=ShortOfMemory(2, 400, error), tile=40)
    assert np.array_equal(used(array), Upscaler(engine=BoxFilter(2))(array))
    window = used.plan(60, 50)[0].read
    assert window.height * window.width <= 400


def test_when_no_window_is_small_enough_one_line_says_so() -> None:
    with pytest.raises(EngineError, match="out of memory"):
        Upscaler(engine=ShortOfMemory(2, 8, MemoryError()))(levels((60, 50, 3)))


def test_an_engine_that_fails_for_another_reason_is_not_asked_again() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        Upscaler(engine=ShortOfMemory(2, 400, RuntimeError("broken")))(levels((60, 50, 3)))


def test_progress_counts_the_tiles() -> None:
    seen: list[tuple[int, int]] = []
    nearest(2, tile=5)(levels((10, 12, 3)), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(
    "wrong", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros(4), np.zeros((4, 4), np.int64)]
)
def test_an_array_that_is_no_picture_is_refused(wrong: NDArray[np.generic]) -> None:
    with pytest.raises(ImageError, match="want"):
        nearest()(wrong)


def test_other_mistakes_have_names() -> None:
    with pytest.raises(ImageError):
        nearest()(42)  # type: ignore[call-overload]
    with pytest.raises(ImageError):
        nearest()("no such picture.png")
    with pytest.raises(PlanError):
        Upscaler(engine="nearest", tile=0)
    with pytest.raises(ModelError):
        Upscaler("no-such-model")


def test_upscale_is_a_function_whatever_was_imported_before() -> None:
    import superfine.upscaling.tiles

    larger = superfine.upscale(levels((4, 5, 3)), 3, engine="nearest")
    assert larger.shape == (12, 15, 3)
    assert superfine.upscaling.tiles.plan_tiles is superfine.upscaling.plan_tiles


def test_importing_superfine_imports_neither_torch_nor_openvino() -> None:
    program = "import superfine, sys; print([m for m in ('torch', 'openvino', 'numpy', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_public_names_are_there() -> None:
    assert set(superfine.__all__) <= set(dir(superfine))
    assert superfine.Upscaler is Upscaler and superfine.__version__
    with pytest.raises(AttributeError, match="no attribute"):
        superfine.no_such_name  # noqa: B018
