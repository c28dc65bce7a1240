"""What a plan will cost, before it is carried out: one window is really run, and the rest is counted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from time import perf_counter

import numpy as np

from superfine.images.depth import Pixels
from superfine.images.files import write
from superfine.images.picture import Picture
from superfine.upscale.enlarge import Enlarger, finish
from superfine.upscale.plan import Plan, Target

_SAMPLE = 512
"""Pixels a side of the piece of the result whose encoding is timed."""


@dataclass(frozen=True)
class Estimate:
    """Of one picture, from file to file."""

    plan: Plan
    memory: int
    """Bytes the process needs at its peak."""
    seconds: float


class Estimator:
    """Times what an Enlarger does on this machine, and counts from there.

    Opening a network, compiling it for a window's shape and running it are timed apart, each once: a batch of like
    pictures pays for the first only.
    """

    def __init__(self, enlarger: Enlarger) -> None:
        self.enlarger = enlarger
        self._runs: dict[tuple[object, ...], float] = {}

    def __call__(self, picture: Picture, target: Target, format: str, reading: float) -> Estimate:
        """The cost of one picture. format: suffix of the result. reading: seconds its file took to read.

        Raises PlanError and EngineError as Enlarger does.
        """
        plan = self.enlarger.plan(picture.width, picture.height, target)
        seconds, (width, height), sample = reading, plan.source, picture
        for scale in plan.passes:
            spent, sample = self._one_pass(picture, height, width, scale)
            seconds, width, height = seconds + spent, width * scale, height * scale
        sample = _window(sample, min(sample.height, _SAMPLE), min(sample.width, _SAMPLE))
        started = perf_counter()
        done = finish(sample, _plan_of_sample(plan, sample), target.dpi)
        write(done, BytesIO(), format=format)
        share = plan.output[0] * plan.output[1] / (done.width * done.height)
        seconds += (perf_counter() - started) * share
        return Estimate(plan, _used() + _buffers(picture, plan), seconds)

    def _one_pass(self, picture: Picture, height: int, width: int, scale: int) -> tuple[float, Picture]:
        """Seconds for a pass over height x width pixels, and what it makes of one window."""
        started = perf_counter()
        tiles = self.enlarger.upscaler(scale).plan(height, width)
        opening = perf_counter() - started  # once a scale; nothing after that
        window = _window(picture, tiles[0].read.height, tiles[0].read.width)
        key = (scale, window.pixels.shape, window.pixels.dtype, window.alpha is not None)
        first, larger = self._timed(window, scale)
        compiling = 0.0
        if key not in self._runs:
            self._runs[key], _ = self._timed(window, scale)
            compiling = max(0.0, first - self._runs[key])
        return opening + compiling + len(tiles) * self._runs[key], larger

    def _timed(self, window: Picture, scale: int) -> tuple[float, Picture]:
        started = perf_counter()
        larger, _ = self.enlarger.one_pass(window, scale)
        return perf_counter() - started, larger


def _window(picture: Picture, height: int, width: int) -> Picture:
    """A piece of that size out of the picture's top left corner; where it is too small, repeated."""

    def cut(values: Pixels) -> Pixels:
        rows, columns = np.arange(height) % values.shape[0], np.arange(width) % values.shape[1]
        return np.ascontiguousarray(values[rows][:, columns])

    alpha = None if picture.alpha is None else cut(picture.alpha)
    return replace(picture, pixels=cut(picture.pixels), alpha=alpha)


def _plan_of_sample(plan: Plan, sample: Picture) -> Plan:
    """The plan's downscale, for a piece of what its passes give."""
    wide, high = plan.enlarged
    resized = max(1, sample.width * plan.resized[0] // wide), max(1, sample.height * plan.resized[1] // high)
    return Plan((sample.width, sample.height), (), resized, None)


def _used() -> int:
    """Bytes this process has needed at most so far: interpreter, libraries, the network and its activations."""
    if sys.platform == "win32":
        return _UNKNOWN
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


_UNKNOWN = 500_000_000
"""Bytes, where the system does not say."""

_PILLOW = 4
"""Bytes a pixel takes in Pillow, which encodes; RGB as much as RGBA."""


def _buffers(picture: Picture, plan: Plan) -> int:
    """Bytes of the pictures that are in memory at once, at the worst moment."""
    channels = picture.pixels.shape[2] + (picture.alpha is not None)
    each = channels * picture.pixels.dtype.itemsize
    sizes = [plan.source]
    for scale in plan.passes:
        sizes.append((sizes[-1][0] * scale, sizes[-1][1] * scale))
    moments = [a[0] * a[1] * each + b[0] * b[1] * each for a, b in pairwise(sizes)]
    enlarged, output = (size[0] * size[1] for size in (plan.enlarged, plan.output))
    if plan.resized != plan.enlarged:
        # Channel by channel: a plane and Pillow's copy of it, beside both pictures.
        plane = picture.pixels.dtype.itemsize * 2
        moments.append(enlarged * (each + plane) + output * each)
    moments.append(output * (each + _PILLOW))
    return int(max(moments))
