"""Ask an independent program for the pixels of a picture, so that a decoder is not only tested by its own writer."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
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


_PROGRAMS = {".avif": "avifdec", ".jxl": "djxl", ".heic": "heif-convert", ".heif": "heif-convert"}


def by_own_program(path: Path) -> NDArray[np.uint16] | None:
    """Decode AVIF, HEIC or JPEG XL with the program of its own library, as `pixels_of` does; None without it."""
    program = shutil.which(_PROGRAMS.get(path.suffix.lower(), ""))
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "a.png")
        done = subprocess.run([program, path, target], capture_output=True, timeout=60, check=False)
        found = sorted(Path(folder).glob("*.png"))
        return pixels_of(found[0]) if done.returncode == 0 and found else None


def by_ffmpeg(path: Path) -> NDArray[np.float32] | None:
    """Decode the first picture of a file with FFmpeg's own decoders: (height, width, RGBA), 0..1 or light, as stored.

    EXIF's orientation is not applied. YUV is converted by the matrix and range that the file names, BT.601 and full if
    it names none. None if PyAV is not installed, if FFmpeg cannot read the file, or gives only a part of it: HEIC's
    tiles, the first icon, AVIF without its alpha, TIFF of its simplest kinds.
    """
    kind = path.suffix.lower()
    if kind in (".heic", ".heif", ".ico", ".tif", ".tiff") or (kind == ".avif" and b"auxC" in path.read_bytes()):
        return None
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path)) as file:
            frame = next(file.decode(video=0))
    except (OSError, StopIteration, ValueError, LookupError):
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
    """Convert YUV of any depth and subsampling to RGBA 0..1."""
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
        planes.append(_stretched(_stretched(values, frame.height, down).T, frame.width, across).T)
    y, cb, cr = planes
    red, blue = _MATRICES.get(int(frame.colorspace), (0.299, 0.114))
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    alpha = np.ones_like(y)
    if len(frame.planes) == 4:
        rows = np.frombuffer(frame.planes[3], np.uint8 if depth == 8 else np.uint16).reshape(frame.height, -1)
        alpha = rows[:, : frame.width].astype(np.float32) / peak
    return np.clip(np.dstack([r, g, b, alpha]), 0, 1).astype(np.float32)


def _stretched(values: NDArray[np.float32], rows: int, factor: int) -> NDArray[np.float32]:
    """Give `factor` times as many rows, at most `rows`, linear between the middles of the old ones."""
    if factor == 1:
        return values[:rows]
    places = np.clip((np.arange(rows) + 0.5) / factor - 0.5, 0, len(values) - 1)
    lower = np.minimum(places.astype(int), max(0, len(values) - 2))
    share = (places - lower)[:, None].astype(np.float32)
    return values[lower] * (1 - share) + values[np.minimum(lower + 1, len(values) - 1)] * share


def _largest(program: str, path: Path) -> int:
    """Number of the largest icon of a file."""
    command = [program, str(path), "-format", "%w\n", "info:"]
    widths = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split()
    return max(range(len(widths)), key=lambda index: int(widths[index]), default=0)


def pixels_of(path: Path) -> NDArray[np.uint16] | None:
    """Decode the first picture of a file with ImageMagick: (height, width, RGBA), 16 bits, upright, straight alpha.

    Values are as the file stores them: no profile, gamma or primaries are applied. CMYK becomes RGB. None if the
    program is not installed or cannot read the file.
    """
    program = imagemagick()
    if program is None:
        return None
    upright = [program, f"{path}[{_largest(program, path) if path.suffix.lower() == '.ico' else 0}]", "-auto-orient"]
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
