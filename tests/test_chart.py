"""The report's charts: points where the numbers say, and inside the frame."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from superfine.training.report.chart import Line, chart


def test_a_chart_places_its_points_where_the_numbers_say() -> None:
    svg = chart("c", "x", "y", [Line("a", [(0, 0), (5, 5), (10, 10)], "c0", dots=True)], from_zero=True)
    dots = [(float(d.attrib["cx"]), float(d.attrib["cy"])) for d in ElementTree.fromstring(svg).iter("circle")]
    assert dots[1] == pytest.approx(((dots[0][0] + dots[2][0]) / 2, (dots[0][1] + dots[2][1]) / 2), abs=0.1)
    assert dots[0][0] < dots[2][0] and dots[0][1] > dots[2][1]
    labels = [text.text for text in ElementTree.fromstring(svg).iter("text")]
    assert {"0", "2", "10", "a", "x", "y"} <= set(labels)


@pytest.mark.parametrize(
    "points", [[(0, 3)], [(0, 0), (1, 0)], [(k, 10.0**-k) for k in range(5)], [(1e6, -5), (2e6, 5)]]
)
def test_a_chart_of_one_point_equal_points_or_wide_ranges_stays_inside_its_frame(points: list[Any]) -> None:
    svg = chart("c", "x", "y", [Line("a", points, "c0")], zero="zero" if min(y for _, y in points) <= 0 else "")
    (line,) = ElementTree.fromstring(svg).iter("polyline")
    for pair in line.attrib["points"].split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 640 and 0 <= y <= 300


def test_a_chart_without_points_is_nothing() -> None:
    assert chart("c", "x", "y", [Line("a", [], "c0")]) == ""
