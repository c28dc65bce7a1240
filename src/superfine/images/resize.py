"""Resampling exactly as MATLAB's `imresize` does it, on which every published super-resolution
figure rests: antialiased by stretching the kernel, symmetric at the borders, and for integer
pictures rounded and clipped after *each* of the two passes. (A float in between differs in about 14 %
of the pixels by one level.)
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""HW or HWC array of uint8, uint16 or a float type."""


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -0.5."""
    a, a2, a3 = np.abs(x), np.abs(x) ** 2, np.abs(x) ** 3
    near = (1.5 * a3 - 2.5 * a2 + 1) * (a <= 1)
    return near + (-0.5 * a3 + 2.5 * a2 - 4 * a + 2) * ((a > 1) & (a <= 2))


def _lanczos3(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sinc(x) * np.sinc(x / 3) * (np.abs(x) < 3)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1 - np.abs(x))


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "bicubic": (_cubic, 4.0),
    "lanczos": (_lanczos3, 6.0),
    "bilinear": (_triangle, 2.0),
    "nearest": (_box, 1.0),
}
"""kernel name → (function, support width in input pixels)."""


def taps(inputs: int, outputs: int, scale: float, kernel: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which input samples make each output sample of one axis, and how much of each.

    Returns `index` and `weight`, both (outputs, taps). Weights of a row sum to 1; indices are already
    mirrored at the ends. The nearest kernel is never stretched.
    """
    function, width = KERNELS[kernel]
    stretch = scale if scale < 1 and kernel != "nearest" else 1.0
    width = width / stretch
    # MATLAB's formulas count pixels from 1; their centres sit on whole numbers.
    centre = np.arange(1, outputs + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(centre - width / 2)
    index = left[:, None] + np.arange(ceil(width) + 2)
    weight = stretch * function(stretch * (centre[:, None] - index))
    weight /= weight.sum(axis=1, keepdims=True)
    mirrored = np.mod(index.astype(np.intp) - 1, 2 * inputs)
    index_in = np.where(mirrored < inputs, mirrored, 2 * inputs - 1 - mirrored)
    used = np.any(weight != 0, axis=0)
    return index_in[:, used], weight[:, used]


def _back_to(kind: np.dtype[Any], values: NDArray[np.float64]) -> Pixels:
    """Half away from zero and clipped, as MATLAB converts to an integer type; floats pass."""
    if kind.kind == "f":
        return values.astype(kind)
    top = np.iinfo(kind).max
    np.add(values, 0.5, out=values)
    np.floor(values, out=values)
    return np.clip(values, 0, top, out=values).astype(kind)


def _pass(image: Pixels, axis: int, outputs: int, scale: float, kernel: str) -> Pixels:
    index, weight = taps(image.shape[axis], outputs, scale, kernel)
    shape = [1] * image.ndim
    shape[axis] = outputs
    total = np.zeros((*image.shape[:axis], outputs, *image.shape[axis + 1 :]), dtype=np.float64)
    for k in range(index.shape[1]):
        total += np.take(image, index[:, k], axis=axis) * weight[:, k].reshape(shape)
    return _back_to(image.dtype, total)


def resize(
    image: Pixels, size: tuple[int, int], kernel: str = "bicubic", *, scale: tuple[float, float] | None = None
) -> Pixels:
    """Resample to `size` = (height, width), as MATLAB's `imresize(image, size, kernel)`.

    image: HW or HWC, uint8, uint16 (rounded and clipped after each pass) or float (untouched range).
    scale: the exact (vertical, horizontal) magnification where it is not size / old size, as for
        `imresize(image, factor)` on a side the factor does not divide.
    Raises ValueError for an empty size or an unknown kernel.
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}: choose from {', '.join(KERNELS)}")
    if min(size) < 1 or min(image.shape[:2]) < 1:
        raise ValueError(f"cannot resize {image.shape[:2]} to {size}: both need at least one pixel")
    factors = scale or (size[0] / image.shape[0], size[1] / image.shape[1])
    # MATLAB starts with the axis that shrinks most; on a tie with the vertical one.
    for axis in sorted((0, 1), key=lambda a: factors[a]):
        if size[axis] != image.shape[axis] or factors[axis] != 1:
            image = _pass(image, axis, size[axis], factors[axis], kernel)
    return image


def downscale(image: Pixels, factor: int | float) -> Pixels:
    """The low-resolution picture of super-resolution papers: MATLAB's `imresize(image, 1/factor, 'bicubic')`.

    HW or HWC; (h, w) → (ceil(h / factor), ceil(w / factor)); same type. Bit-exact for uint8.
    """
    size = (ceil(image.shape[0] / factor), ceil(image.shape[1] / factor))
    return resize(image, size, scale=(1 / factor, 1 / factor))


def crop_to_multiple(image: Pixels, factor: int) -> Pixels:
    """The top left part whose height and width `factor` divides (a view)."""
    return image[: image.shape[0] // factor * factor, : image.shape[1] // factor * factor]
