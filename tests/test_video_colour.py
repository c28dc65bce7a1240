"""video/colour.py: the formulas of H.273, with one rounding and no drift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("av")  # the formulas do not need it, but the room they are in does
from superfine.video.colour import WEIGHTS, Layout, from_rgb, to_rgb

every_layout = pytest.mark.parametrize(
    "layout",
    [Layout("yuv", bits, matrix=matrix, full=full) for bits in (8, 10, 12) for matrix in WEIGHTS for full in (0, 1)]
    + [Layout("gray", bits, full=full) for bits in (8, 10) for full in (False, True)]
    + [Layout("rgb", bits, full=True) for bits in (8, 10, 16)],
    ids=str,
)


def pixel(values: tuple[int, ...], layout: Layout) -> np.ndarray:
    kind = np.uint8 if layout.bits == 8 else np.uint16
    return to_rgb([np.full((2, 2), value, kind) for value in values], layout)[0, 0]


@pytest.mark.parametrize(
    ("values", "layout", "rgb"),
    [
        ((16, 128, 128), Layout("yuv", 8), (0, 0, 0)),
        ((235, 128, 128), Layout("yuv", 8), (1, 1, 1)),
        ((0, 128, 128), Layout("yuv", 8, full=True), (0, 0, 0)),
        ((255, 128, 128), Layout("yuv", 8, full=True), (1, 1, 1)),
        ((940, 512, 512), Layout("yuv", 10), (1, 1, 1)),
        # pure red in the tables of BT.601, BT.709 and BT.2020
        ((81, 90, 240), Layout("yuv", 8, matrix=6), (1, 0, 0)),
        ((63, 102, 240), Layout("yuv", 8, matrix=1), (1, 0, 0)),
        ((294, 387, 960), Layout("yuv", 10, matrix=9), (1, 0, 0)),
        ((41, 240, 110), Layout("yuv", 8, matrix=5), (0, 0, 1)),
        ((235,), Layout("gray", 8), (1, 1, 1)),
        ((1023, 0, 512), Layout("rgb", 10, full=True), (1, 0, 512 / 1023)),
    ],
)
def test_known_colours(values: tuple[int, ...], layout: Layout, rgb: tuple[float, ...]) -> None:
    assert pixel(values, layout) == pytest.approx(rgb, abs=1.5 / 219)


@every_layout
def test_colours_come_back_within_half_a_level_unbiased(layout: Layout) -> None:
    shape = (64, 64, 1 if layout.kind == "gray" else 3)
    # away from the ends: beyond them colours are clipped, and do not come back
    values = 0.1 + 0.8 * np.random.default_rng(0).random(shape, dtype=np.float32)
    rgb = np.broadcast_to(values, (64, 64, 3))
    planes = from_rgb(rgb, layout)
    back = from_rgb(to_rgb(planes, layout), layout)
    assert all(np.array_equal(a, b) for a, b in zip(planes, back, strict=True))
    error = to_rgb(planes, layout) - rgb
    level = 1 / (219 * (layout.top + 1) / 256)  # of luma in video range, the coarser one
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.05 * level
    assert np.abs(error).max() < 2 * level  # half a level of luma and of both colour differences, times up to 1.9


@every_layout
def test_neutral_stays_neutral_to_the_bit(layout: Layout) -> None:
    middle = 1 << (layout.bits - 1)
    kind = np.uint8 if layout.bits == 8 else np.uint16
    y = np.arange(layout.top + 1, dtype=kind)[None]
    planes = {"yuv": [y, np.full_like(y, middle), np.full_like(y, middle)], "gray": [y], "rgb": [y, y, y]}[layout.kind]
    rgb = to_rgb(planes, layout)
    assert (rgb == rgb[:, :, :1]).all()
    assert np.array_equal(from_rgb(rgb, layout)[-1], planes[-1]) or layout.kind == "gray"


@given(
    height=st.integers(1, 9), width=st.integers(1, 9), across=st.integers(1, 2), down=st.integers(1, 2),
    u=st.integers(100, 156), v=st.integers(100, 156),
)  # fmt: skip
def test_flat_colour_survives_every_subsampling_and_odd_size(
    height: int, width: int, across: int, down: int, u: int, v: int
) -> None:
    layout = Layout("yuv", 8, across, down)
    shapes = layout.shapes(height, width)
    assert shapes[1] == (-(-height // down), -(-width // across))
    planes = [np.full(shape, value, np.uint8) for shape, value in zip(shapes, (120, u, v), strict=True)]
    back = from_rgb(to_rgb(planes, layout), layout)
    assert all(np.array_equal(a, b) for a, b in zip(planes, back, strict=True))


def test_chroma_stands_where_h264_places_it() -> None:
    # Chroma that rises by 4 a sample rises by 2 a pixel. Horizontally a sample stands on an even pixel, vertically
    # midway between two rows.
    layout = Layout("yuv", 8, 2, 2, full=True)
    x, y = np.meshgrid(np.arange(16), np.arange(16))
    u = (100 + 2 * x[::2, ::2]).astype(np.uint8)
    v = (100 + 2 * y[::2, ::2]).astype(np.uint8)
    planes = [np.full((16, 16), 128, np.uint8), u, v]
    full = replace(layout, across=1, down=1)
    _, u444, v444 = from_rgb(to_rgb(planes, layout), full)
    inner = slice(4, -4)
    assert np.array_equal(u444[inner, inner], (100 + 2 * x)[inner, inner])
    assert np.array_equal(v444[inner, inner], (100 + 2 * (y - 0.5))[inner, inner])


def test_a_ramp_survives_going_large_and_small_again() -> None:
    layout = Layout("yuv", 10, 2, 2)
    x, y = np.meshgrid(np.arange(12), np.arange(10))
    planes = [np.full((20, 24), 500, np.uint16), (480 + 4 * x).astype(np.uint16), (470 + 5 * y).astype(np.uint16)]
    back = from_rgb(to_rgb(planes, layout), layout)
    inner = slice(2, -2)
    assert all(np.array_equal(a[inner, inner], b[inner, inner]) for a, b in zip(planes, back, strict=True))


def test_alpha_is_full_range_and_comes_last() -> None:
    layout = Layout("yuv", 8, alpha=True)
    planes = [np.full((2, 2), value, np.uint8) for value in (235, 128, 128, 51)]
    rgba = to_rgb(planes, layout)
    assert rgba[0, 0] == pytest.approx((1, 1, 1, 0.2))
    assert all(np.array_equal(a, b) for a, b in zip(planes, from_rgb(rgba, layout), strict=True))
