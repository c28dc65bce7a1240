"""Target sizes: integers in, integers out."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superfine.errors import PlanError
from superfine.upscaling.plan import (
    Target,
    cheapest_passes,
    parse_megapixels,
    parse_print,
    parse_scale,
    parse_size,
    plan_size,
)

SCALES = (2, 3, 4)
WORK = {"esrgcnn": {2: 1354, 3: 1547, 4: 1965}, "cfsrcnn": {2: 1868, 3: 2983, 4: 4691}}
"""Thousands of multiply-adds per LR pixel of a pass: see tests/test_nets.py."""
SIDES = st.integers(1, 5000)


def planned(width: int, height: int, /, **wish: object) -> tuple[tuple[int, ...], tuple[int, int], tuple[int, int]]:
    plan = plan_size(width, height, Target(**wish), SCALES, WORK["esrgcnn"])  # type: ignore[arg-type]
    return plan.passes, plan.enlarged, plan.output


def test_whole_scales_are_one_pass_and_no_downscale() -> None:
    for scale in SCALES:
        size = (640 * scale, 427 * scale)
        assert planned(640, 427, scale=Fraction(scale)) == ((scale,), size, size)


@pytest.mark.parametrize(
    ("wish", "passes", "output"),
    [
        ({"scale": Fraction(3, 2)}, (2,), (960, 720)),
        ({"scale": Fraction(5)}, (2, 3), (3200, 2400)),
        ({"scale": Fraction(15, 2)}, (2, 4), (4800, 3600)),
        ({"scale": Fraction(16)}, (4, 4), (10240, 7680)),
        ({"scale": Fraction(1)}, (), (640, 480)),
        ({"scale": Fraction(1, 2)}, (), (320, 240)),
        ({"width": 1000}, (2,), (1000, 750)),
        ({"height": 1000}, (3,), (1333, 1000)),
        ({"long_edge": 2000}, (4,), (2000, 1500)),
        ({"short_edge": 961}, (3,), (1281, 961)),
        ({"pixels": 12_000_000}, (2, 4), (4000, 3000)),
        ({"size": (1920, 1080)}, (3,), (1440, 1080)),
        ({"size": (1920, 1080), "fit": "cover"}, (3,), (1920, 1080)),
        ({"size": (1920, 1080), "fit": "stretch"}, (3,), (1920, 1080)),
    ],
)
def test_a_wish_gives_the_exact_size(wish: dict[str, object], passes: tuple[int, ...], output: tuple[int, int]) -> None:
    found, _, size = planned(640, 480, **wish)
    assert size == output
    assert found == passes


def test_cover_cuts_around_the_middle() -> None:
    plan = plan_size(640, 480, Target(size=(1920, 1080), fit="cover"), SCALES)
    assert plan.resized == (1920, 1440)
    assert plan.crop is not None
    assert (plan.crop.top, plan.crop.bottom, plan.crop.left, plan.crop.right) == (180, 1260, 0, 1920)


@settings(deadline=None)
@given(SIDES, SIDES, st.sampled_from(["width", "height", "long_edge", "short_edge"]), st.integers(1, 20000))
def test_a_side_comes_out_as_asked_and_is_never_enlarged_by_resampling(w: int, h: int, name: str, side: int) -> None:
    pick = {"width": lambda s: s[0], "height": lambda s: s[1], "long_edge": max, "short_edge": min}[name]
    try:
        plan = plan_size(w, h, Target(**{name: side}), SCALES, WORK["cfsrcnn"])  # type: ignore[arg-type]
    except PlanError:
        assert side / pick((w, h)) > 63 or side * max(w, h) / min(w, h) > 2**19
        return
    assert pick(plan.output) == side
    assert plan.enlarged[0] >= plan.resized[0] and plan.enlarged[1] >= plan.resized[1]
    assert abs(plan.output[0] * h - plan.output[1] * w) <= max(w, h)  # proportions, to a pixel


@settings(deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
def test_contain_fits_inside_and_cover_fills(w: int, h: int, wide: int, high: int) -> None:
    try:
        inside = plan_size(w, h, Target(size=(wide, high)), SCALES).output
        cover = plan_size(w, h, Target(size=(wide, high), fit="cover"), SCALES)
    except PlanError:
        return
    assert inside[0] <= wide and inside[1] <= high and (inside[0] == wide or inside[1] == high)
    assert cover.output == (wide, high)
    assert cover.resized[0] >= wide and cover.resized[1] >= high


@settings(deadline=None)
@given(st.integers(2, 64), st.sampled_from(sorted(WORK)), st.sampled_from([(2, 3, 4), (2,), (3,), (2, 4), (4,)]))
def test_no_other_passes_are_cheaper(factor: int, network: str, scales: tuple[int, ...]) -> None:
    work = WORK[network]

    def cost(passes: tuple[int, ...]) -> int:
        return sum(work[scale] * prod(passes[:i]) ** 2 for i, scale in enumerate(passes))

    every = [p for n in (1, 2, 3) for p in product(scales, repeat=n) if prod(p) >= factor]
    if not every:
        with pytest.raises(PlanError, match="out of reach"):
            cheapest_passes(factor, scales, work)
        return
    chosen = cheapest_passes(factor, scales, work)
    assert prod(chosen) >= factor
    assert cost(chosen) == min(map(cost, every))


def test_what_people_write_is_read() -> None:
    assert parse_scale("1.5") == Fraction(3, 2)
    assert parse_scale("x4") == 4
    assert parse_size("1920x1080") == (1920, 1080)
    assert parse_print("30x40cm@300dpi") == ((3543, 4724), 300)
    assert parse_print("8 x 10 in @ 240 dpi") == ((1920, 2400), 240)
    assert parse_megapixels("0.5") == 500_000


@pytest.mark.parametrize("text", ["0", "-1", "big", "", "1/0", "nan", "inf", "1e9", "1e400000000", "2,5"])
def test_a_scale_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="scale"):
        parse_scale(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_size, "1920"), (parse_size, "0x10"), (parse_print, "30x40@300"), (parse_print, "30x40cm@0dpi")]
    + [(parse_megapixels, text) for text in ("0", "-3", "many")],
)
def test_a_size_that_is_none_is_refused(parse: object, text: str) -> None:
    with pytest.raises(PlanError):
        parse(text)  # type: ignore[operator]


def test_sizes_out_of_reach_are_refused() -> None:
    with pytest.raises(PlanError, match="out of reach"):
        plan_size(100, 100, Target(scale=Fraction(65)), SCALES)
    with pytest.raises(PlanError, match="out of reach"):
        plan_size(10**6, 10, Target(scale=Fraction(2)), SCALES)
    with pytest.raises(PlanError, match="one target size"):
        Target(width=5, height=5)
    with pytest.raises(PlanError, match="unknown fit"):
        Target(size=(5, 5), fit="squeeze")
