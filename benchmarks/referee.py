"""Ask an independent program for the pixels of a picture, so that a decoder is not only tested by its own writer."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

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
