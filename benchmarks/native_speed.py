"""Engines side by side in one run: seconds of a window, uint8 to uint8, and its difference from float32.

    python benchmarks/native_speed.py [--size 360] [--scale 2] [--repeat 5] [--avx2]

Every engine and precision that runs here, in turn, so that a change of the machine's pace meets them all alike. Medians
by the clock, and of processor time of all threads, each beside OpenVINO's in fp32. --avx2 holds superfine's own
kernels and OpenVINO to AVX2, as most desktop processors have it; ncnn keeps what it finds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

import numpy as np

CHOICES = [
    *(("native", precision) for precision in ("fp32", "int16")),
    *(("openvino", precision) for precision in ("fp32", "bf16", "int8")),
    ("ncnn", "fp32"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of a window by engine and precision, in turn.")
    parser.add_argument("--models", nargs="+", default=["esrgcnn", "cfsrcnn"])
    parser.add_argument("--size", type=int, default=360, help="side of the square input, LR pixels")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--avx2", action="store_true", help="hold AVX-512 processors to AVX2")
    options = parser.parse_args()
    if options.avx2 and "SUPERFINE_INSTRUCTIONS" not in os.environ:  # read when the libraries are loaded
        held = os.environ | {"SUPERFINE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
        os.execve(sys.executable, [sys.executable, *sys.argv], held)

    from superfine.benchmark.result import machine
    from superfine.cores import cores
    from superfine.native.library import instructions

    size = f"{options.size}x{options.size}"
    print(
        f"{machine()['cpu']}, {cores()} cores, {instructions()}: {size}, x{options.scale}, median of {options.repeat}"
    )
    print(f"{'model':10} {'engine':16} {'seconds':>8} {'times':>6} {'processor':>10} {'times':>6} {'pixels off':>11}")
    for model in options.models:
        measure(model, options.scale, options.size, options.repeat)


def measure(model: str, scale: int, size: int, repeat: int) -> None:
    """Print a line for each engine that runs here."""
    from superfine.engines import Engine, open_engine
    from superfine.errors import EngineError
    from superfine.weights import find

    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    engines: dict[str, Engine] = {}
    for engine, precision in CHOICES:
        if precision in ("bf16", "int8") and "ONEDNN_MAX_CPU_ISA" in os.environ:  # held to AVX2, OpenVINO fails in bf16
            continue
        try:
            engines[f"{engine} {precision}"] = open_engine(find(model), scale, engine, precision, "cpu")
        except EngineError as error:
            print(f"{model:10} {engine} {precision}: {error}")
    results = {name: engine.run_uint8(picture).astype(int) for name, engine in engines.items()}  # to warm up
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for _ in range(repeat):
        for name, engine in engines.items():
            start, busy = time.perf_counter(), time.process_time()
            engine.run_uint8(picture)
            times[name].append((time.perf_counter() - start, time.process_time() - busy))
    base, wanted = "openvino fp32", results["openvino fp32"]
    medians = {name: [statistics.median(each) for each in zip(*runs, strict=True)] for name, runs in times.items()}
    for name, (wall, processor) in medians.items():
        share = (results[name] != wanted).any(axis=2).mean()
        print(
            f"{model:10} {name:16} {wall:8.3f} {medians[base][0] / wall:5.2f}x {processor:10.3f} "
            f"{medians[base][1] / processor:5.2f}x {share:10.2%}, by {np.abs(results[name] - wanted).max()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
