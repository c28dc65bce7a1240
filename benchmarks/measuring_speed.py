"""Time each metric on a whole set, pictures in memory; enlarging is not counted.

    python benchmarks/measuring_speed.py B100 [--scale 2] [--metrics psnr,ssim ms-ssim fsim consistency]

The super-resolved picture is bicubic's; the time of a metric does not depend on it. The last line has all metrics in
one call, as `superfine benchmark` makes it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from superfine.benchmark import sets
from superfine.benchmark.methods import Interpolation
from superfine.benchmark.run import figures_of
from superfine.quality.protocols import PROTOCOLS


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds to measure a whole set, by metric.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--protocol", default="standard")
    each = ["psnr,ssim", "ms-ssim", "fsim", "consistency"]
    parser.add_argument("--metrics", nargs="+", default=[*each, ",".join(each)])
    options = parser.parse_args()

    chosen = sets.find_set(options.folder, options.scale)
    pairs = list(sets.pairs(chosen))
    bicubic = Interpolation("bicubic", options.scale)
    pictures = [bicubic(pair.lr) for pair in pairs]
    print(f"{chosen.name} x{options.scale}, {len(pairs)} pictures, protocol {options.protocol}")
    for names in options.metrics:
        start, spent = time.perf_counter(), time.process_time()
        for pair, sr in zip(pairs, pictures, strict=True):
            figures_of(sr, pair, options.scale, PROTOCOLS[options.protocol], names.split(","))
        wall, busy = time.perf_counter() - start, time.process_time() - spent
        print(f"{names:38} {wall:7.2f} s, {busy:.2f} s of processor time")


if __name__ == "__main__":
    main()
