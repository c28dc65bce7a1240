"""Compute PSNR, SSIM and MS-SSIM of planes of numbers.

Which channel is measured, how it is rounded and which border is cut, a protocol says; see `protocols`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

PEAK = 255.0
SSIM_WINDOW = 11  # taps
SSIM_SIGMA = 1.5  # pixels


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"pictures of shape {left.shape} and {right.shape} cannot be compared; give two of one shape")
    if left.size == 0:
        raise ValueError(f"nothing to compare in pictures of shape {left.shape}")
    return left, right


def psnr(a: ArrayLike, b: ArrayLike) -> float:
    """Compute the peak signal-to-noise ratio, `10 log10(255² / MSE)`.

    Args:
        a, b: arrays of one shape, any number of axes, values on 0..255.

    Returns:
        dB; infinity when the two are equal.

    Raises:
        ValueError: the shapes differ, or hold nothing.
    """
    left, right = _pair(a, b)
    difference = (left - right).ravel()
    error = float(difference @ difference) / difference.size
    return math.inf if error == 0.0 else 10.0 * math.log10(PEAK * PEAK / error)


def gaussian(taps: int, sigma: float) -> NDArray[np.float64]:
    """Make a normalised Gaussian of `taps` values (odd) with standard deviation `sigma`, in pixels."""
    offsets = np.arange(taps) - taps // 2
    kernel = np.exp(-(offsets**2) / (2.0 * sigma * sigma))
    return np.asarray(kernel / kernel.sum())


def filter_valid(plane: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter by a symmetric odd kernel along both axes, keeping only where it lies wholly inside.

    Args:
        plane: `(height, width)`.
        kernel: `(taps,)`, symmetric.

    Returns:
        `(height - taps + 1, width - taps + 1)`.
    """
    half = len(kernel) // 2
    rows, columns = plane.shape[0] - 2 * half, plane.shape[1] - 2 * half
    # A symmetric kernel needs one product for each pair of mirrored taps.
    down = plane[half : half + rows] * kernel[half]
    for k in range(half):
        pair = plane[k : k + rows] + plane[2 * half - k : 2 * half - k + rows]
        pair *= kernel[k]
        down += pair
    out = down[:, half : half + columns] * kernel[half]
    for k in range(half):
        pair = down[:, k : k + columns] + down[:, 2 * half - k : 2 * half - k + columns]
        pair *= kernel[k]
        out += pair
    return np.asarray(out)


def ssim_parts(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the luminance map and the contrast-structure map, whose product is the SSIM map.

    Args:
        a, b: `(height, width)` float64 on 0..255, both sides at least 11.

    Returns:
        two maps of `(height - 10, width - 10)`.
    """
    kernel = gaussian(SSIM_WINDOW, SSIM_SIGMA)
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_a, mean_b = filter_valid(a, kernel), filter_valid(b, kernel)
    means, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    # The two variances are only ever needed as a sum, so one filtering does for both.
    variances = filter_valid(a * a + b * b, kernel) - squares
    covariance = filter_valid(a * b, kernel) - means
    return (2.0 * means + c1) / (squares + c1), (2.0 * covariance + c2) / (variances + c2)


def ssim(a: ArrayLike, b: ArrayLike) -> float:
    """Compute the structural similarity (Wang et al., 2004).

    The window is a Gaussian of 11x11 and sigma 1.5; the result is the mean of the map over its valid region.

    Args:
        a, b: `(height, width)` of one shape, values on 0..255, both sides at least 11 pixels.

    Returns:
        -1..1; 1 when the two are equal.

    Raises:
        ValueError: not two planes of one shape, or smaller than the window.
    """
    left, right = _pair(a, b)
    if left.ndim != 2 or min(left.shape) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs planes of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, not shape {left.shape}")
    luminance, structure = ssim_parts(left, right)
    return float((luminance * structure).mean())


MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang, Simoncelli, Bovik, 2003, table 1)."""


def _halve(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average 2x2 blocks; an odd last row or column is averaged with its mirror, as the authors' filter does."""
    even = np.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2)), mode="edge")
    return np.asarray((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4.0)


def ms_ssim(a: ArrayLike, b: ArrayLike) -> float:
    """Compute multi-scale structural similarity: contrast and structure at five scales, luminance at the coarsest.

    Args:
        a, b: `(height, width)` of one shape, values on 0..255, both sides at least 161 pixels.

    Returns:
        0..1; 1 when the two are equal. A negative mean at any scale counts as 0.

    Raises:
        ValueError: not two planes of one shape, or too small for the window at the fifth scale.
    """
    left, right = _pair(a, b)
    smallest = (SSIM_WINDOW - 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1
    if left.ndim != 2 or min(left.shape) < smallest:
        raise ValueError(f"MS-SSIM needs planes of at least {smallest}x{smallest} pixels, not shape {left.shape}")
    product = 1.0
    for level, weight in enumerate(MS_SSIM_WEIGHTS):
        luminance, structure = ssim_parts(left, right)
        last = level == len(MS_SSIM_WEIGHTS) - 1
        mean = float((luminance * structure if last else structure).mean())
        product *= max(mean, 0.0) ** weight
        left, right = _halve(left), _halve(right)
    return product
