"""Compute FSIM, the feature similarity index (Zhang et al., IEEE TIP 20, 2011), of two planes.

Two maps are compared: phase congruency, which marks edges and lines whatever their contrast
(Kovesi's log-Gabor form), and the gradient's magnitude (Scharr); the result is weighted by phase
congruency.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCALES = 4
ORIENTATIONS = 4
_SHORTEST = 6.0  # wavelength of the finest filter, pixels
_GROWTH = 2.0  # between wavelengths of neighbouring scales
_BANDWIDTH = 0.55  # of the log-Gabor filters
_SPREAD = math.pi / (ORIENTATIONS * 1.2)  # of the angular Gaussian, radians
_NOISE_SIGMAS = 2.0
_T1, _T2 = 0.85, 160.0  # the paper's constants, for pictures on 0..255
_LONG_SIDE = 256  # the paper's viewing distance: pictures are averaged down to about this


def _frequencies(size: int) -> NDArray[np.float64]:
    """List the frequencies of one axis in cycles a pixel, zero first, in Kovesi's convention for odd sizes."""
    half = size // 2
    steps = np.arange(-half, size - half) / (size - 1 if size % 2 else size)
    return np.asarray(np.fft.ifftshift(steps))


@lru_cache(maxsize=4)
def _filters(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Make the log-Gabor filters, (ORIENTATIONS, SCALES, height, width) over frequencies, and their noise gains.

    The gain of an orientation is the expected squared energy of noise over its power.
    """
    fy, fx = np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius, theta = np.hypot(fx, fy), np.arctan2(-fy, fx)
    # Without a low pass, the corners of the spectrum would upset the normalisation.
    low = 1.0 / (1.0 + (radius / 0.45) ** 30)
    radius[0, 0] = 1.0
    bands = []
    for scale in range(SCALES):
        centre = 1.0 / (_SHORTEST * _GROWTH**scale)
        band = np.exp(-(np.log(radius / centre) ** 2) / (2.0 * math.log(_BANDWIDTH) ** 2)) * low
        band[0, 0] = 0.0
        bands.append(band)
    filters = np.empty((ORIENTATIONS, SCALES, height, width))
    for o in range(ORIENTATIONS):
        away = np.angle(np.exp(1j * (theta - o * math.pi / ORIENTATIONS)))
        filters[o] = np.exp(-(away**2) / (2.0 * _SPREAD**2)) * np.stack(bands)
    # Noise: over all pairs of scales, sum of squares and of products of the filters' even parts, in space.
    space = np.fft.ifft2(filters).real * math.sqrt(height * width)
    squares = (space**2).sum(axis=(1, 2, 3))
    products = ((space.sum(axis=1) ** 2).sum(axis=(1, 2)) - squares) / 2.0
    finest = (filters[:, 0] ** 2).sum(axis=(1, 2))
    return filters.astype(np.float32), (2.0 * squares + 4.0 * products) / finest


def phase_congruency(plane: NDArray[np.float64]) -> NDArray[np.float32]:
    """Compute the phase congruency of a plane `(height, width)` on 0..255: 0 where flat, up to 1 on edges and lines.

    It runs in single precision, which moves the index by less than 1e-6.
    """
    filters, noise_gain = _filters(*plane.shape)
    spectrum = np.fft.fft2(plane.astype(np.float32))
    tiny = np.finfo(np.float32).eps
    energy_all = np.zeros(plane.shape, dtype=np.float32)
    amplitude_all = np.zeros(plane.shape, dtype=np.float32)
    for o in range(ORIENTATIONS):
        response = np.fft.ifft2(spectrum * filters[o])  # (SCALES, height, width): even + i odd
        amplitude = np.abs(response)
        total = response.sum(axis=0)
        length = np.abs(total)
        mean = total / (length + tiny)
        # Amplitude times (cosine - |sine|) of the deviation from the mean phase. The cosines sum, over the scales,
        # to the length of the total.
        sines = response.imag * mean.real
        sines -= response.real * mean.imag
        energy = length * np.abs(mean) - np.abs(sines, out=sines).sum(axis=0)
        # Noise power from the median response of the finest filter, as if Rayleigh distributed.
        power = _median(amplitude[0]) ** 2 / math.log(2.0)
        tau = math.sqrt(max(power * noise_gain[o], 0.0) / 2.0)
        threshold = tau * (math.sqrt(math.pi / 2.0) + _NOISE_SIGMAS * math.sqrt(2.0 - math.pi / 2.0))
        # 1.7: Kovesi's empirical correction for these filters.
        energy_all += np.maximum(energy - np.float32(threshold / 1.7), 0.0)
        amplitude_all += amplitude.sum(axis=0)
    return np.asarray((energy_all + tiny) / (amplitude_all + tiny))


def _median(values: NDArray[np.float32]) -> float:
    """Compute np.median in a tenth of its time: that also looks for values that are no numbers."""
    middle = values.size // 2
    ordered = np.partition(values.ravel(), middle)
    upper = float(ordered[middle])
    return upper if values.size % 2 else (float(ordered[:middle].max()) + upper) / 2.0


def gradient(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the magnitude of the Scharr gradient of a plane, black outside its border; same shape."""
    padded = np.pad(plane, 1)
    smooth_y = 3.0 * padded[:-2] + 10.0 * padded[1:-1] + 3.0 * padded[2:]
    smooth_x = 3.0 * padded[:, :-2] + 10.0 * padded[:, 1:-1] + 3.0 * padded[:, 2:]
    return np.hypot(smooth_y[:, 2:] - smooth_y[:, :-2], smooth_x[2:] - smooth_x[:-2]) / 16.0


def _average_down(plane: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    if factor == 1:
        return plane
    height, width = plane.shape[0] // factor, plane.shape[1] // factor
    blocks = plane[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return np.asarray(blocks.mean(axis=(1, 3)))


def fsim(a: ArrayLike, b: ArrayLike) -> float:
    """Compute the feature similarity of two planes.

    Args:
        a, b: `(height, width)` of one shape, values on 0..255.

    Returns:
        0..1; 1 when the two are equal.

    Raises:
        ValueError: not two planes of one shape, or smaller than 8 pixels a side.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 2 or min(left.shape) < 8:
        raise ValueError(f"FSIM needs two planes of one shape, at least 8x8 pixels, not {left.shape} and {right.shape}")
    factor = max(1, round(min(left.shape) / _LONG_SIDE))
    left, right = _average_down(left, factor), _average_down(right, factor)
    _filters(*left.shape)  # once, before two threads ask for them
    # Nearly all the time goes into transforms, which run without Python's lock: two cores do two pictures.
    with ThreadPoolExecutor(2) as pool:
        pc_a, pc_b = pool.map(phase_congruency, (left, right))
    gradient_a, gradient_b = gradient(left), gradient(right)
    alike = (2.0 * pc_a * pc_b + _T1) / (pc_a**2 + pc_b**2 + _T1)
    alike *= (2.0 * gradient_a * gradient_b + _T2) / (gradient_a**2 + gradient_b**2 + _T2)
    weight = np.maximum(pc_a, pc_b)
    return float((alike * weight).sum() / weight.sum())
