"""Time the start of superfine: whole processes, begin to end.

    python benchmarks/start.py [--size 64] [--scale 4] [--repeat 7] [--profile]

Wall and processor time, median of several processes, of an empty interpreter, `import superfine`, `superfine --help`,
and `superfine upscale` of a small picture, file to file. `--profile` adds what each step of the upscaling takes in one
process.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description="Wall and processor seconds from process start to end.")
    parser.add_argument("--size", type=int, default=64, help="side of the picture upscaled")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--model", default="esrgcnn")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="steps of one upscaling, in milliseconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.png"), Path(folder, "out.png")
        levels = np.random.default_rng(0).integers(0, 256, (options.size, options.size, 3), dtype=np.uint8)
        Image.fromarray(levels).save(source)
        chosen = ["-m", options.model, "-s", str(options.scale), "--precision", options.precision]
        upscale = ["-m", "superfine", "upscale", str(source), "-o", str(target), *chosen]
        forms = {
            "empty interpreter": ["-c", "pass"],
            "import superfine": ["-c", "import superfine"],
            "superfine --help": ["-m", "superfine", "--help"],
            f"upscale {options.size}x{options.size}": upscale,
        }
        print(f"{'':26} {'wall':>8} {'processor':>10}   seconds, median of {options.repeat}")
        for name, arguments in forms.items():
            runs = [process(arguments, target) for _ in range(options.repeat + 2)][2:]  # the first two warm the caches
            wall, cpu = (statistics.median(each) for each in zip(*runs, strict=True))
            print(f"{name:26} {wall:8.3f} {cpu:10.3f}", flush=True)
        if options.profile:
            steps = [
                sys.executable,
                "-c",
                _STEPS,
                str(source),
                str(target),
                options.model,
                str(options.scale),
                options.precision,
            ]
            subprocess.run(steps, check=True)


def process(arguments: list[str], target: Path) -> tuple[float, float]:
    """Wall and processor seconds of one process; `target` is not there when it starts."""
    target.unlink(missing_ok=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


_STEPS = """
import sys, time
clock = time.process_time
last = clock()
def step(name):
    global last
    print(f"  {name:22} {(clock() - last) * 1e3:7.0f} ms of processor time"); last = clock()
source, target, model, scale, precision = sys.argv[1:]
import numpy; step("import numpy")
import superfine.cli.upscale, typer, rich.progress; step("import the command line")
import superfine.images; step("import images (Pillow)")
from superfine.engines.runtime import core; step("import openvino")
core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"); step("load the CPU plug-in")
from superfine.weights import find
found = find(model); step("find the weights")
from superfine.engines import open_engine
engine = open_engine(found, int(scale), "openvino", precision); step("read and cut the graph")
pixels = superfine.images.read(source).pixels; step("read the picture")
engine.run_uint8(pixels); step("compile and run")
engine.run_uint8(pixels); step("run again")
"""


if __name__ == "__main__":
    main()
