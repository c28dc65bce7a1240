"""Ask an independent program for the pixels of a picture, so that a decoder is not only tested by its own writer."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def imagemagick() -> str | None:
    """Path of ImageMagick's `magick` or `convert`; None if it is not installed."""
    for folder in (None, "/usr/bin"):
        for name in ("magick", "convert"):
            found = shutil.which(name, path=folder)
            if found is None:
                continue
            answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stdout
            if answer.startswith("Version: ImageMagick"):
                return found
    return None


def by_ffmpeg(path: Path) -> NDArray[np.float32] | None:
    """Decode the first picture of a file with FFmpeg's own decoders: (height, width, RGBA), 0..1 or light, as stored.

    EXIF's orientation is not applied. YUV is converted by the matrix and range that the file names, BT.601 and full if
    it names none. None if PyAV is not installed or FFmpeg cannot read the file.
    """
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path)) as file:
            frame = next(file.decode(video=0))
    except (OSError, StopIteration, ValueError):
        return None
    kind = frame.format.name
    if kind.startswith("yuv"):
        return _from_yuv(frame)
    if "f16" in kind or "f32" in kind:
        return _planes(frame)
    if frame.format.components[0].bits <= 8:
        return np.asarray(frame.to_ndarray(format="rgba"), np.float32) / 255
    if kind.startswith("gray"):  # the scaler shifts bits; these are the file's own
        level = frame.to_ndarray().astype(np.float32)[:, :, None] / 65535
        return np.concatenate([level, level, level, np.ones_like(level)], axis=2)
    return np.asarray(frame.to_ndarray(format="rgba64le"), np.float32) / 65535


def _planes(frame: Any) -> NDArray[np.float32]:
    """Lay the planes of a float frame (G, B, R and perhaps alpha, or gray) beside each other as RGBA."""
    kind = np.float16 if "f16" in frame.format.name else np.float32
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
        planes.append(rows[:, : plane.width].astype(np.float32))
    order = [0, 0, 0] if len(planes) == 1 else [2, 0, 1]
    alpha = planes[3] if len(planes) == 4 else np.ones_like(planes[0])
    return np.dstack([*(planes[index] for index in order), alpha])


_MATRICES = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
"""Weights of red and blue by H.273's matrix code; BT.601's for all others."""


def _from_yuv(frame: Any) -> NDArray[np.float32]:
    """Convert YUV of any depth and subsampling to RGBA 0..1; colour differences are repeated, not smoothed."""
    depth = frame.format.components[0].bits
    peak, full = (1 << depth) - 1, int(frame.color_range) != 1
    planes = []
    for number, plane in enumerate(frame.planes[:3]):
        kind = np.uint8 if depth == 8 else np.uint16
        rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].astype(np.float32)
        low, high = (0, peak) if full else (16 << depth - 8, (235 if number == 0 else 240) << depth - 8)
        middle = 0 if number == 0 else (1 << depth - 1) - low
        values = (rows - low - middle) / (high - low)
        down, across = -(-frame.height // plane.height), -(-frame.width // plane.width)
        planes.append(values.repeat(down, 0).repeat(across, 1)[: frame.height, : frame.width])
    y, cb, cr = planes
    red, blue = _MATRICES.get(int(frame.colorspace), (0.299, 0.114))
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.dstack([r, g, b, np.ones_like(y)]), 0, 1).astype(np.float32)


def pixels_of(path: Path) -> NDArray[np.uint16] | None:
    """Decode the first picture of a file with ImageMagick: (height, width, RGBA), 16 bits, upright, straight alpha.

    Values are as the file stores them: no profile, gamma or primaries are applied. CMYK becomes RGB. None if the
    program is not installed or cannot read the file.
    """
    program = imagemagick()
    if program is None:
        return None
    upright = [program, f"{path}[0]", "-auto-orient"]
    size = subprocess.run(
        [*upright, "-format", "%w %h %[colorspace]", "info:"], capture_output=True, text=True, timeout=60, check=False
    )
    if size.returncode or len(size.stdout.split()) < 3:
        return None
    width, height = map(int, size.stdout.split()[:2])
    # -set keeps the values of a picture that says it is linear; CMYK and the YCbCr of HEIC have to be converted.
    linear = size.stdout.split()[2] in ("sRGB", "RGB", "Gray", "LinearGray")
    colour = ["-set", "gamma", "0.45455", "-set", "colorspace", "sRGB"] if linear else ["-colorspace", "sRGB"]
    keep = [*upright, *colour, "-endian", "LSB", "-depth", "16", "RGBA:-"]
    done = subprocess.run(keep, capture_output=True, timeout=120, check=False)
    if len(done.stdout) != width * height * 8:
        return None
    return np.frombuffer(done.stdout, "<u2").reshape(height, width, 4)
