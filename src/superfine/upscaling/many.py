"""Bring many pictures to one target in a row, so that a network that runs ahead may take several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol

from superfine.engines.base import runs_ahead
from superfine.errors import SuperfineError
from superfine.images.picture import Picture
from superfine.images.tone_map import to_standard_range
from superfine.upscaling.finish import Upscaled, finish
from superfine.upscaling.plan import Plan, Target
from superfine.upscaling.tiled import Progress, TiledUpscaler


class Enlarger(Protocol):
    """The part of an Upscaler that is used here."""

    memory: int | None
    back_projection: bool
    tone_map: bool

    def plan(self, width: int, height: int, target: Target) -> Plan: ...

    def tiled(self, scale: int) -> TiledUpscaler: ...


def gains_by_many(upscaler: Enlarger, picture: Picture, target: Target) -> bool:
    """Say if a picture is better given to `upscale_many` than alone; False too for one that cannot be enlarged."""
    if upscaler.memory is not None or upscaler.back_projection:  # each picture has steps of its own
        return False
    try:
        passes = upscaler.plan(picture.width, picture.height, target).passes
        return bool(passes) and all(runs_ahead(upscaler.tiled(scale).engine) for scale in passes)
    except SuperfineError:
        return False


def upscale_many(
    upscaler: Enlarger, pictures: Iterable[Picture], target: Target, progress: Progress | None = None
) -> Iterator[Upscaled]:
    """Bring pictures for which `gains_by_many` is true to a target; yield the results in order.

    Pictures are taken before the last result is used. An error comes after the results of all pictures before.
    progress: of the last pass of each picture, in order.
    """
    plans: deque[Plan] = deque()

    def planned() -> Iterator[tuple[Picture, Plan]]:
        for given in pictures:
            picture = to_standard_range(given) if upscaler.tone_map else given
            yield picture, upscaler.plan(picture.width, picture.height, target)

    def begun(group: Iterable[tuple[Picture, Plan]]) -> Iterator[Picture]:
        for picture, plan in group:
            plans.append(plan)
            yield picture

    for passes, group in groupby(planned(), key=lambda each: each[1].passes):
        larger = begun(group)
        for number, scale in enumerate(passes, 1):
            tiled = upscaler.tiled(scale)
            tiled.limit(None)
            larger = tiled.stream(larger, progress if number == len(passes) else None)
        for picture in larger:
            plan = plans.popleft()
            yield Upscaled(finish(picture, plan, target.dpi), plan, ())
