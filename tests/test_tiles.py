"""upscaling/tiles.py: plans are integers, so they are tested without a picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superfine.errors import PlanError
from superfine.upscaling.tiles import Box, Tile, choose_tile, plan_tiles

few = settings(max_examples=40, deadline=None)
lengths = st.integers(1, 120)
halos = st.sampled_from([0, 1, 7, 26, 40])
tiles = st.integers(4, 220)


@few
@given(lengths, lengths, tiles, halos)
def test_kept_boxes_partition_the_picture(height: int, width: int, tile: int, halo: int) -> None:
    covered = np.zeros((height, width), int)
    for each in plan_tiles(height, width, tile, halo):
        covered[each.keep.top : each.keep.bottom, each.keep.left : each.keep.right] += 1
    assert (covered == 1).all()


@few
@given(lengths, lengths, tiles, halos)
def test_every_window_of_a_picture_has_one_size_and_lies_inside_it(
    height: int, width: int, tile: int, halo: int
) -> None:
    plan = plan_tiles(height, width, tile, halo)
    assert len({(each.read.height, each.read.width) for each in plan}) == 1
    for each in plan:
        assert each.read.top >= 0 and each.read.bottom <= height and each.read.left >= 0 and each.read.right <= width


@few
@given(lengths, lengths, tiles, halos)
def test_what_is_kept_lies_a_halo_inside_its_window_except_at_real_borders(
    height: int, width: int, tile: int, halo: int
) -> None:
    for each in plan_tiles(height, width, tile, halo):
        read, keep = each.read, each.keep
        assert read.top == 0 or keep.top - read.top >= halo
        assert read.left == 0 or keep.left - read.left >= halo
        assert read.bottom == height or read.bottom - keep.bottom >= halo
        assert read.right == width or read.right - keep.right >= halo


@few
@given(st.integers(1, 2000), tiles, halos)
def test_an_inner_tile_keeps_no_more_than_was_asked_and_no_tile_is_wasted(length: int, tile: int, halo: int) -> None:
    plan = plan_tiles(length, 1, tile, halo)
    assert all(each.keep.height <= tile for each in plan[1:-1])
    assert all(each.keep.height <= tile + halo for each in (plan[0], plan[-1]) if len(plan) > 1)
    assert len(plan) == max(1, -(-(length - 2 * halo) // tile))


@few
@given(st.integers(1, 400), tiles, st.sampled_from([0, 24, 156]), st.sampled_from([2, 4]))
def test_windows_begin_at_multiples_of_the_grid_and_keep_a_halo_from_their_cut_ends(
    length: int, tile: int, halo: int, grid: int
) -> None:
    plan = plan_tiles(length, 1, tile, halo, grid)
    assert all(each.read.top % grid == 0 for each in plan)
    assert all((each.read.bottom - each.read.top) % grid == 0 for each in plan[:-1])
    assert [each.keep.top for each in plan] == [0, *(each.keep.bottom for each in plan[:-1])]
    assert plan[-1].keep.bottom == plan[-1].read.bottom == length
    for each in plan:
        assert each.keep.height > 0 and (each.read.top == 0 or each.keep.top - each.read.top >= halo)
        assert each.read.bottom == length or each.read.bottom - each.keep.bottom >= halo


def test_a_picture_one_window_covers_is_one_tile_without_a_halo() -> None:
    whole = Box(0, 0, 70, 90)
    assert plan_tiles(70, 90, 10, 40) == [Tile(whole, whole)]


def test_windows_are_moved_inside_by_hand() -> None:
    # 20 pixels, tiles of 6, halo 3: ceil((20 - 6) / 6) = 3 tiles, evened out to ceil(14 / 3) = 5, windows of 11.
    plan = plan_tiles(20, 1, 6, 3)
    assert [(each.read.top, each.read.bottom) for each in plan] == [(0, 11), (5, 16), (9, 20)]
    assert [(each.keep.top, each.keep.bottom) for each in plan] == [(0, 8), (8, 12), (12, 20)]


@few
@given(st.integers(1, 3000), st.integers(1, 3000), halos, st.sampled_from([96**2, 200**2, 512**2]))
def test_the_chosen_tile_has_a_window_within_the_limit(height: int, width: int, halo: int, most: int) -> None:
    window = plan_tiles(height, width, choose_tile(height, width, halo, most), halo)[0].read
    assert window.height * window.width <= max(most, (2 * halo + 1) ** 2)


@few
@given(st.integers(1, 700), st.integers(1, 700), halos)
def test_the_chosen_tile_computes_no_more_than_any_square_one_within_the_limit(
    height: int, width: int, halo: int
) -> None:
    most = 200**2

    def work(tile: int | tuple[int, int]) -> int:
        return sum(each.read.height * each.read.width for each in plan_tiles(height, width, tile, halo))

    squares = [tile for tile in range(20, 200 - 2 * halo + 1, 20)]
    # Evening tiles out over a side that they do not divide may cost a row or two more than a square does.
    assert work(choose_tile(height, width, halo, most)) <= 1.02 * min(map(work, squares))


def test_a_picture_that_fits_is_run_whole() -> None:
    assert len(plan_tiles(360, 360, choose_tile(360, 360, 40, 512 * 512), 40)) == 1


def test_boxes_scale_and_move() -> None:
    assert Box(1, 2, 3, 5).scaled(4) == Box(4, 8, 12, 20)
    assert Box(5, 7, 9, 8).inside(Box(4, 6, 20, 20)) == Box(1, 1, 5, 2)


@pytest.mark.parametrize("wrong", [(0, 5, 8, 1), (5, 0, 8, 1), (5, 5, 0, 1), (5, 5, 8, -1)])
def test_impossible_sizes_are_named(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(PlanError):
        plan_tiles(*wrong)
