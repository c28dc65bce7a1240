"""Estimate the cost of a plan before it is carried out: count windows and pixels, and ask for this machine's rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from superfine.images.alpha import is_uniform_around
from superfine.images.depth import Pixels
from superfine.images.files import open_header
from superfine.images.formats.frames import Frames, same_pixels
from superfine.images.jpeg_quality import quality_of
from superfine.images.picture import Picture
from superfine.images.rows import Rows
from superfine.upscaling.batch.rates import Rates, first_window, network_pass
from superfine.upscaling.memory import (
    PILLOW_PIXEL_BYTES,
    band_row,
    bytes_of,
    bytes_of_network,
    peak_memory,
    peak_of_plan,
)
from superfine.upscaling.plan import Plan, Target
from superfine.upscaling.tiled import TiledUpscaler
from superfine.upscaling.tiles import Tile
from superfine.upscaling.upscaler import Upscaler


@dataclass(frozen=True)
class FileEstimate:
    """The cost of one file, all its frames or pages, from file to file."""

    plan: Plan
    """The first picture's plan."""
    frames: int
    pixels: int
    """Pixels of all results."""
    memory: int
    """Bytes the process needs at its peak."""
    seconds: float | None
    """None where a network of the plan never ran on this machine: nothing is known yet."""
    source: int
    """Bytes of the pictures that were read."""
    result: int
    """Bytes of the pictures that are written."""


class Estimator:
    """Counts what an Upscaler will do, and predicts the time from the rates that real runs left behind.

    Opening a network and the first window of a size, which compiles it, count once for a batch.
    """

    def __init__(self, upscaler: Upscaler, rates: Rates) -> None:
        self.upscaler, self.rates = upscaler, rates
        self._begun: set[tuple[str, int]] = set()
        self.unknown: set[str] = set()
        """Formats whose reading or writing was never timed, and is not part of the estimates: ".avif"."""

    def __call__(self, frames: Frames, target: Target, source_format: str, format: str) -> FileEstimate:
        """Estimate the cost of one file. source_format, format: suffixes of the file and of the result.

        Raises PlanError and EngineError as Upscaler does.
        """
        pictures = frames.pictures
        plans = [self.upscaler.plan(picture.width, picture.height, target) for picture in pictures]
        seconds: float | None = 0.0
        for number, (picture, plan) in enumerate(zip(pictures, plans, strict=True)):
            for passed in range(len(plan.passes)):
                self.upscaler.limit_memory(picture, plan, passed)
            if not number or not same_pixels(picture, pictures[number - 1]):
                seconds = _sum(seconds, self._passes(picture, plan))
        pixels = sum(plan.output[0] * plan.output[1] for plan in plans)
        sources = sum(picture.width * picture.height for picture in pictures)
        seconds = _sum(seconds, self._around(source_format, sources, format, pixels))
        pairs = list(zip(pictures, plans, strict=True))
        source = sum(bytes_of(picture, plan.source) for picture, plan in pairs)
        result = sum(bytes_of(picture, plan.output) for picture, plan in pairs)
        worst = max(peak_of_plan(picture, plan) for picture, plan in pairs)
        worst += max(self._network(picture, plan) for picture, plan in pairs)
        if len(pictures) > 1:  # all are held until they are written, and Pillow takes all of them at once
            worst += result + pixels * PILLOW_PIXEL_BYTES
        return FileEstimate(plans[0], len(pictures), pixels, peak_memory() + worst, seconds, source, result)

    def by_rows(self, rows: Rows, target: Target, source_format: str, format: str) -> FileEstimate | None:
        """Estimate the cost of a file that goes by rows; None where it has to be read whole.

        Where there is transparency, the edges in the rows of the first windows stand for all.
        """
        found = self.upscaler.upscale_rows(rows, target)
        if found is None:
            return None
        plan, width, height = found[1], rows.head.width, rows.height
        (scale,) = plan.passes
        tiled = self.upscaler.tiled(scale)
        bands = tiled.plan_bands(height, width)
        tiles = [tile for band in bands for tile in band]
        windows = float(len(tiles))
        if rows.head.alpha is not None:
            _, alpha = rows.band(0, bands[0][0].read.bottom)
            assert alpha is not None
            windows += len(tiles) * float(_tiles_with_edges(alpha, bands[0], 1).mean())
        count = plan.output[0] * plan.output[1]
        seconds = _sum(
            self._windows(tiled, tiles[0], windows), self._around(source_format, width * height, format, count)
        )
        held = max(band[0].keep.height for band in bands) * band_row(tiled, rows.head, width)
        held += bytes_of_network(tiled, rows.head, tiles[0].read.height * tiles[0].read.width) + rows.held
        return FileEstimate(plan, 1, count, peak_memory() + held, seconds, rows.held, 0)

    def _passes(self, picture: Picture, plan: Plan) -> float | None:
        """Predict the seconds for all passes of a picture."""
        seconds: float | None = 0.0
        width, height = plan.source
        for scale in plan.passes:
            tiled = self.upscaler.tiled(scale)
            tiles = tiled.plan(height, width)
            windows = len(tiles)
            if picture.alpha is not None and tiled.alpha == "network":
                windows += int(_tiles_with_edges(picture.alpha, tiles, width // picture.width).sum())
            seconds = _sum(seconds, self._windows(tiled, tiles[0], windows))
            width, height = width * scale, height * scale
        return seconds

    def _network(self, picture: Picture, plan: Plan) -> int:
        """Count the bytes of the network that takes most of all passes."""
        width, height = plan.source
        most = 0
        for scale in plan.passes:
            tiled = self.upscaler.tiled(scale)
            read = tiled.plan(height, width)[0].read
            most = max(most, bytes_of_network(tiled, picture, read.height * read.width))
            width, height = width * scale, height * scale
        return most

    def _windows(self, tiled: TiledUpscaler, tile: Tile, count: float) -> float | None:
        """Predict the seconds for so many windows like the one a tile reads."""
        work = network_pass(tiled.engine, self.upscaler.digest)
        pixels = tile.read.height * tile.read.width
        each = self.rates.seconds(work, pixels)
        if each is None:
            return None
        first = 0.0
        if (work, pixels) not in self._begun:
            self._begun.add((work, pixels))
            first = self.rates.seconds(first_window(work), pixels) or 0.0
        return first + count * each

    def _around(self, source_format: str, source: int, format: str, result: int) -> float:
        """Predict the seconds to read `source` pixels and to finish and write `result` pixels."""
        total = 0.0
        for work, suffix, pixels in (("read", source_format, source), ("write", format, result)):
            seconds = self.rates.seconds(f"{work} {suffix}", pixels)
            if seconds is None:
                self.unknown.add(suffix)
            total += seconds or 0.0
        return total


def peek(path: Path, max_pixels: int) -> Picture | None:
    """Open a picture whose header says everything that its cost depends on; None for one that must be read.

    Those are JPEG files: one picture, 8 bits, no transparency. The pixels of the result are zeros that take no memory.
    """
    try:
        with open_header(path, max_pixels) as image:
            if image.format not in ("JPEG", "MPO"):
                return None
            width, height = image.size
            if image.getexif().get(_ORIENTATION, 1) in _TURNED:
                width, height = height, width
            pixels = np.broadcast_to(np.uint8(0), (height, width, 1 if image.mode == "L" else 3))
            return Picture(pixels, jpeg_quality=quality_of(getattr(image, "quantization", {})))
    except Exception:  # whoever reads the file says what is wrong with it
        return None


_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
"""EXIF orientations of pictures that lie on their side."""


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def peak_of_batch(estimates: Sequence[FileEstimate]) -> int:
    """Count the bytes of a batch: while a picture is enlarged, the next has been read and the last is being written."""
    around = [
        (estimates[index - 1].result if index else 0)
        + (estimates[index + 1].source if index + 1 < len(estimates) else 0)
        for index in range(len(estimates))
    ]
    return max(estimate.memory + more for estimate, more in zip(estimates, around, strict=True))


def _tiles_with_edges(alpha: Pixels, tiles: Sequence[Tile], factor: int) -> NDArray[np.bool_]:
    """Find the tiles of a picture, enlarged by a whole factor, that hold an edge of its transparency."""
    edges = ~is_uniform_around(alpha)
    found = []
    for tile in tiles:
        keep = tile.keep
        rows = slice(keep.top // factor, -(-keep.bottom // factor))
        columns = slice(keep.left // factor, -(-keep.right // factor))
        found.append(bool(edges[rows, columns].any()))
    return np.array(found)
