"""A line chart as inline SVG, without script or font; colours come from the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 70, 14, 42
MOST_POINTS = 400

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line: its name (at its end), its points with x ascending, and the CSS class of its colour."""

    name: str
    points: Points
    colour: str
    dots: bool = False
    """Mark each point."""


def chart(
    title: str, x_label: str, y_label: str, lines: Sequence[Line], *, zero: str = "", from_zero: bool = False
) -> str:
    """Draw the chart as an <svg> element; nothing if no line has a point.

    zero: name of a dashed line at y = 0, if there should be one; from_zero: let the y axis begin at 0. An axis whose
    values are all positive and span a factor of ten is logarithmic otherwise.
    """
    lines = [Line(line.name, _thin(line.points), line.colour, line.dots) for line in lines if line.points]
    if not lines:
        return ""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + ([0.0] if zero or from_zero else [])
    log = 0 < 10 * min(ys) < max(ys)
    across = _Axis(min(0.0, *xs), max(xs) or 1.0, LEFT, WIDTH - RIGHT)
    up = _Axis(*_padded(min(ys), max(ys), log, from_zero), HEIGHT - BOTTOM, TOP, log=log)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for value in up.ticks(5):
        y = up.place(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    for value in across.ticks(6):
        x = across.place(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_number(value)}</text>'
        )
    if zero:
        y = up.place(0.0)
        parts.append(f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{WIDTH - RIGHT + 6}" y="{y + 4:.1f}">{escape(zero)}</text>')
    taken: list[float] = [up.place(0.0)] if zero else []
    for line in sorted(lines, key=lambda each: -each.points[-1][1]):
        parts += _draw(line, across, up, taken)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{escape(x_label)}</text>')
    parts.append(
        f'<text class="label" x="14" y="{middle}" transform="rotate(-90 14 {middle})">{escape(y_label)}</text>'
    )
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float  # pixels
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        share = ((math.log(value) if self.log else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """List round numbers inside the axis, `about` so many."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [m * 10.0**d for d in decades for m in (1, 2, 5)]
            return [value for value in found if self.low <= value <= self.high]
        raw = (self.high - self.low) / about
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw)
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _draw(line: Line, across: _Axis, up: _Axis, taken: list[float]) -> list[str]:
    places = [(across.place(x), up.place(y)) for x, y in line.points]
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="line {line.colour}" points="{text}"/>']
    if line.dots:
        parts += [f'<circle class="dot {line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
    x, y = places[-1]
    while any(abs(y - other) < 14 for other in taken):  # names do not overlap
        y += 2
    taken.append(y)
    parts.append(f'<text class="name {line.colour}" x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(line.name)}</text>')
    return parts


def _padded(low: float, high: float, log: bool, from_zero: bool) -> tuple[float, float]:
    if log:
        return low / 1.15, high * 1.15
    room = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return low if from_zero else low - room, high + room


def _thin(points: Points) -> Points:
    every = math.ceil(len(points) / MOST_POINTS)
    return [*points[:-1:every], points[-1]] if every > 1 else points


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e5 else f"{value:,.0f}"
