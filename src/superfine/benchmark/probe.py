"""One timing in a process of its own.

    python -m superfine.benchmark.probe MODEL SCALE ENGINE PRECISION SIDE RUNS

Prints one line of JSON. `complexity.time_runs` starts it; a process that measured anything else first
would show that work's memory.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from superfine.errors import SuperfineError


def peak_mib() -> float | None:
    """Most memory this process has held, in MiB; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def main(arguments: list[str]) -> int:
    """Upscale a random picture of SIDE x SIDE LR pixels once to warm up, then RUNS times; print the median."""
    from superfine.upscaling import Upscaler

    model, scale, engine, precision, side, runs = arguments
    picture = np.random.default_rng(0).integers(0, 256, (int(side), int(side), 3), dtype=np.uint8)
    try:
        upscaler = Upscaler(model, engine=engine, precision=precision)
        upscaler(picture, int(scale))
    except SuperfineError as error:
        print(error, file=sys.stderr)
        return 2
    seconds = []
    for _ in range(int(runs)):
        start = time.perf_counter()
        upscaler(picture, int(scale))
        seconds.append(time.perf_counter() - start)
    opened = upscaler.engine
    told = {
        "model": Path(model).stem,
        "engine": opened.name,
        "precision": opened.precision,
        "device": opened.device,
        "seconds": statistics.median(seconds),
        "peak_mib": peak_mib(),
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
