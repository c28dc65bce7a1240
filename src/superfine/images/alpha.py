"""Transparency, so that an upscaled cut-out has no dark or light fringe.

Alpha is straight here: colour and coverage are magnified apart and meet again in whatever composites
them. A network (or any filter) that magnifies the colour looks across the cut-out's edge, into
pixels nobody can see and whose colour is an accident, black most often. So those are given
the colour of their visible neighbours first:

    colour = extend_edges(picture.pixels, picture.alpha)     # then magnify colour, and magnify alpha
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.images.depth import Pixels

STEADY_REACH = 2
"""LR pixels: a sample whose neighbourhood of this radius is even is not touched by magnifying it."""


def extend_edges(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Pixels with every fully transparent one filled from the visible ones around it; the others as they were.

    pixels: HWC, uint8, uint16 or float32; alpha: HW of the same size, 0 meaning fully transparent.
    Returns the same type; the very same array where nothing or everything is transparent. Near the edge a filled
    pixel is the mean of its visible neighbours, weighted by their alpha; farther off it is a smoother one.
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


def steady(alpha: Pixels) -> NDArray[np.bool_]:
    """HW: where alpha is even in the whole neighbourhood, so that its magnified value must be the value itself."""
    low, high = alpha, alpha
    for axis in (0, 1):
        low = _extreme(np.minimum, low, axis)
        high = _extreme(np.maximum, high, axis)
    even: NDArray[np.bool_] = low == high
    return even


def _whole(colour: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """HWC weighted sums divided by their HW weights; where nothing is known, values of the coarser level."""
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
    """Sums over blocks of 2x2 of the weighted colour and of the weight; at an odd border, of what there is."""
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
    """Coarse values into a level of twice the size, where nothing is known there."""
    values = np.rint(coarse).astype(fine.dtype) if fine.dtype.kind == "u" else coarse
    for down in (0, 1):
        for along in (0, 1):
            part = fine[down::2, along::2]
            rows, columns = part.shape[:2]
            np.copyto(part, values[:rows, :columns], where=where[down::2, along::2, None])


def _fill_beside(filled: Pixels, pixels: Pixels, weight: NDArray[np.float32], clear: NDArray[np.bool_]) -> None:
    """Clear pixels that touch visible ones take the mean of exactly those: no fringe by way of the pyramid."""
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
    """Sum over the 3x3 neighbourhood (not divided: weights are summed alike), nothing beyond the border."""
    for axis in (0, 1):
        total = values.copy()
        ahead = _slices(axis, slice(1, None))
        behind = _slices(axis, slice(None, -1))
        total[ahead] += values[behind]
        total[behind] += values[ahead]
        values = total
    return values


def _extreme(pick: Any, values: Pixels, axis: int) -> Pixels:
    out = values.copy()
    for shift in range(1, STEADY_REACH + 1):
        ahead, behind = _slices(axis, slice(shift, None)), _slices(axis, slice(None, -shift))
        out[ahead] = pick(out[ahead], values[behind])
        out[behind] = pick(out[behind], values[ahead])
    return out


def _slices(axis: int, part: slice) -> tuple[slice, ...]:
    return (part,) if axis == 0 else (slice(None), part)
