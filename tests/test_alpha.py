"""Transparency: no fringe, no bleeding, opaque stays opaque."""

import numpy as np
import pytest

from superfine.engines.nearest import NearestEngine
from superfine.errors import PlanError
from superfine.images import Picture
from superfine.images.alpha import extend_edges, is_uniform_around
from superfine.images.convert import flatten
from superfine.upscaling import Upscaler


def disc(size: int, soft: float) -> np.ndarray:
    """HW uint8: a disc with an edge `soft` pixels wide."""
    rows, columns = np.mgrid[:size, :size]
    inside = 0.37 * size - np.hypot(rows - size / 2, columns - size / 2)
    return np.rint(np.clip(inside / soft + 0.5, 0, 1) * 255).astype(np.uint8)


def stripes(size: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    waves = [np.sin(rows / 5), np.cos(columns / 7), np.sin((rows + columns) / 9)]
    return np.rint(np.stack(waves, axis=2) * 70 + 128).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_visible_pixels_are_never_touched_and_hidden_ones_come_from_them(dtype: type) -> None:
    alpha = disc(41, 3).astype(dtype)
    pixels = np.zeros((41, 41, 3), dtype)
    pixels[alpha > 0] = (100, 50, 25)
    pixels[alpha == 0] = 1
    filled = extend_edges(pixels, alpha)
    assert filled.dtype == dtype
    np.testing.assert_allclose(filled, np.broadcast_to(np.array([100, 50, 25], dtype), filled.shape), rtol=1e-5)
    assert (pixels[alpha == 0] == 1).all(), "the input is not written to"


def test_pixels_beside_the_edge_are_the_weighted_mean_of_visible_neighbours() -> None:
    alpha = np.array([[255, 0, 51], [0, 0, 0], [0, 0, 0]], np.uint8)
    pixels = np.array([[200, 9, 80], [9, 9, 9], [9, 9, 9]], np.uint8)[:, :, None]
    filled = extend_edges(pixels, alpha)[:, :, 0]
    # Five parts of the opaque 200 and one of the fifth-opaque 80 make 180.
    assert filled[0, 1] == filled[1, 1] == 180
    assert filled[1, 0] == 200 and filled[1, 2] == 80


@pytest.mark.parametrize("level", [0, 255])
def test_nothing_or_everything_visible_changes_nothing(level: int) -> None:
    pixels = stripes(9)
    assert extend_edges(pixels, np.full((9, 9), level, np.uint8)) is pixels


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (2, 3), (17, 33)])
def test_every_shape_is_filled(shape: tuple[int, int]) -> None:
    alpha = np.zeros(shape, np.uint8)
    alpha[-1, -1] = 3
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[-1, -1] = (7, 8, 9)
    np.testing.assert_array_equal(extend_edges(pixels, alpha), np.broadcast_to((7, 8, 9), pixels.shape))


def test_steady_means_an_even_neighbourhood_of_two_pixels() -> None:
    alpha = np.full((9, 9), 255, np.uint8)
    alpha[4, 4] = 0
    expected = np.ones((9, 9), bool)
    expected[2:7, 2:7] = False
    np.testing.assert_array_equal(is_uniform_around(alpha), expected)


@pytest.mark.parametrize("alpha", ["network", "bicubic"])
@pytest.mark.parametrize("tile", [None, 16])
def test_what_is_hidden_never_shows(alpha: str, tile: int | None) -> None:
    """The result is the same to the bit whatever colour lies under full transparency."""
    upscaler = Upscaler("esrgcnn", tile=tile, alpha=alpha)
    mask = disc(48, 1)
    results = []
    for hidden in ((0, 0, 0), (255, 255, 255), (255, 0, 255)):
        pixels = stripes(48)
        pixels[mask == 0] = hidden
        results.append(upscaler(Picture(pixels, mask), 2))
    for other in results[1:]:
        np.testing.assert_array_equal(other.pixels, results[0].pixels)
        np.testing.assert_array_equal(other.alpha, results[0].alpha)


@pytest.mark.parametrize("soft", [0.01, 1, 8])
@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
def test_composite_of_the_result_is_the_result_of_the_composite(soft: float, background: tuple[int, int, int]) -> None:
    """No dark or light fringe: along the edge, compositing after is what compositing before would have given."""
    upscaler = Upscaler("esrgcnn")
    mask = disc(64, soft)
    pixels = stripes(64)
    pixels[mask == 0] = 0
    picture = Picture(pixels, mask)
    after = flatten(upscaler(picture, 2), background).pixels.astype(float)
    before = upscaler(flatten(picture, background), 2).pixels.astype(float)
    larger = upscaler(picture, 2).alpha
    edge = (larger > 0) & (larger < 255)
    # A fringe would shift the edge's mean towards black or white, by tens of levels; single pixels of a hard edge may
    # differ, the more the better the weights sharpen, for what is sharpened is not the same.
    assert np.abs((after - before)[edge].mean(axis=0)).max() < (6 if soft < 1 else 3)
    assert np.abs(after - before).mean() < (3 if soft < 1 else 1.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_opaque_stays_opaque_and_clear_clear(dtype: type) -> None:
    peak = 1 if dtype is np.float32 else np.iinfo(dtype).max
    mask = np.zeros((40, 44), dtype)
    mask[10:30, 12:32] = peak
    pixels = (stripes(44)[:40] / 255 * peak).astype(dtype)
    larger = Upscaler("esrgcnn")(Picture(pixels, mask), 2).alpha
    assert larger.dtype == dtype
    assert (larger[28:52, 32:56] == peak).all()
    assert (larger[:14] == 0).all() and (larger[:, :18] == 0).all()


def test_tiled_alpha_equals_whole() -> None:
    mask = disc(60, 2)
    whole = Upscaler("esrgcnn")(Picture(stripes(60), mask), 3).alpha
    for tile in (7, 20, 33):
        np.testing.assert_array_equal(Upscaler("esrgcnn", tile=tile)(Picture(stripes(60), mask), 3).alpha, whole)


def test_unknown_way_of_growing_is_named() -> None:
    with pytest.raises(PlanError, match="network or bicubic"):
        Upscaler(engine=NearestEngine(2), alpha="magic")
