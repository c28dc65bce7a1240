"""Read a job's source: by rows where the picture is large and its format allows it, otherwise whole."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from superfine.errors import ImageError, PlanError
from superfine.images.files import DEFAULT_MAX_PIXELS, open_header, read
from superfine.images.formats.encode import FORMATS
from superfine.images.formats.frames import ANIMATED, PAGED, Frames, read_frames
from superfine.images.rows import PictureRows, Rows, open_rows
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.memory import gibibytes
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler

MIN_PIXELS_BY_ROWS = 4_000_000
"""Pixels from which on a picture goes by rows from file to file, where it can: smaller ones gain nothing by it."""


@dataclass(frozen=True)
class Settings:
    """The way a batch's files are read and written."""

    format: str | None = None
    """Suffix of the results' format, where it is not that of their names."""
    quality: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    overwrite: bool = False
    skip_existing: bool = False
    note: bool = False
    """Write into each result what made it."""
    scale_dpi: bool = False
    """Let the resolution grow with the picture, so that it prints at its old size."""
    accept_damaged: bool = False
    """Take what is there of a damaged JPEG or PNG; such pictures do not go by rows from their files."""


def result_pixels(job: Job, upscaler: Upscaler, target: Target, settings: Settings) -> int:
    """Return the pixels a job's result will have, from the header of its source; 0 if that cannot be had."""
    if job.source is None:
        return 0
    try:
        with open_header(job.source, settings.max_pixels) as image:
            width, height = upscaler.plan(*image.size, target).output
    except Exception:  # whoever reads the file says what is wrong with it
        return 0
    return width * height


_UNPACKED_PIXEL_BYTES = 7
"""Bytes of a pixel while a file is unpacked whole: Pillow's four and ours, of 8-bit RGB."""


def open_source(job: Job, upscaler: Upscaler, settings: Settings) -> Frames | Rows:
    """Open a source by rows, if it is large and its target's format takes rows; otherwise whole. Raises ImageError."""
    least = MIN_PIXELS_BY_ROWS if upscaler.memory is None else 0
    if _takes_rows(job, settings) and job.source is not None and not settings.accept_damaged:
        rows = open_rows(job.source, max_pixels=settings.max_pixels, min_pixels=least)
        if rows is not None:
            return rows
    if upscaler.memory is not None and job.source is not None:
        _check_unpacking(job.source, settings.max_pixels, upscaler.memory_before, upscaler.memory)
    return by_rows_if_large(load_frames(job, settings), job, upscaler, settings)


def by_rows_if_large(frames: Frames, job: Job, upscaler: Upscaler, settings: Settings) -> Frames | Rows:
    """Give out a large picture in memory by rows, if its target's format takes rows; other pictures as they are."""
    least = MIN_PIXELS_BY_ROWS if upscaler.memory is None else 0
    first = frames.pictures[0]
    if _takes_rows(job, settings) and len(frames.pictures) == 1 and first.width * first.height >= least:
        return PictureRows(first)
    return frames


def _takes_rows(job: Job, settings: Settings) -> bool:
    return job.target is not None and FORMATS[result_suffix(job, settings)].write_bands is not None


def result_suffix(job: Job, settings: Settings) -> str:
    """Return the suffix of the result's format."""
    return settings.format or (job.target.suffix.lower() if job.target is not None else ".png")


def source_suffix(job: Job) -> str:
    """Return the suffix of the source's name, lower case; "" for standard input."""
    return "" if job.source is None else job.source.suffix.lower()


def _check_unpacking(path: Path, max_pixels: int, taken: int, limit: int) -> None:
    """Raise PlanError for a file that has to be unpacked whole and is too large for that."""
    try:
        with open_header(path, max_pixels) as image:
            width, height = image.size
    except (ImageError, OSError, SyntaxError, ValueError):
        return  # what is wrong with it is said by whoever reads it
    needed = taken + width * height * _UNPACKED_PIXEL_BYTES
    if needed > limit:
        raise PlanError(
            f"{path}: unpacking {width}x{height} pixels takes {gibibytes(needed)}, and {gibibytes(limit)} is the "
            "limit: allow more, or make it a PNG or TIFF first, which go by rows"
        )


def load_frames(job: Job, settings: Settings) -> Frames:
    """Read all frames or pages of a source, if its target can hold them; otherwise the first. Raises ImageError."""
    source: Path | BinaryIO = BytesIO(sys.stdin.buffer.read()) if job.source is None else job.source
    try:
        if result_suffix(job, settings) in (*ANIMATED, *PAGED):
            return read_frames(source, max_pixels=settings.max_pixels)
    except ImageError:
        if not settings.accept_damaged:
            raise
        if isinstance(source, BytesIO):
            source.seek(0)
    return Frames([read(source, max_pixels=settings.max_pixels, accept_damaged=settings.accept_damaged)])
