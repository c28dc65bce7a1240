"""Bring frames to their output size: network passes, one fine downscale and a crop, planned once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from superfine.engines.base import runs_ahead
from superfine.images.picture import Picture
from superfine.images.resize import shrink
from superfine.upscaling import TiledUpscaler, Upscaler
from superfine.upscaling.kinds import to_pictures
from superfine.upscaling.plan import Plan, Target
from superfine.video.colour import Floats, Layout


@dataclass(frozen=True)
class Sizing:
    """The steps from a frame to its output size."""

    plan: Plan
    passes: tuple[TiledUpscaler, ...]

    @classmethod
    def by_target(
        cls, upscaler: Upscaler, width: int, height: int, target: Target, layout: Layout, *, turned: bool
    ) -> Sizing:
        """Plan the cheapest passes to a target, whose width and height are as a viewer sees them.

        turned: the video is shown turned by a quarter. With halved chroma, an odd side that was not requested in
        pixels loses one, because few players accept odd sizes.
        Raises PlanError.
        """
        target = _turned(target) if turned else target
        plan = upscaler.plan(width, height, target)
        even = _even(plan, target, layout)
        if even != plan.output:
            plan = upscaler.plan(width, height, Target(size=even, fit="stretch"))
        return cls(plan, tuple(upscaler.tiled(scale) for scale in plan.passes))

    def stream(self, frames: Iterable[Floats]) -> Iterator[Floats]:
        """Bring frames, HWC float32 0..1, RGB or RGBA, to the plan's output size, in order.

        Networks that run ahead take frames before the last result is used, and several as a batch.
        """
        pictures: Iterator[Picture] = (to_pictures(rgb)[0] for rgb in frames)
        for each in self.passes:
            pictures = each.stream(pictures)
        for picture in pictures:
            yield self._finished(picture)

    @property
    def runs_ahead(self) -> bool:
        """True if `stream` takes frames before the last result is used."""
        return any(runs_ahead(each.engine) for each in self.passes)

    def _finished(self, picture: Picture) -> Floats:
        rgb = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
        rgb = shrink(rgb, self.plan.resized)
        crop = self.plan.crop
        return rgb if crop is None else np.ascontiguousarray(rgb[crop.top : crop.bottom, crop.left : crop.right])

    @property
    def identity(self) -> list[object]:
        """All values that decide the pixels of a frame, in JSON's types, to recognise an interrupted run."""
        plan = self.plan
        cut = None if plan.crop is None else [plan.crop.top, plan.crop.left, plan.crop.bottom, plan.crop.right]
        engines = [[each.engine.name, each.engine.precision, each.scale] for each in self.passes]
        return [engines, list(plan.resized), cut]


def _turned(target: Target) -> Target:
    """Exchange width and height of a target."""
    size = None if target.size is None else (target.size[1], target.size[0])
    return replace(target, width=target.height, height=target.width, size=size)


def _even(plan: Plan, target: Target, layout: Layout) -> tuple[int, int]:
    """Return the plan's output size with even sides where chroma needs them and no exact side was requested."""
    if plan.resized == plan.enlarged or (target.size is not None and target.fit != "contain"):
        return plan.output  # a whole scale gives what it gives, and a box is a box
    wide, high = target.size or (target.width, target.height)
    edges = (target.long_edge, target.short_edge)

    def even(side: int, span: int, asked: int | None) -> int:
        return side if side % span == 0 or side == asked or side in edges else max(span, side - 1)

    return even(plan.output[0], layout.across, wide), even(plan.output[1], layout.down, high)
