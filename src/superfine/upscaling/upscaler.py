"""A picture to any size: the plan's network passes, then its one downscale and its cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from os import PathLike
from pathlib import Path

import numpy as np

from superfine.atomic import sha256_of
from superfine.engines import Engine, open_engine
from superfine.images.bands import BandedImage
from superfine.images.picture import Picture
from superfine.images.provenance import Note
from superfine.images.resize import shrink
from superfine.images.rows import Rows
from superfine.upscaling.back_projection import Consistency, project_back
from superfine.upscaling.memory import STREAMED, fit, peak_of_plan, resident
from superfine.upscaling.plan import WORK, Plan, Target, plan_size
from superfine.upscaling.self_ensemble import SelfEnsembleEngine
from superfine.upscaling.stitch import Progress
from superfine.upscaling.tiled import Upscaler
from superfine.version import __version__
from superfine.weights import Model, find

_NEAREST_SCALES = (2, 3, 4)

Share = Callable[[float], None]
"""Called with how much of a picture is done, 0..1."""


@dataclass(frozen=True)
class Enlarged:
    """What became of a picture."""

    picture: Picture
    plan: Plan
    consistency: tuple[Consistency, ...]
    """Of every pass, where back-projection was asked for."""


class Enlarger:
    """One network at every scale it knows, engines opened as plans ask for them.

    model, engine, precision, tile, alpha: as Upscaler. tta: the mean of eight turned and mirrored runs.
    back_projection: change every pass's result so that downscaling it gives its input back. memory: bytes the process
    keeps below; pictures that cannot be had so are refused with a PlanError.

    Raises ModelError and CheckpointError on creation, EngineError when an engine is opened.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "esrgcnn",
        engine: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
        alpha: str = "network",
        *,
        tta: bool = False,
        back_projection: bool = False,
        memory: int | None = None,
    ) -> None:
        self._model: Model | None = None if engine == "nearest" else find(Path(model))
        self._engine, self._precision, self._tile, self._alpha = engine, precision, tile, alpha
        self._tta, self._back_projection = tta, back_projection
        self._upscalers: dict[int, Upscaler] = {}
        self.memory = memory
        self._before: int | None = None

    @property
    def scales(self) -> tuple[int, ...]:
        return _NEAREST_SCALES if self._model is None else self._model.scales

    @property
    def name(self) -> str:
        """Of the model, for messages."""
        return "nearest" if self._model is None else self._model.name

    def describe(self, scales: Iterable[int]) -> str:
        """What computes passes of these scales, for a person: "esrgcnn x2 x3, openvino bf16"."""
        used = sorted(set(scales))
        if not used:
            return "no network needed"
        engine = self.upscaler(used[0]).engine
        return f"{self.name} {' '.join(f'x{scale}' for scale in used)}, {engine.name} {engine.precision}"

    def note(self, across: float, down: float) -> Note:
        """What made a result `across` times as wide and `down` times as high, to be put into its file."""
        scale = f"{across:.4g}" if f"{across:.4g}" == f"{down:.4g}" else f"{across:.4g}x{down:.4g}"
        return Note(f"superfine {__version__}", self.name, scale, self.digest)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights file, in hexadecimal; empty where there is none."""
        return "" if self._model is None else sha256_of(self._model.weights)

    def upscaler(self, scale: int) -> Upscaler:
        """The Upscaler of one of `scales`, opened once."""
        if scale not in self._upscalers:
            engine: Engine = open_engine(self._model, scale, self._engine, self._precision)
            if self._tta:
                engine = SelfEnsembleEngine(engine)
            self._upscalers[scale] = Upscaler(engine=engine, tile=self._tile, alpha=self._alpha)
            self._before = self._before or resident()
        return self._upscalers[scale]

    @property
    def taken(self) -> int:
        """Bytes of memory the process had when the first network was opened: what no limit can do anything about."""
        return self._before or 0

    def plan(self, width: int, height: int, target: Target) -> Plan:
        """How a picture of width x height pixels comes to a target. Raises PlanError."""
        work = None if self._model is None else WORK.get(self._model.network)
        return plan_size(width, height, target, self.scales, work)

    def scroll(self, rows: Rows, target: Target, progress: Share | None = None) -> tuple[BandedImage, Plan] | None:
        """The picture at the target's size as bands of rows, enlarged when they are asked for, and the plan.

        None where it cannot be had so: the plan is not one pass and nothing else, back-projection is asked for, or
        transparency by bicubic. Raises PlanError at once, EngineError and ImageError as the bands come.
        """
        head, size = rows.head, (rows.head.width, rows.height)
        plan = self.plan(*size, target)
        whole = self._back_projection or (head.alpha is not None and self._alpha == "bicubic")
        if whole or len(plan.passes) != 1 or plan.output != plan.enlarged:
            return None
        upscaler = self.upscaler(plan.passes[0])
        taken = self.taken + rows.held
        limit = max(STREAMED, taken + STREAMED // 2) if self.memory is None else self.memory
        fit(upscaler, head, size, taken, limit)

        def report(done: int, tiles: int) -> None:
            if progress is not None:
                progress(done / tiles)

        width, height = plan.output
        pixels = np.empty((0, width, head.pixels.shape[2]), head.pixels.dtype)
        alpha = None if head.alpha is None else np.empty((0, width), head.alpha.dtype)
        head = replace(head, pixels=pixels, alpha=alpha, dpi=_marked(head.dpi, target.dpi))
        return BandedImage(head, height, upscaler.bands(rows, report)), plan

    def fit(self, picture: Picture, plan: Plan, passed: int, beside: int = 0) -> None:
        """Has a plan's pass number `passed` keep to the limit with the pictures in memory. Raises PlanError."""
        upscaler = self.upscaler(plan.passes[passed])
        if self.memory is None:
            upscaler.fit(None)
            return
        factor = prod(plan.passes[:passed])
        held = self.taken + beside + peak_of_plan(picture, plan)
        fit(upscaler, picture, (plan.source[0] * factor, plan.source[1] * factor), held, self.memory)

    def __call__(self, picture: Picture, target: Target, progress: Share | None = None, *, beside: int = 0) -> Enlarged:
        """The picture at the target's size, with everything that is not pixels. Raises PlanError, EngineError.

        beside: bytes of other pictures that are in memory meanwhile.
        """
        plan = self.plan(picture.width, picture.height, target)
        for passed in range(len(plan.passes)):  # what does not fit is found out before anything runs
            self.fit(picture, plan, passed, beside)
        consistency = []
        total, before = sum(plan.pixels_per_pass), 0
        for passed, scale in enumerate(plan.passes):
            self.fit(picture, plan, passed, beside)
            share = picture.width * picture.height

            def report(done: int, tiles: int, before: int = before, share: int = share) -> None:
                if progress is not None:
                    progress((before + share * done / tiles) / total)

            larger, agreement = self.one_pass(picture, scale, report)
            if agreement is not None:
                consistency.append(agreement)
            picture, before = larger, before + share
        return Enlarged(finish(picture, plan, target.dpi), plan, tuple(consistency))

    def one_pass(
        self, picture: Picture, scale: int, progress: Progress | None = None
    ) -> tuple[Picture, Consistency | None]:
        """The picture, `scale` times as large, and how well it agrees with its input, if that was asked for."""
        larger = self.upscaler(scale)(picture, progress=progress)
        if not self._back_projection:
            return larger, None
        pixels, agreement = project_back(larger.pixels, picture.pixels, scale)
        return replace(larger, pixels=pixels), agreement


def finish(picture: Picture, plan: Plan, dpi: int | None) -> Picture:
    """What follows the passes: the downscale, the cut, and the resolution a print was asked for at."""
    pixels, alpha = shrink(picture.pixels, plan.resized), picture.alpha
    if alpha is not None:
        alpha = shrink(alpha, plan.resized)
    if plan.crop is not None:
        rows, columns = slice(plan.crop.top, plan.crop.bottom), slice(plan.crop.left, plan.crop.right)
        pixels, alpha = pixels[rows, columns], None if alpha is None else alpha[rows, columns]
    return replace(picture, pixels=pixels, alpha=alpha, dpi=_marked(picture.dpi, dpi))


def _marked(found: tuple[float, float] | None, dpi: int | None) -> tuple[float, float] | None:
    return found if dpi is None else (float(dpi), float(dpi))
