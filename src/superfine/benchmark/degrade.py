"""Degrade LR pictures as real photographs are: by JPEG compression, noise and blur."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine.benchmark.sets import Pair, pixel_hash
from superfine.errors import DataError
from superfine.quality.metrics import filter_valid, gaussian

RANGES = {"jpeg": (1.0, 100.0), "noise": (0.0, 255.0), "blur": (0.0, 20.0)}
"""kind → what its amount lies above (jpeg: at or above) and at most reaches"""


@dataclass(frozen=True)
class Degradation:
    """One thing that makes a picture worse.

    jpeg: `amount` is the quality that Pillow's encoder is asked for, with colour at half the resolution (4:2:0).
    noise: Gaussian noise, `amount` is its standard deviation in levels of 255. blur: Gaussian, in LR pixels.
    """

    kind: str
    amount: float

    def __str__(self) -> str:
        return f"{self.kind}:{self.amount:g}"

    def describe(self) -> str:
        """Say it in words: "JPEG of quality 40"."""
        match self.kind:
            case "jpeg":
                return f"JPEG of quality {self.amount:g}"
            case "noise":
                return f"Gaussian noise of sigma {self.amount:g} levels"
            case _:
                return f"Gaussian blur of sigma {self.amount:g} LR pixels"


def parse_degradations(text: str) -> tuple[Degradation, ...]:
    """Read "jpeg:40,noise:15,blur:1.0", one or several, in the order they are applied.

    Raises:
        DataError: an unknown kind, or an amount that is missing, no number or out of range.
    """
    return tuple(_parse(part.strip()) for part in text.split(","))


def _parse(text: str) -> Degradation:
    kind, _, number = text.partition(":")
    if kind not in RANGES:
        raise DataError(f"cannot degrade by {text!r}; write jpeg:40, noise:15 or blur:1.0, several joined by commas")
    low, high = RANGES[kind]
    try:
        amount = float(number)
    except ValueError:
        amount = float("nan")
    if kind == "jpeg" and not (low <= amount <= high and amount.is_integer()):
        raise DataError(f"no JPEG quality {number!r} in {text!r}; write a whole number from 1 to 100, as in jpeg:40")
    if not low < amount <= high and kind != "jpeg":
        raise DataError(f"no amount {number!r} in {text!r}; write a number above 0, up to {high:g}, as in {kind}:1.5")
    return Degradation(kind, amount)


def name_of(degradations: Sequence[Degradation]) -> str:
    """Write degradations as `parse_degradations` reads them."""
    return ",".join(map(str, degradations))


def degrade_pair(pair: Pair, degradations: Sequence[Degradation]) -> Pair:
    """Degrade the LR picture of a pair; a gray one stays gray."""
    if not degradations:
        return pair
    lr = degrade(pair.lr[..., :1] if pair.gray else pair.lr, degradations)
    return replace(pair, lr=np.repeat(lr, 3, axis=2) if pair.gray else lr)


def degrade(lr: NDArray[np.uint8], degradations: Sequence[Degradation]) -> NDArray[np.uint8]:
    """Apply degradations in order, each to the 8-bit result of the one before.

    Args:
        lr: (h, w, C) uint8, C = 1 (gray) or 3 (RGB).
        degradations: of `parse_degradations`.

    Returns:
        the same shape and type; the same for the same picture, every time.
    """
    for each in degradations:
        match each.kind:
            case "jpeg":
                lr = _compress(lr, int(each.amount))
            case "noise":
                # Seeded by the pixels: other pictures get other noise, and the same picture the same in every run.
                random = np.random.default_rng(int(pixel_hash(lr)[:16], 16))
                lr = _to_levels(lr + each.amount * random.standard_normal(lr.shape))
            case _:
                lr = _blur(lr, each.amount)
    return lr


def _compress(lr: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    # Named here, because Pillow's own choice of subsampling may change with its version.
    Image.fromarray(lr[..., 0] if lr.shape[2] == 1 else lr).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file)).reshape(lr.shape)


def _blur(lr: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    half = ceil(4 * sigma)
    kernel = gaussian(2 * half + 1, sigma)
    padded = np.pad(lr.astype(np.float64), ((half, half), (half, half), (0, 0)), mode="symmetric")
    return _to_levels(np.stack([filter_valid(padded[..., c], kernel) for c in range(lr.shape[2])], axis=2))


def _to_levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
