"""Windows and bands that keep within a limit of memory."""

from __future__ import annotations

import os
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from superfine.engines.base import runs_ahead
from superfine.errors import PlanError
from superfine.images.formats.png import packing_threads
from superfine.images.picture import Picture
from superfine.upscaling.plan import Plan

if TYPE_CHECKING:
    from superfine.upscaling.tiled import TiledUpscaler

STREAMING_LIMIT = 2**30
"""Bytes that a process keeps below while a picture goes by rows from file to file, where no limit is requested."""

_PLANNED_SHARE = 0.92
"""Share of the free memory that is planned for; the rest is for the holes that an allocator leaves."""
_NETWORK_BYTES = 2**26
"""Bytes a network takes beside its activations once it is compiled: above all, weights in the processor's layout."""
_PACKER_BYTES = 12 * 2**20
"""Bytes that a thread takes to filter and deflate."""
_BAND_SHARE = 0.25
"""Share of the free memory for rows, those read and those computed; windows get the rest."""
PILLOW_PIXEL_BYTES = 4
"""Bytes a pixel takes in Pillow, which encodes; RGB as much as RGBA."""

_UNKNOWN = 250_000_000
"""Bytes of interpreter and libraries, where the system does not say."""


def parse_memory(text: str) -> int:
    """ "2GiB", "1.5 GB", "800M" → bytes (K, M, G count in 1024 with an i, otherwise in 1000). Raises PlanError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])?(I)?B?", text.strip().upper())
    if match is None or (match[3] and not match[2]) or float(match[1]) <= 0:
        raise PlanError(f"memory {text!r} is no amount such as 2GiB, 1.5GB or 800MB")
    power = " KMGT".index(match[2] or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def resident_memory() -> int:
    """Count the bytes of memory this process has now; where the system does not tell, the most it ever had."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()


def peak_memory() -> int:
    """Count the bytes of memory this process has had at most; a guess where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return _UNKNOWN
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024


def bytes_of(picture: Picture, size: tuple[int, int]) -> int:
    """Count the bytes of a picture of that kind at a size (width, height)."""
    channels = picture.pixels.shape[2] + (picture.alpha is not None)
    return int(size[0] * size[1] * channels * picture.pixels.itemsize)


def peak_of_plan(picture: Picture, plan: Plan) -> int:
    """Count the bytes of the pictures that are in memory at once, at the worst moment of a plan."""
    sizes = [plan.source]
    for scale in plan.passes:
        sizes.append((sizes[-1][0] * scale, sizes[-1][1] * scale))
    moments = [bytes_of(picture, one) + bytes_of(picture, other) for one, other in pairwise(sizes)]
    enlarged, output = bytes_of(picture, plan.enlarged), bytes_of(picture, plan.output)
    if plan.resized != plan.enlarged:
        # Channel by channel: a plane and Pillow's copy of it, beside both pictures.
        planes = plan.enlarged[0] * plan.enlarged[1] * int(picture.pixels.itemsize) * 2
        moments.append(enlarged + planes + output)
    moments.append(output + plan.output[0] * plan.output[1] * PILLOW_PIXEL_BYTES)
    return max(moments)


def band_row(tiled: TiledUpscaler, head: Picture, width: int) -> int:
    """Count the bytes of an LR row in a band: as it was read, twice, and its result, computed and being written.

    For an engine that runs ahead the next band is read as well, beside what may be asked for again.
    """
    given, scale = bytes_of(head, (width, 1)), tiled.scale
    return (5 if runs_ahead(tiled.engine) else 2) * given + 2 * bytes_of(head, (width * scale, scale))


def bytes_of_network(tiled: TiledUpscaler, head: Picture, window: int) -> int:
    """Count the bytes a network takes while it runs windows of so many LR pixels, beside the pictures."""
    return _NETWORK_BYTES + window * _window_pixel(tiled, head)


def _window_pixel(tiled: TiledUpscaler, head: Picture) -> int:
    """Count the bytes of an LR pixel of a window. What is not 8-bit RGB goes through float32, in a few copies."""
    plain = head.pixels.dtype.itemsize == 1 and head.pixels.shape[2] == 3 and head.alpha is None
    return tiled.engine.pixel_bytes + tiled.scale**2 * (3 if plain else 48)


def limit_memory(tiled: TiledUpscaler, head: Picture, size: tuple[int, int], held: int, limit: int) -> int:
    """Choose windows and bands with which the process keeps to `limit` bytes, and give the bytes that bands take.

    head: the kind of picture. size: width and height of it in LR pixels. held: bytes that are taken in any case.
    Raises PlanError, in one line, where no window worth running fits.
    """
    width, height = size
    engine, scale = tiled.engine, tiled.scale
    spare = int((limit - held) * _PLANNED_SHARE) - _NETWORK_BYTES - _PACKER_BYTES * packing_threads()
    context = 4 * bytes_of(head, (width, engine.halo))  # the rows around a band, read and copied
    row = band_row(tiled, head, width)
    rows = min(height, max(1, int((spare * _BAND_SHARE - context) // row)))
    each = _window_pixel(tiled, head)
    window = (spare - context - rows * row) // each
    # A window of four halos keeps a quarter of what it computes; less would take for ever.
    side = 4 * engine.halo if tiled.tile is None else tiled.tile + 2 * engine.halo
    least = min(height, max(side, 16)) * min(width, max(side, 16))
    if window < least:
        needed = limit + int((least - window) * each / _PLANNED_SHARE)
        raise PlanError(
            f"{width}x{height} pixels at {scale} times need {gibibytes(needed)} of memory, {gibibytes(limit)} is the "
            "limit: allow more, or write PNG or TIFF in one pass, which go by rows"
        )
    tiled.limit(window, rows)
    return context + rows * row


def gibibytes(count: int) -> str:
    """ "1.50 GiB" """
    return f"{count / 2**30:.2f} GiB"
