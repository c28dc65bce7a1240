"""Define what exactly a published figure means: the rounding, colour and border of every protocol.

The same weights give 37.65 dB or 37.80 dB on Set5 x2 depending on these choices, so no figure is
printed without the name of its protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from superfine.cores import cores
from superfine.errors import DataError
from superfine.images.profile import rgb_to_y
from superfine.images.resize import downscale
from superfine.quality import metrics
from superfine.quality.fsim import fsim
from superfine.quality.perceptual import DISTANCES, open_distance


@dataclass(frozen=True)
class Protocol:
    """The rules that turn two pictures into planes to compare."""

    name: str
    rounding: Literal["truncate", "round"]  # of the super-resolved picture, clamped, to uint8
    colour: Literal["y", "rgb"]  # luma by MATLAB's formula, or the three channels
    y_rounding: Literal["uint8", "float"]  # luma rounded to whole levels, or left as it is
    gray: Literal["as-rgb", "as-gray"]  # a gray picture opened as RGB (luma 16..235), or its levels as luma (0..255)
    crop: int  # pixels cut from every side, as a multiple of the scale
    note: str


_ALL = (
    Protocol("paper", "truncate", "y", "uint8", "as-rgb", 1, "as the CFSRCNN and ESRGCNN papers measured"),
    Protocol("standard", "round", "y", "float", "as-rgb", 1, "as most of the field reports"),
    Protocol(
        "matlab", "round", "y", "uint8", "as-gray", 1,
        "as MATLAB's rgb2ycbcr of 8-bit pictures gives it; the SelfExSR figures, bicubic Set5 x2 33.64",
    ),
    Protocol("rgb", "round", "rgb", "float", "as-rgb", 1, "all three channels, as in perceptual and real-world work"),
)  # fmt: skip
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}

PlaneMetric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]

METRICS: dict[str, PlaneMetric] = {
    "psnr": metrics.psnr,
    "ssim": metrics.ssim,
    "ms-ssim": metrics.ms_ssim,
    "fsim": fsim,
}
"""name → the function that compares two planes on 0..255; higher is better for all"""

LOWER_IS_BETTER = frozenset(DISTANCES)
"""Metrics of how different two pictures are, and not of how alike."""


def protocol_named(name: str) -> Protocol:
    """Look up a protocol by name; raise DataError, which lists the known ones, if there is none."""
    if name not in PROTOCOLS:
        raise DataError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def quantise(sr: NDArray[np.floating] | NDArray[np.uint8], protocol: Protocol) -> NDArray[np.uint8]:
    """Round a super-resolved picture to 8 bits as the protocol would have saved it.

    Args:
        sr: any shape; uint8 passes as it is; floats are on 0..1, unclamped.
        protocol: how to round.
    """
    if sr.dtype == np.uint8:
        return np.asarray(sr, dtype=np.uint8)
    if sr.dtype.kind != "f":
        raise DataError(f"a super-resolved picture must be uint8 or float on 0..1, not {sr.dtype}")
    levels = np.clip(sr.astype(np.float32) * np.float32(metrics.PEAK), 0.0, metrics.PEAK)
    whole = np.floor(levels) if protocol.rounding == "truncate" else np.rint(levels)
    return np.asarray(whole, dtype=np.uint8)


def planes(picture: NDArray[np.uint8], scale: int, protocol: Protocol) -> list[NDArray[np.float64]]:
    """Make the planes that the protocol compares, on 0..255, border already cut.

    Args:
        picture: HW, HWC with C = 1 (gray) or 3 (RGB), uint8.
        scale: 1 or more; the border cut from each side is `protocol.crop * scale` pixels.
        protocol: which colour, which rounding, which border.

    Returns:
        one plane (luma) or three (R, G, B), each `(height - 2 border, width - 2 border)`.

    Raises:
        DataError: not such a picture, or nothing left inside the border.
    """
    image = picture[..., None] if picture.ndim == 2 else picture
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise DataError(f"protocols compare 8-bit gray or RGB pictures, not {picture.dtype} of shape {picture.shape}")
    border = protocol.crop * scale
    if min(image.shape[:2]) <= 2 * border:
        raise DataError(f"a {image.shape[1]}x{image.shape[0]} picture has nothing left inside a {border}-pixel border")
    image = image[border : image.shape[0] - border, border : image.shape[1] - border]
    gray = image.shape[2] == 1
    if gray and protocol.gray == "as-gray":
        return [image[..., 0].astype(np.float64)]
    if gray:
        image = np.repeat(image, 3, axis=2)
    if protocol.colour == "rgb":
        return [image[..., channel].astype(np.float64) for channel in range(3)]
    luma = rgb_to_y(image)
    return [np.rint(luma) if protocol.y_rounding == "uint8" else luma]


def planes_to_compare(
    sr: NDArray[np.floating] | NDArray[np.uint8], hr: NDArray[np.uint8], scale: int, protocol: Protocol
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Make the planes of both pictures: (super-resolved, original). Raises DataError as `measure` does."""
    small, large = quantise(sr, protocol), hr
    if small.shape[:2] != large.shape[:2]:
        raise DataError(
            f"the super-resolved picture is {small.shape[1]}x{small.shape[0]} and the original "
            f"{large.shape[1]}x{large.shape[0]}; they must match"
        )
    if small.ndim == 3 and large.ndim == 3 and small.shape[2] != large.shape[2]:
        raise DataError(
            f"one picture has {small.shape[2]} channels and the other {large.shape[2]}; use one mode for both"
        )
    return planes(small, scale, protocol), planes(large, scale, protocol)


def measure(
    sr: NDArray[np.floating] | NDArray[np.uint8],
    hr: NDArray[np.uint8],
    scale: int,
    protocol: str | Protocol,
    names: Sequence[str] = ("psnr", "ssim"),
) -> dict[str, float]:
    """Measure a super-resolved picture against the original by METRICS or DISTANCES, under one protocol.

    Args:
        sr: HW or HWC (C = 1 or 3), uint8, or float on 0..1, unclamped, which the protocol rounds.
        hr: the original, same size and channels, uint8.
        scale: the magnification that made `sr`.
        protocol: a name in PROTOCOLS, or a Protocol.
        names: keys of METRICS, or DISTANCES.

    Returns:
        name → value: `{"psnr": dB, "ssim": -1..1}`. PSNR of RGB is that of all three channels together, the other
        metrics are means over the channels. DISTANCES take from the protocol its rounding and its border, and always
        look at R, G, B.

    Raises:
        DataError: pictures that do not match, of another type, or too small for the border and a metric's window; a
            distance that is not installed.
    """
    rule = protocol_named(protocol) if isinstance(protocol, str) else protocol
    ours, truth = planes_to_compare(sr, hr, scale, rule)

    def value(name: str) -> float:
        try:
            if name == "psnr":
                return metrics.psnr(np.stack(ours), np.stack(truth))
            if name in DISTANCES:
                channels = planes_to_compare(sr, hr, scale, replace(rule, colour="rgb", gray="as-rgb"))
                return open_distance(name)(np.stack(channels[0]), np.stack(channels[1]))
            return float(np.mean([METRICS[name](a, b) for a, b in zip(ours, truth, strict=True)]))
        except ValueError as error:
            border = f"a {hr.shape[1]}x{hr.shape[0]} picture less its border is too small"
            raise DataError(f"{border}: {error}; leave {name} out, or measure larger pictures") from error

    if len(names) < 2:
        return {name: value(name) for name in names}
    # Metrics spend their time in NumPy, which lets other threads run meanwhile. More of them than cores only get in
    # each other's way: all five on two cores took 10.2 s for B100, two at a time less.
    with ThreadPoolExecutor(min(len(names), cores())) as pool:
        return dict(zip(names, pool.map(value, names), strict=True))


def consistency(
    sr: NDArray[np.floating] | NDArray[np.uint8], lr: NDArray[np.uint8], scale: int, protocol: str | Protocol
) -> float:
    """Measure how well a super-resolved picture agrees with its LR picture.

    The result is the PSNR, in dB, of its bicubic reduction against the LR picture: all channels, no border cut.

    Args:
        sr: (h·scale, w·scale, C), as `measure` takes it; rounded to 8 bits as the protocol says.
        lr: (h, w, C) uint8.
        scale: the magnification.
        protocol: a name in PROTOCOLS, or a Protocol.
    """
    rule = protocol_named(protocol) if isinstance(protocol, str) else protocol
    small = downscale(quantise(sr, rule), scale)
    if small.shape != lr.shape:
        raise DataError(f"the reduced picture has shape {small.shape} and the low-resolution one {lr.shape}")
    return metrics.psnr(small, lr)
