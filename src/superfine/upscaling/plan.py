"""From a requested size ("1.5 times", "3000 pixels wide", "30x40 cm at 300 dpi") to network passes and one downscale.

Integers and fractions only: no picture is touched, and the same request always gives the same pixels.
A network enlarges 2, 3 or 4 times; anything else is the next product up, then down to the exact size, so a
resampling filter never enlarges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import TypedDict

from superfine.errors import PlanError
from superfine.upscaling.tiles import Box

MOST_PASSES = 3
"""4 x 4 x 4: a picture 64 times as wide and high."""

LARGEST_SIDE = 2**20
"""Pixels of a side. A request beyond it is a slip of the finger."""

FITS = ("contain", "cover", "stretch")

DEFAULT_SCALE = 4


class Size(TypedDict, total=False):
    """The sizes a picture can be brought to, as Upscaler takes them beside a scale: one of all but `fit`."""

    width: int | None
    height: int | None
    long_edge: int | None
    short_edge: int | None
    megapixels: float | str | None
    size: tuple[int, int] | str | None
    """A box in pixels, (width, height) or "1920x1080"; see `fit`."""
    print: str | None
    """A box on paper, "30x40cm@300dpi" (mm, cm or in)."""
    fit: str


@dataclass(frozen=True)
class Target:
    """The requested size; exactly one of the fields before `fit` is set."""

    scale: Fraction | None = None
    width: int | None = None
    height: int | None = None
    long_edge: int | None = None
    short_edge: int | None = None
    pixels: int | None = None
    size: tuple[int, int] | None = None  # width, height
    fit: str = "contain"
    """The way a size is filled: "contain" (inside it), "cover" (filled, and cut around the middle), "stretch"."""
    dpi: int | None = None
    """Dots per inch the result is marked with, for a size on paper."""

    def __post_init__(self) -> None:
        requested = [self.scale, self.width, self.height, self.long_edge, self.short_edge, self.pixels, self.size]
        if sum(each is not None for each in requested) != 1:
            raise PlanError("one target size is wanted: a scale, a width, a height, an edge, megapixels or a size")
        if self.fit not in FITS:
            raise PlanError(f"unknown fit {self.fit!r}: choose one of {', '.join(FITS)}")


def make_target(
    scale: float | Fraction | str | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
    short_edge: int | None = None,
    megapixels: float | str | None = None,
    size: tuple[int, int] | str | None = None,
    print: str | None = None,
    fit: str = "contain",
    default_scale: int = DEFAULT_SCALE,
) -> Target:
    """Read one requested size, of numbers or of text as a command line has it; `default_scale` times if there is none.

    Raises PlanError for two sizes, and for one that is no size.
    """
    named = {
        "scale": scale, "width": width, "height": height, "long_edge": long_edge, "short_edge": short_edge,
        "megapixels": megapixels, "size": size, "print": print,
    }  # fmt: skip
    names = [name for name, value in named.items() if value is not None]
    if len(names) > 1:
        both = " and ".join(name.replace("_", "-") for name in names)
        raise PlanError(f"{both} contradict each other: name one size (a box of two sides is size)")
    for name, side in (("width", width), ("height", height), ("long edge", long_edge), ("short edge", short_edge)):
        if side is not None and (side != int(side) or side < 1):
            raise PlanError(f"{name} {side} is no whole number of pixels above 0")
    if not names:
        scale = default_scale
    box = parse_size(size) if isinstance(size, str) else size
    if box is not None and (len(box) != 2 or min(box) < 1 or box != tuple(map(int, box))):
        raise PlanError(f"size {box} is not (width, height) in whole pixels above 0, such as (1920, 1080)")
    dpi = None
    if print is not None:
        box, dpi = parse_print(print)
    return Target(
        scale=None if scale is None else parse_scale(str(scale)),
        width=width,
        height=height,
        long_edge=long_edge,
        short_edge=short_edge,
        pixels=None if megapixels is None else parse_megapixels(str(megapixels)),
        size=box,
        fit=fit,
        dpi=dpi,
    )


@dataclass(frozen=True)
class Plan:
    """The steps of a picture to its size; all sizes are (width, height) in pixels."""

    source: tuple[int, int]
    passes: tuple[int, ...]
    """Scales of the network passes, in order; none where the target is not larger than the source."""
    resized: tuple[int, int]
    """After the fine downscale; equal to what the passes give where none is needed."""
    crop: Box | None
    """The part of `resized` that is kept, where a size is covered."""

    @property
    def enlarged(self) -> tuple[int, int]:
        """Size after the passes."""
        factor = 1
        for scale in self.passes:
            factor *= scale
        return self.source[0] * factor, self.source[1] * factor

    @property
    def output(self) -> tuple[int, int]:
        return self.resized if self.crop is None else (self.crop.width, self.crop.height)

    @property
    def pixels_per_pass(self) -> list[int]:
        """Pixels that each pass reads."""
        sizes, (width, height) = [], self.source
        for scale in self.passes:
            sizes.append(width * height)
            width, height = width * scale, height * scale
        return sizes


def plan_size(
    width: int, height: int, target: Target, scales: Sequence[int], work: Mapping[int, int] | None = None
) -> Plan:
    """Plan the cheapest way from width x height pixels to a target, with a network that has `scales`.

    work: scale → cost of a pass per LR pixel, in any unit; the same for every scale if None.
    Raises PlanError for a target that no MOST_PASSES passes reach, or with a side over LARGEST_SIDE.
    """
    resized, output = _sizes(width, height, target)
    if max(resized) > LARGEST_SIDE:
        raise PlanError(f"a result of {resized[0]}x{resized[1]} pixels is out of reach: {LARGEST_SIDE} a side at most")
    need = max(-(-resized[0] // width), -(-resized[1] // height))  # the whole factor that covers both sides
    passes = cheapest_passes(need, scales, work)
    crop = None
    if output != resized:
        top, left = (resized[1] - output[1]) // 2, (resized[0] - output[0]) // 2
        crop = Box(top, left, top + output[1], left + output[0])
    return Plan((width, height), passes, resized, crop)


def cheapest_passes(factor: int, scales: Sequence[int], work: Mapping[int, int] | None = None) -> tuple[int, ...]:
    """Find the passes whose product is at least `factor` that cost least; none for a factor of 1.

    A pass costs work[scale] for every pixel it reads, so the small scales come first.
    """
    best: tuple[int, int, tuple[int, ...]] | None = None

    def search(passes: tuple[int, ...], product: int, cost: int) -> None:
        nonlocal best
        if product >= factor:
            if best is None or (cost, product) < best[:2]:
                best = (cost, product, passes)
            return
        if len(passes) < MOST_PASSES:
            for scale in scales:
                each = 1 if work is None else work[scale]
                search((*passes, scale), product * scale, cost + each * product * product)

    search((), 1, 0)
    if best is None:
        most = max(scales) ** MOST_PASSES
        raise PlanError(f"{factor} times as large is out of reach: at most {most} times, in {MOST_PASSES} passes")
    return best[2]


def _sizes(width: int, height: int, target: Target) -> tuple[tuple[int, int], tuple[int, int]]:
    """(size after resizing, size after cutting)."""
    if target.size is not None:
        wide, high = target.size
        if target.fit == "stretch":
            return target.size, target.size
        horizontal, vertical = Fraction(wide, width), Fraction(high, height)
        if target.fit == "cover":
            larger = max(horizontal, vertical)
            resized = (max(_round(width * larger), wide), max(_round(height * larger), high))
            return resized, target.size
        size = _scaled(width, height, min(horizontal, vertical))
        return size, size
    if target.pixels is not None:
        # Each side is the nearest whole number to the square root, found without a float.
        size = (_root(Fraction(target.pixels * width, height)), _root(Fraction(target.pixels * height, width)))
        return size, size
    size = _scaled(width, height, _factor(width, height, target))
    return size, size


def _factor(width: int, height: int, target: Target) -> Fraction:
    if target.scale is not None:
        return target.scale
    if target.width is not None:
        return Fraction(target.width, width)
    if target.height is not None:
        return Fraction(target.height, height)
    if target.long_edge is not None:
        return Fraction(target.long_edge, max(width, height))
    assert target.short_edge is not None
    return Fraction(target.short_edge, min(width, height))


def _scaled(width: int, height: int, factor: Fraction) -> tuple[int, int]:
    return max(1, _round(width * factor)), max(1, _round(height * factor))


def _round(value: Fraction) -> int:
    """To the nearest whole number, halves up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _root(value: Fraction) -> int:
    """Round the square root to a whole number, at least 1: floor(sqrt(4 v)) is odd where it rounds up."""
    return max(1, (isqrt(4 * value.numerator // value.denominator) + 1) // 2)


_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_INCHES = {"mm": Fraction(10, 254), "cm": Fraction(100, 254), "in": Fraction(1)}


def parse_scale(text: str) -> Fraction:
    """ "2", "1.5", "x4", "3/2" → a fraction over 0. Raises PlanError."""
    digits = text.strip().lower().removeprefix("x")
    scale = Fraction(digits) if re.fullmatch(rf"{_NUMBER}|\d+/0*[1-9]\d*", digits) else Fraction(0)
    if scale <= 0:
        raise PlanError(f"scale {text!r} is no number above 0: want one such as 2, 3, 4 or 1.5")
    return scale


def parse_size(text: str) -> tuple[int, int]:
    """ "1920x1080" → (1920, 1080), width first. Raises PlanError."""
    match = re.fullmatch(r"\s*(\d+)\s*[x×*]\s*(\d+)\s*", text.lower())
    if match is None or min(int(match[1]), int(match[2])) < 1:
        raise PlanError(f"size {text!r} is not WIDTHxHEIGHT in pixels, such as 1920x1080")
    return int(match[1]), int(match[2])


def parse_print(text: str) -> tuple[tuple[int, int], int]:
    """ "30x40cm@300dpi" → ((3543, 4724), 300): pixels, and dots per inch. Raises PlanError."""
    pattern = rf"\s*{_NUMBER}\s*[x×*]\s*{_NUMBER}\s*(mm|cm|in)\s*@\s*(\d+)\s*dpi\s*"
    match = re.fullmatch(pattern, text.lower())
    if match is None or int(match[4]) < 1:
        raise PlanError(f"print size {text!r} is not like 30x40cm@300dpi (mm, cm or in)")
    dpi = int(match[4])
    wide, high = (max(1, _round(Fraction(side) * _INCHES[match[3]] * dpi)) for side in (match[1], match[2]))
    return (wide, high), dpi


def parse_megapixels(text: str) -> int:
    """ "12", "0.5" → pixels. Raises PlanError."""
    match = re.fullmatch(_NUMBER, text.strip())
    pixels = _round(Fraction(match[0]) * 1_000_000) if match else 0
    if pixels < 1:
        raise PlanError(f"megapixels {text!r} is no number above 0, such as 12 or 0.5")
    return pixels
