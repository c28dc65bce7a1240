"""Peak memory of reading a large 16-bit TIFF of every layout, each in a process of its own.

    python benchmarks/tiff_layouts.py [--megapixels 48]

Writes RGB pictures of 16 bits with tifffile, 4:3, and reads each as `superfine upscale` does: row by row where that is
possible, otherwise whole. Prints which it was, and the most resident memory the process ever had, beside that of a
process that reads nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile

READ = """
import resource, sys
from pathlib import Path
from superfine.images.files import read
from superfine.images.rows import open_rows
way = "nothing read"
if len(sys.argv) > 1:
    rows = open_rows(sys.argv[1], min_pixels=0)
    way = "by rows" if rows is not None else "whole"
    if rows is None:
        read(sys.argv[1])
    else:
        for top in range(0, rows.height, 64):
            rows.band(top, min(top + 64, rows.height))
status = Path("/proc/self/status")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
if status.exists():
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    peak = int(line.split()[1]) // 1024
print(way, peak, sep=",")
"""

LAYOUTS = {
    "strips": {"rowsperstrip": 16},
    "strips, big-endian": {"rowsperstrip": 16, "byteorder": ">"},
    "tiles": {"tile": (256, 256)},
    "separate planes, strips": {"rowsperstrip": 16, "planarconfig": "separate"},
    "deflate": {"rowsperstrip": 16, "compression": "zlib", "compressionargs": {"level": 1}},
    "deflate, differences": {"rowsperstrip": 16, "compression": "zlib", "predictor": True},
    "deflate, tiles": {"tile": (256, 256), "compression": "zlib", "compressionargs": {"level": 1}},
    "deflate, separate planes": {"rowsperstrip": 16, "compression": "zlib", "planarconfig": "separate"},
    "LZW, differences": {"rowsperstrip": 16, "compression": "lzw", "predictor": True},
    "one strip": {},
    "one strip a plane": {"planarconfig": "separate"},
    "one strip, deflate": {"compression": "zlib", "compressionargs": {"level": 1}},
    "one strip, LZW": {"compression": "lzw"},
}


def picture(megapixels: float) -> np.ndarray:
    """Smooth colour with a texture that repeats: packs like a picture, and is quickly made."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    across = np.linspace(0, 40_000, width, dtype=np.uint16)[None, :, None]
    noise = np.random.default_rng(1).integers(0, 900, (256, 256, 3), np.uint16)
    texture = np.tile(noise, (height // 256 + 1, width // 256 + 1, 1))[:height, :width]
    return texture + across


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=48)
    options = parser.parse_args()
    pixels = picture(options.megapixels)
    print(f"{pixels.shape[1]} x {pixels.shape[0]}, {pixels.nbytes / 2**20:.0f} MiB of pixels")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        for layout, settings in {"nothing": None, **LAYOUTS}.items():
            if settings is not None:
                settings = {"rowsperstrip": pixels.shape[0], **settings} if "tile" not in settings else settings
                tifffile.imwrite(path, np.moveaxis(pixels, 2, 0) if "planarconfig" in settings else pixels,
                                 photometric="rgb", **settings)  # fmt: skip
            command = [sys.executable, "-c", READ, *([] if settings is None else [str(path)])]
            way, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(",")
            print(f"| {layout} | {way} | {peak} MiB |", flush=True)


if __name__ == "__main__":
    main()
