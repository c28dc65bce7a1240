"""Measure what files cost beside the network: reading, planning and writing, as a share of the network's own time.

    python benchmarks/overhead.py [--size 1632x1224] [--scale 2] [--model esrgcnn] [--format png] [--repeat 3]

Both in one process, after a warm-up, one after the other, best of the repeats: the network alone (an array of the
picture's pixels through an open Upscaler) and the whole walk from file to file, as `superfine upscale` does it. By
the clock and in processor time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from superfine.demo import PHOTOGRAPH
from superfine.images.files import Picture, read, write
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target, parse_size
from superfine.upscaling.upscaler import Upscaler


def main() -> None:
    parser = argparse.ArgumentParser(description="Reading, planning and writing beside the network.")
    parser.add_argument("--size", default="1632x1224", help="of the input, WIDTHxHEIGHT")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--model", default="esrgcnn")
    parser.add_argument("--format", default="png")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()

    width, height = parse_size(options.size)
    photograph = read(PHOTOGRAPH).pixels
    reach = ((0, max(0, height - 480)), (0, max(0, width - 480)), (0, 0))
    pixels = np.pad(photograph, reach, mode="reflect")[:height, :width]
    upscaler, target = Upscaler(options.model), Target(scale=Fraction(options.scale))
    upscaler(pixels, options.scale)  # compiles for this size
    alone: list[tuple[float, float]] = []
    walked: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "in.png"), Path(folder, f"out.{options.format}")
        write(Picture(np.ascontiguousarray(pixels)), source)
        for _ in range(options.repeat):
            started = perf_counter(), process_time()
            upscaler(pixels, options.scale)
            alone.append((perf_counter() - started[0], process_time() - started[1]))
            started = perf_counter(), process_time()
            (outcome,) = run_jobs([Job(source, result)], upscaler, target, Settings(overwrite=True))
            walked.append((perf_counter() - started[0], process_time() - started[1]))
            if outcome.error is not None:
                raise outcome.error
    engine = f"{upscaler.engine.name} {upscaler.engine.precision}"
    print(f"{options.model} x{options.scale}, {width}x{height} {options.format}, {engine}")
    for number, clock in enumerate(("by the clock", "of the processor")):
        network, walk = min(each[number] for each in alone), min(each[number] for each in walked)
        share = 100 * (walk / network - 1)
        print(f"{clock:16}: network alone {network:6.2f} s, file to file {walk:6.2f} s, overhead {share:5.1f} %")


if __name__ == "__main__":
    main()
