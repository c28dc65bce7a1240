"""Prepare transparent pictures for upscaling, so that the edge of a cut-out gets no dark or light fringe.

Alpha is straight (not premultiplied): colour and alpha are upscaled separately. A network, or any filter, also
reads the invisible pixels beyond the edge of a cut-out. Their colour is arbitrary, most often black, so they first
get the colour of their visible neighbours:

    colour = extend_edges(picture.pixels, picture.alpha)     # then upscale colour and alpha separately
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.images.depth import Pixels

UNIFORM_RADIUS = 2
"""Radius in LR pixels: alpha that is constant this far around a pixel keeps its value when upscaled."""


def extend_edges(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Fill every fully transparent pixel from the visible pixels around it; leave the others as they are.

    pixels: HWC, uint8, uint16 or float32; alpha: HW of the same size, 0 means fully transparent.
    Returns the same type; the same array if nothing or everything is transparent. Beside the edge a filled pixel is
    the mean of its visible neighbours, weighted by their alpha; farther away it is a smoother mean.
    """
    clear = alpha == 0
    if not clear.any() or clear.all():
        return pixels
    filled = pixels.copy()
    weight = alpha.astype(np.float32)
    weight /= weight.max()
    # Gortler et al., The Lumigraph, 1996, section 3.4: pull known values up a pyramid, push them down into the holes.
    coarse = _whole(*_halve(pixels, weight))
    _push(filled, coarse, clear)
    _fill_beside(filled, pixels, weight, clear)
    return filled


def is_uniform_around(alpha: Pixels) -> NDArray[np.bool_]:
    """Return a mask (HW) of the pixels around which alpha is constant, so that upscaling must not change it."""
    low, high = alpha, alpha
    for axis in (0, 1):
        low = _extreme(np.minimum, low, axis)
        high = _extreme(np.maximum, high, axis)
    even: NDArray[np.bool_] = low == high
    return even


def _whole(colour: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide HWC weighted sums by their HW weights; take pixels without weight from the coarser level."""
    known = weight > 0
    own = np.divide(colour, weight[:, :, None], out=np.zeros_like(colour), where=known[:, :, None])
    if known.all():
        return own
    _push(own, _whole(*_halve(own, weight)), ~known)
    # Blocks of the coarser level would leave steps for the network to sharpen.
    smooth = _blur(own) / _blur(np.ones_like(weight))[:, :, None]
    np.copyto(own, smooth, where=~known[:, :, None])
    return own


def _halve(colour: Pixels, weight: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sum the weighted colour and the weight over blocks of 2x2 (smaller ones at an odd border)."""
    height, width = (weight.shape[0] + 1) // 2, (weight.shape[1] + 1) // 2
    sums = np.zeros((height, width, colour.shape[2]), np.float32)
    weights = np.zeros((height, width), np.float32)
    for down in (0, 1):
        for along in (0, 1):
            part = weight[down::2, along::2]
            rows, columns = part.shape
            weights[:rows, :columns] += part
            sums[:rows, :columns] += colour[down::2, along::2] * part[:, :, None]
    return sums, weights


def _push(fine: Pixels, coarse: NDArray[np.float32], where: NDArray[np.bool_]) -> None:
    """Copy coarse values into a level of twice the size, at the pixels of the mask `where`."""
    values = np.rint(coarse).astype(fine.dtype) if fine.dtype.kind == "u" else coarse
    for down in (0, 1):
        for along in (0, 1):
            part = fine[down::2, along::2]
            rows, columns = part.shape[:2]
            np.copyto(part, values[:rows, :columns], where=where[down::2, along::2, None])


def _fill_beside(filled: Pixels, pixels: Pixels, weight: NDArray[np.float32], clear: NDArray[np.bool_]) -> None:
    """Give transparent pixels that touch visible ones the mean of exactly those: the pyramid alone leaves a fringe."""
    height, width = clear.shape
    rows, columns = np.nonzero(clear & (_blur((~clear).astype(np.uint8)) > 0))
    total = np.zeros((len(rows), pixels.shape[2]), np.float32)
    weights = np.zeros(len(rows), np.float32)
    for down in (-1, 0, 1):
        for along in (-1, 0, 1):
            y, x = np.clip(rows + down, 0, height - 1), np.clip(columns + along, 0, width - 1)
            share = weight[y, x]
            total += pixels[y, x] * share[:, None]
            weights += share
    mean = total / weights[:, None]
    filled[rows, columns] = np.rint(mean) if pixels.dtype.kind == "u" else mean


def _blur(values: NDArray[Any]) -> NDArray[Any]:
    """Sum over the 3x3 neighbourhood inside the picture (not divided: weights are summed in the same way)."""
    for axis in (0, 1):
        total = values.copy()
        ahead = _slices(axis, slice(1, None))
        behind = _slices(axis, slice(None, -1))
        total[ahead] += values[behind]
        total[behind] += values[ahead]
        values = total
    return values


def _extreme(pick: Any, values: Pixels, axis: int) -> Pixels:
    """Apply `pick` (np.minimum or np.maximum) over UNIFORM_RADIUS neighbours on both sides along an axis."""
    out = values.copy()
    for shift in range(1, UNIFORM_RADIUS + 1):
        ahead, behind = _slices(axis, slice(shift, None)), _slices(axis, slice(None, -shift))
        out[ahead] = pick(out[ahead], values[behind])
        out[behind] = pick(out[behind], values[ahead])
    return out


def _slices(axis: int, part: slice) -> tuple[slice, ...]:
    """Return the index that takes `part` of axis 0 or 1."""
    return (part,) if axis == 0 else (slice(None), part)
