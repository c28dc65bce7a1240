"""Shrink a photograph, enlarge it again by bicubic and both networks, and measure each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from superfine.errors import ImageError
from superfine.images.resize import crop_to_multiple, downscale, resize
from superfine.quality import protocols
from superfine.upscaling import Upscaler

PHOTOGRAPH = Path(__file__).with_name("budgerigar.jpg")
PHOTOGRAPH_BY = "Photograph: budgie-backgrounds, CC0 1.0 (public domain)."
PHOTOGRAPH_CROP = (108, 348)
"""(top, left) of the part the sheet shows: the eye, and feathers barred as finely as the small picture can hold."""

MODELS = ("cfsrcnn", "esrgcnn")
SCALES = (2, 3, 4)
PROTOCOL = "standard"

SMALLEST = 96
"""Pixels a side: room for the border a protocol cuts, the SSIM window and the sheet's zoomed crop."""


@dataclass(frozen=True)
class Contender:
    """A way to enlarge the small picture, its result, and its figures under PROTOCOL."""

    name: str
    pixels: NDArray[np.uint8]  # HWC RGB, the original's size
    psnr: float  # dB
    ssim: float  # -1..1
    seconds: float  # for this picture, with the engine already open


@dataclass(frozen=True)
class Comparison:
    """The results at one scale: one row of the sheet."""

    scale: int
    original: NDArray[np.uint8]  # HWC RGB, sides divisible by the scale
    lr: NDArray[np.uint8]  # HWC RGB, 1 / scale of the original
    contenders: tuple[Contender, ...]  # bicubic first
    engine: str  # "openvino, bf16"


def compare(
    photograph: NDArray[np.uint8], scales: Sequence[int] = SCALES, models: Sequence[str] = MODELS
) -> Iterator[Comparison]:
    """Compare scale by scale; each Comparison comes as soon as it is done.

    photograph: HWC uint8 RGB, at least SMALLEST pixels a side; it is cut to a size that the scale divides.
    Raises ImageError for a smaller one, ModelError and EngineError as Upscaler does.
    """
    height, width = photograph.shape[:2]
    if min(height, width) < SMALLEST:
        raise ImageError(f"a {width}x{height} photograph is too small to compare: at least {SMALLEST} pixels a side")
    for scale in scales:
        original = np.ascontiguousarray(crop_to_multiple(photograph, scale))
        lr = downscale(original, scale)
        started = perf_counter()
        enlarged = resize(lr, (original.shape[0], original.shape[1]))
        contenders = [_measured("bicubic", enlarged, original, scale, perf_counter() - started)]
        engine = ""
        for model in models:
            upscaler = Upscaler(model)
            upscaler(lr, scale)  # the first run compiles for this size
            started = perf_counter()
            enlarged = upscaler(lr, scale)
            contenders.append(_measured(model, enlarged, original, scale, perf_counter() - started))
            engine = f"{upscaler.engine.name}, {upscaler.engine.precision}"
        yield Comparison(scale, original, lr, tuple(contenders), engine)


def _measured(
    name: str, enlarged: NDArray[np.uint8], original: NDArray[np.uint8], scale: int, seconds: float
) -> Contender:
    figures = protocols.measure(enlarged, original, scale, PROTOCOL)
    return Contender(name, enlarged, figures["psnr"], figures["ssim"], seconds)
