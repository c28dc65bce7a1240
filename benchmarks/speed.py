"""Speed against the published form, both in one run.

    python benchmarks/speed.py [--size 360] [--scale 2] [--repeat 5]

Baseline: the network as published in PyTorch, eager, float32, default memory format, the whole picture at once.
Ours: `Upscaler` from a uint8 picture to a uint8 picture, by engine and precision. Both in one process,
after a warm-up, median of the repeats, by the clock and in processor time of all threads: the latter holds on a
machine that other programs share. Needs PyTorch for the baseline.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from superfine.cores import cores
from superfine.errors import EngineError
from superfine.nets import CFSRCNN
from superfine.upscaling import Upscaler
from superfine.weights import find, network_file

Times = tuple[float, float]
"""Seconds by the clock, and of processor time."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of every precision against PyTorch eager float32.")
    parser.add_argument("--models", nargs="+", default=["esrgcnn", "cfsrcnn"])
    parser.add_argument("--size", type=int, default=360, help="side of the square input, LR pixels")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8"])
    options = parser.parse_args()

    torch.set_num_threads(cores())
    picture = np.random.default_rng(0).integers(0, 256, (options.size, options.size, 3), dtype=np.uint8)
    size, threads = f"{options.size}x{options.size}", torch.get_num_threads()
    print(f"{size}, x{options.scale}, {threads} threads, median of {options.repeat}")
    print(
        f"{'model':10} {'form':20} {'seconds':>8} {'times':>7} {'processor':>10} {'times':>7} {'most levels off':>16}"
    )
    for model in options.models:
        baseline = eager(model, options.scale)
        seconds, wanted = measure(baseline, picture, options.repeat)
        row(model, "PyTorch eager fp32", seconds, seconds, 0)
        for precision in options.precisions:
            try:
                upscaler = Upscaler(model, engine="openvino", precision=precision)
            except EngineError as error:
                print(f"{model:10} openvino {precision}: {error}")
                continue
            ours, sr = measure(partial(upscaler, scale=options.scale), picture, options.repeat)
            off = int(np.abs(sr.astype(int) - wanted.astype(int)).max())
            row(model, f"openvino {precision}", ours, seconds, off)


def eager(model: str, scale: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """The published programs' form: NCHW float32, the whole picture at once, CFSRCNN's upsampler used twice."""
    network: Any = network_file.load(find(model).weights).eval()
    forward = two_upsamplings if isinstance(network, CFSRCNN) else type(network).forward

    def run(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with torch.no_grad():
            x = torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous().float() / 255
            sr = forward(network, x, scale)[0].clamp(0, 1) * 255
            return sr.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()  # type: ignore[no-any-return]

    return run


def two_upsamplings(network: CFSRCNN, x: Tensor, scale: int) -> Tensor:
    """CFSRCNN as published: deep and shallow features enlarged one after the other; ours enlarges their sum."""
    shallow, deep = network.features(x)
    y = F.relu(network.upsampler(deep, scale) + network.upsampler(shallow, scale))
    for conv in network.refine:
        y = F.relu(conv(y))
    sr: Tensor = network.tail(y) + network.mean
    return sr


def measure(run: Callable[[Any], Any], picture: NDArray[np.uint8], repeat: int) -> tuple[Times, NDArray[np.uint8]]:
    """Median seconds of a run, by the clock and of processor time, after one to warm up, and its result."""
    result = run(picture)
    wall, processor = [], []
    for _ in range(repeat):
        start, busy = time.perf_counter(), time.process_time()
        run(picture)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    return (statistics.median(wall), statistics.median(processor)), result


def row(model: str, form: str, seconds: Times, baseline: Times, off: int) -> None:
    both = "".join(
        f" {here:{width}.3f} {there / here:6.2f}x"
        for here, there, width in zip(seconds, baseline, (8, 10), strict=True)
    )
    print(f"{model:10} {form:20}{both} {off:16d}", flush=True)


if __name__ == "__main__":
    main()
