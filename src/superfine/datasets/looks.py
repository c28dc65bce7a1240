"""Look at one picture of a data set, and recognise the same picture again and how its LR file was made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine import images
from superfine.errors import DataError, ImageError
from superfine.images.resize import downscale
from superfine.quality.metrics import psnr

_SIDE = 16
"""A fingerprint is of a picture of so many pixels a side."""

SAME_DB = 45.0
"""dB from which an LR file counts as made by a method: two programs' roundings of one filter are above 50 apart."""
ALTERED_DB = 26.0
"""dB from which it counts as made so and then altered, by JPEG or noise."""


@dataclass(frozen=True)
class Look:
    """The facts about one picture; `broken` is the only one of a file that cannot be read."""

    path: Path
    size: tuple[int, int] = (0, 0)
    """Width, height."""
    bits: int = 8
    """Of a channel; 32 for floating point."""
    gray: str = ""
    """"" for colour, "gray" for a gray file, "gray as RGB" for one with three equal channels."""
    alpha: bool = False
    """Has transparent pixels."""
    digest: str = ""
    """SHA-256 of size and pixels."""
    fingerprint: NDArray[np.float32] | None = None
    """See `fingerprint`."""
    broken: str = ""


def look(path: Path) -> Look:
    """Read one picture and describe it."""
    try:
        picture = images.read(path)
    except ImageError as error:
        return Look(path, broken=str(error))
    pixels = picture.pixels
    equal = pixels.shape[2] == 3 and bool((pixels == pixels[..., :1]).all())
    return Look(
        path,
        size=(pixels.shape[1], pixels.shape[0]),
        bits=pixels.itemsize * 8,
        gray="gray" if picture.is_gray else "gray as RGB" if equal else "",
        alpha=picture.alpha is not None and _is_transparent(picture.alpha),
        digest=hashlib.sha256(f"{pixels.shape}{pixels.dtype}".encode() + pixels.tobytes()).hexdigest(),
        fingerprint=fingerprint(pixels),
    )


def _is_transparent(alpha: NDArray[np.generic]) -> bool:
    full = 1 if alpha.dtype.kind == "f" else 2 ** (8 * alpha.itemsize) - 1
    return bool(np.asarray(alpha).min() < full)


def fingerprint(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return a unit vector that says where a small copy of the picture gets lighter and darker; HWC, any type.

    Two of the same picture, saved, resized or brightened otherwise, have a product near 1; two of different pictures
    one near 0. A picture of one colour gives zeros.
    """
    luma = np.asarray(pixels, np.float32).mean(axis=2)
    small = Image.fromarray(luma).resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX)
    values = np.asarray(small, np.float32)
    steps = np.concatenate([np.diff(values, axis=1)[:-1].ravel(), np.diff(values, axis=0)[:, :-1].ravel()])
    length = float(np.linalg.norm(steps))
    flat = length <= 1e-3 * float(np.abs(values).max() + 1e-12)
    unit: NDArray[np.float32] = np.asarray(steps * (0 if flat else 1 / length), np.float32)
    return unit


def _with_pillow(hr: NDArray[np.uint8], scale: int, kind: Image.Resampling) -> NDArray[np.uint8]:
    size = (hr.shape[1] // scale, hr.shape[0] // scale)
    return np.asarray(Image.fromarray(hr).resize(size, kind))


METHODS: dict[str, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]] = {
    "MATLAB's bicubic": downscale,
    "Pillow's bicubic": partial(_with_pillow, kind=Image.Resampling.BICUBIC),
    "Pillow's Lanczos": partial(_with_pillow, kind=Image.Resampling.LANCZOS),
    "Pillow's bilinear": partial(_with_pillow, kind=Image.Resampling.BILINEAR),
    "the mean of each square": partial(_with_pillow, kind=Image.Resampling.BOX),
    "pixels left out, no filter": lambda hr, scale: hr[::scale, ::scale],
    "pixels left out at the centre, no filter": lambda hr, scale: hr[scale // 2 :: scale, scale // 2 :: scale],
}
"""Name → a function that makes LR (uint8 HWC) of HR (sides multiples of the scale)."""


def how_made(hr: NDArray[np.uint8], lr: NDArray[np.uint8], scale: int) -> str:
    """Say how `lr` was made of `hr`, by making it in every known way and comparing; uint8 HWC, sides that match."""
    if lr.shape[0] * scale != hr.shape[0] or lr.shape[1] * scale != hr.shape[1]:
        raise DataError(f"HR of {hr.shape[1]}x{hr.shape[0]} and LR of {lr.shape[1]}x{lr.shape[0]} are no x{scale} pair")
    near = {name: float(psnr(_flat(make(hr, scale)), _flat(lr))) for name, make in METHODS.items()}
    name = max(near, key=lambda each: near[each])
    if near[name] == np.inf:
        return f"{name}, bit for bit"
    if near[name] >= SAME_DB:
        return f"like {name}"
    if near[name] >= ALTERED_DB:
        return f"most like {name}, then altered (JPEG, noise, blur)"
    return "like no known method: another picture, shifted or turned?"


def _flat(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return pixels.reshape(pixels.shape[0], -1).astype(np.float64)
