"""The Python door: any kind of picture to any size, by network passes, then one fine downscale and a cut."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from itertools import groupby
from math import prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine.atomic import sha256_of
from superfine.engines import Engine, check_request, find_model, open_engine
from superfine.engines.base import runs_ahead
from superfine.errors import PlanError
from superfine.images.bands import BandedImage
from superfine.images.colour_codes import is_hdr
from superfine.images.picture import Picture
from superfine.images.provenance import Note
from superfine.images.rows import Rows
from superfine.images.tone_map import to_standard_range
from superfine.upscaling.auto import AUTO, CLEAN, PHOTO, Choice, choose
from superfine.upscaling.back_projection import Consistency, project_back
from superfine.upscaling.finish import Upscaled, finish, resolution_after
from superfine.upscaling.kinds import from_pictures, to_pictures
from superfine.upscaling.many import gains_by_many, upscale_many
from superfine.upscaling.memory import STREAMING_LIMIT, limit_memory, parse_memory, peak_of_plan, resident_memory
from superfine.upscaling.plan import DEFAULT_SCALE, Plan, Size, Target, make_target, plan_size
from superfine.upscaling.self_ensemble import SelfEnsembleEngine
from superfine.upscaling.tiled import Progress, TiledUpscaler, Watch, check_settings
from superfine.version import __version__
from superfine.weights import Model

if TYPE_CHECKING:
    import torch

Scale = float | Fraction | str
Kind = TypeVar("Kind", bound="Picture | NDArray[Any] | torch.Tensor")
"""The kinds that come back as what they were."""

_NEAREST_SCALES = (2, 3, 4)


class Upscaler:
    """One model, ready for any number of pictures of any kind, at any size.

        >>> with Upscaler() as upscaler:
        ...     upscaler("photo.jpg", scale=1.5).save("larger.png")
        ...     upscaler("photo.jpg", size=(3840, 2160), fit="cover").save("wallpaper.png")

    Engines are opened as sizes ask for them, and kept: the first picture of a size takes a moment longer. An Upscaler
    can be pickled, for other processes.

    Args:
        model: "auto" ("esrgcnn", or "esrgcnn-photo" for JPEGs and noisy pictures, by each picture's own evidence), a
            shipped name, the path of a weights file or an ONNX graph, or "hf:owner/name".
        device: "auto", "cpu", "gpu", "gpu:1", "cuda", "cuda:1", "mps", "vulkan", "vulkan:1".
        engine: "auto", "native", "openvino", "onnxruntime", "pytorch", "ncnn", "nearest" (repeats pixels), or an
            `Engine` of your own.
        precision: "auto" (16 bits where the hardware is faster in them), "fp32", "tf32" (NVIDIA GPUs), "int16"
            (native), "bf16", "fp16" or "int8".
        tile: LR pixels an inner tile keeps, at most; None chooses. The result is the same for every value.
        tta: the mean of eight turned and mirrored runs: a little better, eight times the work.
        back_projection: change every pass's result so that downscaling it gives its input back.
        memory: bytes, or "2GiB", that the process keeps below; what cannot be done so is refused with a PlanError.
        alpha: how transparency grows: "network", as sharp as the colour, or "bicubic", at no cost.
        tone_map: bring HDR pictures (PQ, HLG) to standard range, sRGB; otherwise they stay HDR.

    Raises:
        ModelError, CheckpointError: no such model, or a damaged file.
        EngineError: the engine is unknown; when it is opened, it is not installed or cannot do what was asked.
        PlanError: a tile, alpha or memory that makes no sense.
    """

    def __init__(
        self,
        model: str | PathLike[str] = AUTO,
        *,
        device: str = "auto",
        engine: str | Engine = "auto",
        precision: str = "auto",
        tile: int | None = None,
        tta: bool = False,
        back_projection: bool = False,
        memory: int | str | None = None,
        alpha: str = "network",
        tone_map: bool = False,
    ) -> None:
        check_settings(tile, alpha)
        if isinstance(engine, str):
            check_request(engine, precision, device)
        weightless = engine == "nearest" or not isinstance(engine, str)
        self._auto = model == AUTO and not weightless
        self._model: Model | None = None if weightless else find_model(CLEAN if self._auto else Path(model))
        self._engine, self._precision, self._device = engine, precision, device
        self._tile, self._alpha, self._tta, self.back_projection = tile, alpha, tta, back_projection
        self.memory = parse_memory(memory) if isinstance(memory, str) else memory
        self.tone_map = tone_map
        self.watch: Watch | None = None  # to be set before the first picture
        self._opened: dict[int, TiledUpscaler] = {}
        self._memory_before: int | None = None

    @overload
    def __call__(
        self,
        image: str | PathLike[str] | Image.Image,
        scale: Scale | None = None,
        *,
        progress: Progress | None = None,
        **size: Unpack[Size],
    ) -> Image.Image: ...
    @overload
    def __call__(
        self, image: Kind, scale: Scale | None = None, *, progress: Progress | None = None, **size: Unpack[Size]
    ) -> Kind: ...

    def __call__(
        self,
        image: Any,
        scale: Scale | None = None,
        *,
        width: int | None = None,
        height: int | None = None,
        long_edge: int | None = None,
        short_edge: int | None = None,
        megapixels: float | str | None = None,
        size: tuple[int, int] | str | None = None,
        print: str | None = None,
        fit: str = "contain",
        progress: Progress | None = None,
    ) -> Any:
        """Bring a picture to one size: 4 times as wide and high, unless another is named.

        A path or a PIL image gives a PIL image, a Picture a Picture, an array an array of its type, a tensor a tensor
        on its device. Arrays are HW (gray), HWC or NHWC, tensors CHW or NCHW, with 1 (gray), 2 (gray, alpha), 3 (RGB)
        or 4 (RGB, alpha) channels: uint8 0..255, uint16 0..65535 or floats 0..1. Gray stays gray, neutral RGB stays
        neutral, and metadata is carried.

        Args:
            image: the picture; the first of a file of several.
            scale: how many times as wide and high: 2, 1.5, "3/2".
            width, height, long_edge, short_edge: pixels of one side; the other follows.
            megapixels: millions of pixels.
            size: a box in pixels, (3840, 2160) or "3840x2160".
            print: a box on paper, "30x40cm@300dpi".
            fit: how a box is filled: "contain" (inside it), "cover" (filled, and cut around the middle) or "stretch".
            progress: called with the share that is done, 0..1, after every tile.

        Raises:
            ImageError: a picture that cannot be read, or an array of another kind.
            PlanError: two sizes, a size out of reach, or one that does not fit in the memory allowed.
            EngineError: an engine that is not installed, or cannot do what was asked.
        """
        target = make_target(
            scale, width=width, height=height, long_edge=long_edge, short_edge=short_edge, megapixels=megapixels,
            size=size, print=print, fit=fit,
        )  # fmt: skip
        pictures = to_pictures(image)
        results: list[Picture] = []

        def report(share: float) -> None:
            if progress is not None:
                progress((len(results) + share) / len(pictures))

        for upscaler, group in groupby(pictures, key=lambda picture: self.of(self.choose(picture))):
            like = list(group)
            if len(like) > 1 and all(gains_by_many(upscaler, picture, target) for picture in like):
                results += (each.picture for each in upscale_many(upscaler, like, target, report))
            else:
                for picture in like:
                    results.append(upscaler.upscale_picture(picture, target, report).picture)
        return from_pictures(results, image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the engines and their memory. A later call opens them again."""
        self._opened.clear()
        self.__dict__.pop("_photo", None)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}, "_memory_before": None, "watch": None}  # opened where they run

    def __repr__(self) -> str:
        used = self.engine
        return f"Upscaler({self.name!r}, engine={used.name!r}, precision={used.precision!r}, device={used.device!r})"

    def choose(self, source: Picture | Rows) -> Choice | None:
        """Choose the model for a picture by its own evidence; None unless the model is "auto". Raises ImageError."""
        return choose(source) if self._auto else None

    def of(self, choice: Choice | None) -> Upscaler:
        """Return the Upscaler of the chosen model: the same settings, and engines of its own."""
        if choice is None or choice.model != PHOTO or not self._auto:
            return self
        other = self._photo
        if self._opened and not other._opened:  # now, so that the pictures in memory are not taken for a part of it
            before = resident_memory()
            other.tiled(next(iter(self._opened)))
            other._memory_before = self.memory_before + max(0, resident_memory() - before)
        return other

    def on(self, device: str) -> Upscaler:
        """Return an Upscaler with the same settings for another device. Raises EngineError for a name that is none."""
        if isinstance(self._engine, str):
            check_request(self._engine, self._precision, device)
        if self.memory is not None:
            raise PlanError("a limit of memory is for one device: leave it out, or name one device")
        other = copy(self)
        other._device = device
        other.__dict__.pop("_photo", None)
        return other

    @property
    def candidates(self) -> tuple[Upscaler, ...]:
        """Every Upscaler that `of` may return."""
        return (self, self._photo) if self._auto else (self,)

    @cached_property
    def _photo(self) -> Upscaler:
        other = copy(self)
        other._auto, other._model, other.watch = False, find_model(PHOTO), self.watch
        other.__dict__.pop("digest", None)
        return other

    @property
    def scales(self) -> tuple[int, ...]:
        """Scales that one pass of the network can do."""
        if not isinstance(self._engine, str):
            return (self._engine.scale,)
        return _NEAREST_SCALES if self._model is None else self._model.scales

    @property
    def name(self) -> str:
        """The model's name, for messages."""
        if not isinstance(self._engine, str):
            return self._engine.name
        return "nearest" if self._model is None else self._model.name

    @property
    def engine(self) -> Engine:
        """The engine that computes: one of those that are open, or the one of the default scale, opened now."""
        if self._opened:
            return next(iter(self._opened.values())).engine
        return self.tiled(DEFAULT_SCALE if DEFAULT_SCALE in self.scales else self.scales[0]).engine

    def describe(self, scales: Iterable[int]) -> str:
        """Name what computes passes of these scales, for a person: "esrgcnn x2 x3, openvino bf16"."""
        used = sorted(set(scales))
        if not used:
            return "no network needed"
        engine = self.tiled(used[0]).engine
        where = "" if engine.device == "cpu" else f" on {engine.device}"
        return f"{self.name} {' '.join(f'x{scale}' for scale in used)}, {engine.name} {engine.precision}{where}"

    @property
    def remark(self) -> str:
        """A line about what tiling costs the network that is open; empty where results do not depend on tiles."""
        return getattr(self.engine, "remark", "")

    def note(self, across: float, down: float, choice: Choice | None = None) -> Note:
        """Say what made a result `across` times as wide and `down` times as high, to be put into its file."""
        scale = f"{across:.4g}" if f"{across:.4g}" == f"{down:.4g}" else f"{across:.4g}x{down:.4g}"
        return Note(f"superfine {__version__}", self.name, scale, self.digest, choice.reason if choice else "")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights file, in hexadecimal; empty where there is none."""
        return "" if self._model is None else sha256_of(self._model.weights)

    def tiled(self, scale: int) -> TiledUpscaler:
        """Open the network at one of `scales`, once. Raises EngineError."""
        if scale not in self._opened:
            engine = self._engine
            if isinstance(engine, str):
                engine = open_engine(self._model, scale, engine, self._precision, self._device)
            if self._tta:
                engine = SelfEnsembleEngine(engine)
            self._opened[scale] = TiledUpscaler(engine, self._tile, self._alpha, self.watch)
            self._memory_before = self._memory_before or resident_memory()
        return self._opened[scale]

    @property
    def memory_before(self) -> int:
        """Bytes of memory the process had when the first network was opened: what no limit can do anything about."""
        return self._memory_before or 0

    @property
    def seconds_in_windows(self) -> float:
        """Seconds that the networks have run so far, with cutting and stitching."""
        return sum(tiled.times.seconds for tiled in self._opened.values())

    @property
    def opened(self) -> tuple[TiledUpscaler, ...]:
        """The networks that are open, one a scale."""
        return tuple(self._opened.values())

    def plan(self, width: int, height: int, target: Target) -> Plan:
        """Plan how a picture of width x height pixels comes to a target. Raises PlanError."""
        work = (self._model.multiply_adds or None) if self._model else None
        return plan_size(width, height, target, self.scales, work)

    def upscale_picture(
        self, picture: Picture, target: Target, progress: Progress | None = None, *, beside: int = 0
    ) -> Upscaled:
        """Bring a Picture to a target, with everything that is not pixels. Raises PlanError, EngineError.

        beside: bytes of other pictures that are in memory meanwhile.
        """
        if self.tone_map:
            picture = to_standard_range(picture)
        plan = self.plan(picture.width, picture.height, target)
        for passed in range(len(plan.passes)):  # what does not fit is found out before anything runs
            self.limit_memory(picture, plan, passed, beside)
        consistency = []
        total, before = sum(plan.pixels_per_pass), 0
        for passed, scale in enumerate(plan.passes):
            self.limit_memory(picture, plan, passed, beside)
            pixels = picture.width * picture.height

            def report(share: float, before: int = before, pixels: int = pixels) -> None:
                if progress is not None:
                    progress((before + pixels * share) / total)

            larger, agreement = self.one_pass(picture, scale, report)
            if agreement is not None:
                consistency.append(agreement)
            picture, before = larger, before + pixels
        return Upscaled(finish(picture, plan, target.dpi), plan, tuple(consistency))

    def upscale_rows(
        self, rows: Rows, target: Target, progress: Progress | None = None
    ) -> tuple[BandedImage, Plan] | None:
        """Bring a picture to a target as bands of rows, computed when they are asked for; and give the plan.

        None where it cannot be had so: the plan is not one pass and nothing else, back-projection is asked for,
        transparency by bicubic, or HDR is to be tone-mapped. Raises PlanError at once, EngineError and ImageError as
        the bands come.
        """
        head, size = rows.head, (rows.head.width, rows.height)
        plan = self.plan(*size, target)
        whole = self.back_projection or (head.alpha is not None and self._alpha == "bicubic")
        if whole or (self.tone_map and is_hdr(head.icc)) or len(plan.passes) != 1 or plan.output != plan.enlarged:
            return None
        tiled = self.tiled(plan.passes[0])
        held = self.memory_before + rows.held
        room = STREAMING_LIMIT if runs_ahead(tiled.engine) else STREAMING_LIMIT // 2  # several windows are in memory
        limit = max(STREAMING_LIMIT, held + room) if self.memory is None else self.memory
        limit_memory(tiled, head, size, held, limit)
        width, height = plan.output
        pixels = np.empty((0, width, head.pixels.shape[2]), head.pixels.dtype)
        alpha = None if head.alpha is None else np.empty((0, width), head.alpha.dtype)
        head = replace(head, pixels=pixels, alpha=alpha, dpi=resolution_after(head.dpi, target.dpi), jpeg_quality=None)
        return BandedImage(head, height, tiled.bands(rows, progress)), plan

    def limit_memory(self, picture: Picture, plan: Plan, passed: int, beside: int = 0) -> None:
        """Fit a plan's pass number `passed` into the memory allowed, the pictures included. Raises PlanError."""
        tiled = self.tiled(plan.passes[passed])
        if self.memory is None:
            tiled.limit(None)
            return
        factor = prod(plan.passes[:passed])
        held = self.memory_before + beside + peak_of_plan(picture, plan)
        limit_memory(tiled, picture, (plan.source[0] * factor, plan.source[1] * factor), held, self.memory)

    def one_pass(
        self, picture: Picture, scale: int, progress: Progress | None = None
    ) -> tuple[Picture, Consistency | None]:
        """Run the network once; also say how well the result agrees with its input, if that was asked for."""
        larger = self.tiled(scale)(picture, progress)
        if not self.back_projection:
            return larger, None
        pixels, agreement = project_back(larger.pixels, picture.pixels, scale)
        return replace(larger, pixels=pixels), agreement
