"""Measure how far a network moves the mean colour of photographs: levels of 255, by channel.

    python benchmarks/colour_drift.py FOLDER -m esrgcnn -s 2            # e.g. the 24 Kodak pictures
    python benchmarks/colour_drift.py FOLDER -m esrgcnn -s 2 --crop 192

The mean over all pictures should stay under a tenth of a level. --files also writes every result as PNG through
the command's own writer, and says whether the file's pixels are those of the Python API.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from superfine import Upscaler
from superfine.images import SUFFIXES, read, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-m", "--model", default="esrgcnn")
    parser.add_argument("-s", "--scale", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--crop", type=int, help="only the middle so many pixels of each side")
    parser.add_argument("--files", action="store_true", help="compare files with the Python API, too")
    options = parser.parse_args()
    upscaler = Upscaler(options.model, precision=options.precision)
    drifts, differing = [], []
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    for path in paths:
        picture = read(path)
        pixels = picture.pixels
        if options.crop:
            top, left = ((side - min(side, options.crop)) // 2 for side in pixels.shape[:2])
            pixels = np.ascontiguousarray(pixels[top : top + options.crop, left : left + options.crop])
        larger = upscaler(pixels, options.scale)
        peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
        drifts.append((larger.mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))) * 255 / peak)
        print(path.name, *(f"{drift:+.3f}" for drift in drifts[-1]), flush=True)
        if options.files:
            picture.pixels = pixels
            with tempfile.TemporaryDirectory() as folder:
                write(picture, Path(folder, "lr.png"))
                write(upscaler(read(Path(folder, "lr.png")), options.scale), Path(folder, "sr.png"))
                if not np.array_equal(read(Path(folder, "sr.png")).pixels, larger):
                    differing.append(path.name)
    print(
        "mean", *(f"{drift:+.3f}" for drift in np.mean(drifts, axis=0)), f"({len(drifts)} pictures, x{options.scale})"
    )
    if options.files:
        print("files differ from the API:", ", ".join(differing) or "none")


if __name__ == "__main__":
    main()
