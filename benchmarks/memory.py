"""Peak memory of one picture from file to file, each in a process of its own.

    python benchmarks/memory.py [--megapixels 12] [--scale 4] [--model esrgcnn] [--engine openvino] [--precision fp32]

Writes a noise picture of the size, runs `Upscaler` and `images.write` on it in a fresh process, and prints
the most resident memory that process ever had. `--engine nearest` shows what everything but the network
takes, in seconds instead of minutes. `--window-only` runs one of the network's windows and adds that.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak resident memory of an upscale, file to file.")
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--model", default="esrgcnn")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--window-only", action="store_true")
    parser.add_argument("--inside", nargs=2, metavar=("IN", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        upscale_file(options, *map(Path, options.inside))
        return
    height = round((options.megapixels * 1e6 * 3 / 4) ** 0.5)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.png"), Path(folder, "out.png")
        noise = np.random.default_rng(0).integers(0, 256, (height, height * 4 // 3, 3), dtype=np.uint8)
        Image.fromarray(noise).save(source, compress_level=1)
        del noise
        arguments = [sys.executable, __file__, *sys.argv[1:], "--inside", str(source), str(target)]
        subprocess.run(arguments, check=True)


def upscale_file(options: argparse.Namespace, source: Path, target: Path) -> None:
    from superfine import images
    from superfine.upscale import Upscaler

    start = time.perf_counter()
    upscaler = Upscaler(options.model, options.scale, options.engine, options.precision)
    picture = images.read(source)
    size = f"{picture.width}x{picture.height} x{options.scale}"
    engine = upscaler.engine
    name = f"{options.model} {engine.name} {engine.precision}"
    if options.window_only:
        window = upscaler.plan(picture.height, picture.width)[0].read
        engine.run_uint8(picture.pixels[: window.height, : window.width])
        print(f"{name}, {size}: {peak():.0f} MiB with one window of {window.width}x{window.height}")
        return
    larger = upscaler(picture)
    computed, worked = peak(), time.perf_counter() - start
    del picture
    engine.release()
    images.write(larger, target)
    print(f"{name}, {size}: {peak():.0f} MiB ({computed:.0f} before writing), {worked:.0f} s to compute")


def peak() -> float:
    """Most resident memory of this process so far, MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


if __name__ == "__main__":
    main()
