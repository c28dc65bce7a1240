"""Measure how much of the pure network rate a folder of pictures reaches, file to file.

    python benchmarks/batch.py [--count 100] [--size 500x350] [--scale 2] [--format png]

Pure: the engine on the same windows, from memory to memory. Batch: `run_jobs`, as `superfine upscale` runs a
folder, reading and writing files while the network computes. Processor time beside it says what files cost on a machine
that other programs share, where the clock says little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine import images
from superfine.upscaling.batch.jobs import plan_batch
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler


def main() -> None:
    parser = argparse.ArgumentParser(description="Batch rate as a share of the pure network rate.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--size", default="500x350", metavar="WxH")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--format", default="png")
    parser.add_argument("--model", default="esrgcnn")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        make_pictures(source, options.count, height, width)
        upscaler = Upscaler(options.model, engine=options.engine, precision=options.precision)
        pictures = [images.read(path).pixels for path in sorted(source.iterdir())]
        upscaler(pictures[0], options.scale)  # compiles the window, warms the caches
        start = clocks()
        for pixels in pictures:
            upscaler(pixels, options.scale)
        pure = clocks() - start
        jobs = plan_batch([str(source)], str(target), format=f".{options.format}").jobs
        start = clocks()
        outcomes = list(run_jobs(jobs, upscaler, Target(scale=Fraction(options.scale)), Settings()))
        batch = clocks() - start
        failed = [each.error for each in outcomes if each.error is not None]
        if failed:
            raise failed[0]
    used = f"{options.model} {upscaler.engine.name} {upscaler.engine.precision}"
    print(f"{options.count} pictures of {options.size} to x{options.scale} {options.format}, {used}")
    for name, network, whole in zip(("wall clock", "processor time"), pure, batch, strict=True):
        share = f"{network / whole:.1%} of the pure rate"
        print(f"{name}: pure network {network:.2f} s, files to files {whole:.2f} s: {share}")


def clocks() -> NDArray[np.float64]:
    """Seconds by the clock, and of processor time in all threads."""
    return np.array([time.perf_counter(), time.process_time()])


def make_pictures(folder: Path, count: int, height: int, width: int) -> None:
    """Smooth shapes with some grain: they compress about as photographs do."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        grain = random.normal(0, 3, smooth.shape).astype(np.int16)
        pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")


if __name__ == "__main__":
    main()
