"""Find out by running it what an ONNX graph wants: layout, channels, scale, range of values, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.engines.foreign.graph import Array, Graph, reason
from superfine.errors import ModelError

RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
"""Ranges of values tried, the commonest first: (black, white)."""

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""Multiples of which a network's sides may have to be."""

WORKING = 20.0
"""dB that a graph must give back of a smooth picture to count as super-resolution; another range, or another kind of
network, gives 5 to 15."""

_MARGIN = 1.0
"""dB by which a less common range must win: without biases a network works in any range."""


@dataclass(frozen=True)
class Ends:
    """The ends of a graph: how a picture goes in and comes out."""

    scale: int
    layout: str
    """"NCHW" or "NHWC"."""
    channels: int
    """3, or 1 for luma."""
    given: tuple[float, float]
    """Black and white at the input."""
    taken: tuple[float, float]
    """Black and white at the output."""
    multiple: int
    """Sides are multiples of it."""
    side: tuple[int, int] | None
    """Height and width, where they are fixed."""

    def feed(self, graph: Graph, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a picture, NCHW float32 0..1, with one channel or three as the graph has."""
        low, high = self.given
        values: Array = picture * np.float32(high - low) + np.float32(low)
        sr = graph.run(_as_type(_laid_out(values, self.layout), graph.dtype)).astype(np.float32)
        sr = sr if self.layout == "NCHW" else sr.transpose(0, 3, 1, 2)
        low, high = self.taken
        result: NDArray[np.float32] = (sr - np.float32(low)) / np.float32(high - low)
        return result


def probe(graph: Graph, path: Path) -> Ends:
    """Find out what a graph wants. Raises ModelError unless it gives a picture back, larger by a whole factor."""
    free = _is_free(graph) or graph.free()
    layout, channels, multiple, scale, side = _sizes(graph, path, free)
    given, taken = _ranges(graph, path, Ends(scale, layout, channels, (0, 1), (0, 1), multiple, side))
    return Ends(scale, layout, channels, given, taken, multiple, side)


def _is_free(graph: Graph) -> bool:
    return sum(side is None for side in graph.shape[1:]) >= 2


def _sizes(graph: Graph, path: Path, free: bool) -> tuple[str, int, int, int, tuple[int, int] | None]:
    """Find layout, channels, multiple, scale, and the side where it is fixed, by sizes that run."""
    failure, ran = "it takes no picture of 3 channels or 1", False
    for layout, channels in product(("NCHW", "NHWC"), (3, 1)):
        axis, rest = (1, (2, 3)) if layout == "NCHW" else (3, (1, 2))
        if graph.shape[axis] not in (channels, None):
            continue
        height, width = (None if free else graph.shape[each] for each in rest)
        fixed = None if height is None or width is None else (height, width)
        for multiple in MULTIPLES if fixed is None else (1,):
            odd = 33 // multiple | 1  # an odd number of times, so that a larger multiple is seen
            scale, why, runs = _scale(graph, layout, channels, fixed or (odd * multiple, (odd + 2) * multiple))
            if scale:
                return layout, channels, multiple, scale, fixed
            if runs or not ran:  # what a run gave says more than a size that did not run
                failure, ran = why, ran or runs
    raise ModelError(f"{path} is no super-resolution graph: {failure}")


def _scale(graph: Graph, layout: str, channels: int, size: tuple[int, int]) -> tuple[int, str, bool]:
    """Run a gray picture; return the scale, or 0 and what was wrong, and True if it ran."""
    height, width = size
    values = _laid_out(np.full((1, channels, height, width), 0.5, np.float32), layout)
    try:
        found = graph.run(_as_type(values, graph.dtype)).shape
    except RuntimeError as error:
        return 0, f"it does not run at {width}x{height}: {reason(error)}", False
    if len(found) != 4:
        return 0, f"its output has {len(found)} axes, wanted 4", True
    out_channels, high, wide = found[1:] if layout == "NCHW" else (found[3], found[1], found[2])
    if out_channels != channels:
        return 0, f"{channels} channels go in and {out_channels} come out", True
    scale = high // height
    if scale < 2 or (high, wide) != (height * scale, width * scale):
        wanted = "wanted a picture larger by a whole factor of 2 or more"
        return 0, f"{width}x{height} pixels become {wide}x{high}; {wanted}", True
    return scale, "", True


def _ranges(graph: Graph, path: Path, ends: Ends) -> tuple[tuple[float, float], tuple[float, float]]:
    """Find the ranges at both ends with which a smooth picture comes back best."""
    height, width = ends.side or (48 // ends.multiple * ends.multiple or ends.multiple,) * 2
    small, large = (_smooth(height * s, width * s, ends.channels) for s in (1, ends.scale))
    inputs = ((0.0, 255.0),) if graph.dtype == np.uint8 else RANGES
    found: list[tuple[float, tuple[float, float], tuple[float, float]]] = []
    for given in inputs:
        raw = Ends(ends.scale, ends.layout, ends.channels, given, (0.0, 1.0), 1, ends.side).feed(graph, small)
        for taken in sorted(RANGES, key=lambda each: each != given):
            low, high = taken
            found.append((_psnr((raw - low) / (high - low), large), given, taken))
    best = max(each[0] for each in found)
    if not best >= WORKING:
        raise ModelError(
            f"{path} is no super-resolution graph: of a smooth picture it gives back {best:.0f} dB in the best of the "
            f"ranges 0..1, 0..255 and -1..1, wanted {WORKING:.0f}"
        )
    return next(each[1:] for each in found if each[0] >= best - _MARGIN)


def _smooth(height: int, width: int, channels: int) -> NDArray[np.float32]:
    """Draw slow waves, another in each channel, that look the same at every size: NCHW 0..1."""
    y, x = (np.arange(n)[:, None] + 0.5 for n in (height, width))
    y, x = y / height, x.T / width
    waves = [np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((2.0, 1.0), (-1.0, 1.5), (1.0, -2.0))]
    picture = [0.5 + c + 0.25 * wave for c, wave in zip((0.1, -0.05, -0.15), waves, strict=True)]
    return np.stack(picture[:channels])[None].astype(np.float32)


def _psnr(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    with np.errstate(all="ignore"):
        error = float(np.mean((found.astype(np.float64) - wanted) ** 2))
    return -10 * float(np.log10(max(error, 1e-12))) if np.isfinite(error) else -np.inf


def _laid_out(values: Array, layout: str) -> Array:
    return values if layout == "NCHW" else np.ascontiguousarray(values.transpose(0, 2, 3, 1))


def _as_type(values: Array, dtype: Any) -> Array:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8) if dtype == np.uint8 else values.astype(dtype)
