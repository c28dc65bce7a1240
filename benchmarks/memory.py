"""Peak memory of one picture from file to file, each run in a process of its own.

    python benchmarks/memory.py [--megapixels 12] [--scale 4] [--formats png,tif] [--times 1,2]
                                [--model esrgcnn] [--engine openvino] [--precision fp32] [--memory 2GiB] [--upscaler]

Writes a noise picture of the size, 4:3, and `--times` as high, runs `superfine upscale` on it and prints the most
resident memory that process ever had. `--engine nearest` shows what everything but the network takes, in seconds
instead of minutes. `--upscaler` goes through Python's `Upscaler` and `images.write` instead, the picture whole in
memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from superfine.images.bands import BandedImage, head_of
from superfine.images.files import write
from superfine.images.picture import Picture

WHOLE = """
import sys
from superfine import images
from superfine import Upscaler
source, target, model, scale, engine, precision = sys.argv[1:]
upscaler = Upscaler(model, engine=engine, precision=precision)
images.write(upscaler(images.read(source), int(scale)), target)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak resident memory of an upscale, file to file.")
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--formats", default="png", help="of source and result: png, tif, jpg, divided by commas")
    parser.add_argument("--times", default="1", help="how many times as high, divided by commas")
    parser.add_argument("--model", default="esrgcnn")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--memory")
    parser.add_argument("--upscaler", action="store_true")
    options = parser.parse_args()
    base = round((options.megapixels * 1e6 * 3 / 4) ** 0.5)
    for format in options.formats.split(","):
        for times in map(float, options.times.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, f"in.{format}")
                target = Path(folder, f"out.{'png' if format == 'jpg' else format}")
                width, height = base * 4 // 3, round(base * times)
                write_noise(source, width, height)
                seconds, peak = run(options, source, target)
                network = f"{options.model} {options.engine} {options.precision}"
                took = f"{peak:.0f} MiB, {seconds:.0f} s, {target.stat().st_size / 1e6:.0f} MB"
                print(f"{network}, {width}x{height} x{options.scale} {format}: {took}", flush=True)


def write_noise(path: Path, width: int, height: int) -> None:
    random = np.random.default_rng(0)
    if path.suffix == ".jpg":
        write(Picture(random.integers(0, 256, (height, width, 3), dtype=np.uint8)), path)
        return
    head = head_of(Picture(np.empty((1, width, 3), np.uint8)))
    rows = range(0, height, 256)
    bands = (random.integers(0, 256, (min(256, height - top), width, 3), dtype=np.uint8) for top in rows)
    write(BandedImage(head, height, ((band, None) for band in bands)), path)


def run(options: argparse.Namespace, source: Path, target: Path) -> tuple[float, float]:
    """Seconds, and the most resident memory in MiB."""
    network = [options.model, str(options.scale), options.engine, options.precision]
    if options.upscaler:
        command = [sys.executable, "-c", WHOLE, str(source), str(target), *network]
    else:
        command = [sys.executable, "-m", "superfine", "upscale", str(source), "-o", str(target), "-m", network[0]]
        command += ["-s", network[1], "--engine", network[2], "--precision", network[3]]
        command += ["--memory", options.memory] if options.memory else []
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"it failed with exit code {process.returncode}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return time.perf_counter() - started, peak


if __name__ == "__main__":
    main()
