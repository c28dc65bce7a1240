"""upscaling/tiled.py: the tile size changes nothing, memory that runs out changes nothing."""

import numpy as np
import pytest
from numpy.typing import NDArray

from box_filter import BoxFilter
from superfine.engines.nearest import NearestEngine
from superfine.errors import EngineError
from superfine.images import Picture
from superfine.upscaling import TiledUpscaler
from superfine.upscaling.kinds import from_pictures, to_pictures
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


def larger(engine: NearestEngine, array: NDArray[np.generic], tile: int | None = None) -> NDArray[np.generic]:
    """An array (HW, HWC, alpha last) through tiles of an engine."""
    return from_pictures([TiledUpscaler(engine, tile)(*to_pictures(array))], array)


def levels(shape: tuple[int, ...], dtype: type = np.uint8) -> NDArray[np.generic]:
    random = np.random.default_rng(1)
    if np.dtype(dtype).kind == "f":
        return random.random(shape).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def test_a_picture_keeps_what_is_not_pixels() -> None:
    picture = Picture(levels((4, 4, 3)), icc=b"profile", exif=b"exif", dpi=(72.0, 72.0), mode="RGB")
    done = TiledUpscaler(NearestEngine(2))(picture)
    assert (done.icc, done.exif, done.dpi, done.mode) == (b"profile", b"exif", (72.0, 72.0), "RGB")
    assert (done.height, done.width) == (8, 8)
    assert (picture.height, picture.width) == (4, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [1, 3, 4, 10, 100])
def test_the_tile_size_changes_nothing(dtype: type, channels: int, tile: int) -> None:
    array = levels((13, 17, channels), dtype)
    assert np.array_equal(larger(BoxFilter(2), array, tile), larger(BoxFilter(2), array))


def test_gray_is_rgb_with_equal_channels() -> None:
    gray = levels((9, 9))
    assert np.array_equal(larger(BoxFilter(2), gray), larger(BoxFilter(2), np.dstack([gray] * 3))[:, :, 0])


def test_float_output_is_not_rounded() -> None:
    rgb = levels((9, 9, 3))
    exact = TiledUpscaler(BoxFilter(2), tile=4).upscale_float(rgb)
    assert exact.dtype == np.float32
    assert np.array_equal(np.rint(np.clip(exact, 0, 1) * np.float32(255)).astype(np.uint8), larger(BoxFilter(2), rgb))
    assert not np.array_equal(exact * 255, np.rint(exact * 255))


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (530, 520)])
def test_alpha_in_tiles_equals_alpha_at_once(shape: tuple[int, int]) -> None:
    from superfine.images.resize import resize

    alpha = levels(shape)
    assert np.array_equal(magnify_alpha(alpha, 2), resize(alpha, (shape[0] * 2, shape[1] * 2)))


def test_float_alpha_stays_within_its_range() -> None:
    alpha = np.zeros((8, 8), np.float32)
    alpha[2:5, 2:5] = 1
    magnified = magnify_alpha(alpha, 3)
    assert magnified.min() >= 0 and magnified.max() <= 1 and 0 < magnified.mean() < 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc"), RuntimeError("CUDA out of memory.")])
@pytest.mark.parametrize("shape", [(60, 50, 3), (60, 50), (60, 50, 4)])
def test_when_memory_runs_out_the_tile_shrinks_and_no_bit_changes(shape: tuple[int, ...], error: Exception) -> None:
    array = levels(shape)
    used = TiledUpscaler(ShortOfMemory(2, 400, error), tile=40)
    assert np.array_equal(from_pictures([used(*to_pictures(array))], array), larger(BoxFilter(2), array))
    window = used.plan(60, 50)[0].read
    assert window.height * window.width <= 400


def test_when_no_window_is_small_enough_one_line_says_so() -> None:
    with pytest.raises(EngineError, match="out of memory"):
        larger(ShortOfMemory(2, 8, MemoryError()), levels((60, 50, 3)))


def test_an_engine_that_fails_for_another_reason_is_not_asked_again() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        larger(ShortOfMemory(2, 400, RuntimeError("broken")), levels((60, 50, 3)))


def test_progress_grows_with_every_tile() -> None:
    seen: list[float] = []
    TiledUpscaler(NearestEngine(2), tile=5)(Picture(levels((10, 12, 3))), seen.append)
    assert seen == [done / 6 for done in range(1, 7)]
