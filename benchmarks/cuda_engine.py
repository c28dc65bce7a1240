"""Measure the CUDA engine: what runs ahead and in batches gains, and whether results stay those of single windows.

    python benchmarks/cuda_engine.py [--models esrgcnn cfsrcnn] [--precisions fp16 tf32 fp32] [--size 1024] [--count 32]

Four tables: a large window alone, ahead, and on the device only, with the share of the copies that is hidden behind
computing; small windows alone and in batches; differences between the two ways; folders of files as a share of the
network's rate. Exit code 1 if results differ by more than is promised, 2 without an NVIDIA GPU. `--rehearse` runs
everything on the CPU with tiny pictures, to see that the program works. All of it takes some minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from batch import make_pictures
from superfine import images
from superfine.engines.base import Window, run_windows
from superfine.errors import SuperfineError
from superfine.upscaling.batch.jobs import plan_batch
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler
from superfine.weights import find

if TYPE_CHECKING:
    from superfine.engines.pytorch import PyTorchEngine

FLOAT_PROMISE, LEVEL_PROMISE = {"fp32": 1e-5}, 1
"""Largest difference by batching that is promised: of float32 results in fp32, and of 8-bit results, in levels."""

FILES = ("png", "jpg")


@dataclass(frozen=True)
class Sizes:
    """Sides of the pictures in LR pixels, and how many and how often."""

    large: int
    small: tuple[int, ...]
    count: int
    repeat: int


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the CUDA engine.")
    parser.add_argument("--models", nargs="+", default=["esrgcnn", "cfsrcnn"])
    parser.add_argument("--precisions", nargs="+", default=["fp16", "tf32", "fp32"])
    parser.add_argument("--size", type=int, default=1024, help="side of the large window, LR pixels")
    parser.add_argument("--count", type=int, default=32, help="windows and files of each measurement")
    parser.add_argument("--rehearse", action="store_true", help="tiny pictures on the CPU")
    options = parser.parse_args(arguments)
    try:
        import torch
    except ModuleNotFoundError:
        print("benchmarks/cuda_engine.py needs PyTorch: pip install 'superfine[torch]'", file=sys.stderr)
        return 2
    if not (options.rehearse or torch.cuda.is_available()):
        print("no NVIDIA GPU that PyTorch can use is here; --rehearse runs this on the CPU", file=sys.stderr)
        return 2
    sizes = Sizes(options.size, (64, 128, 256, 512), options.count, 9)
    device, precisions, models = "cuda", options.precisions, options.models
    if options.rehearse:
        sizes, device, precisions, models = Sizes(20, (8, 12), 3, 1), "cpu", ["fp32"], models[:1]
    name = torch.cuda.get_device_name() if device == "cuda" else "a rehearsal on the CPU: these figures say nothing"
    print(f"{name}, PyTorch {torch.__version__}, x2, milliseconds a window")
    sound = True
    for model in models:
        for precision in precisions:
            try:
                sound &= measure(model, precision, device, sizes)
            except SuperfineError as error:
                print(f"{model} {precision}: {error}")
    return 0 if sound else 1


def measure(model: str, precision: str, device: str, sizes: Sizes) -> bool:
    """Print all of one network in one precision; say if results are as promised."""
    from superfine.engines.pytorch import PyTorchEngine

    engine = PyTorchEngine(find(model), 2, precision, device)
    title = f"{model} {precision}"
    large_windows(title, engine, sizes)
    for side in sizes.small:
        small_windows(title, engine, side, sizes)
    sound = differences(title, engine, sizes)
    upscaler = Upscaler(model, engine="pytorch", precision=precision, device=device)
    for side in (sizes.small[-2], sizes.large):
        for suffix in FILES:
            files(title, upscaler, side, suffix, sizes)
    return sound


def large_windows(title: str, engine: PyTorchEngine, sizes: Sizes) -> None:
    """One window of the large size: alone with its copies, as one of many, and computing only."""
    windows = noise(sizes.large, sizes.count)
    warm_up(engine, windows[:4])
    alone = median(lambda: engine.run_uint8(windows[0]), sizes.repeat)
    ahead = median(lambda: run_all(engine, windows), 3) / len(windows)
    computing = device_milliseconds(engine, sizes.repeat)
    line = f"{title}, {sizes.large}x{sizes.large}: alone {alone:.2f}, ahead {ahead:.2f}"
    if computing is not None:
        hidden = (alone - ahead) / max(1e-9, alone - computing)
        line += f", computing {computing:.2f}: {computing / ahead:.0%} of the device's rate, {hidden:.0%} of the rest "
        line += "hidden"
    print(line, flush=True)


def small_windows(title: str, engine: PyTorchEngine, side: int, sizes: Sizes) -> None:
    """Small windows, one by one and in batches."""
    windows = noise(side, max(sizes.count, 3))
    largest = [len(batch) for batch in run_windows(engine, iter(windows))]
    warm_up(engine, windows)
    alone = median(lambda: [engine.run_uint8(each) for each in windows], 3) / len(windows)
    together = median(lambda: run_all(engine, windows), 3) / len(windows)
    rate = side * side * 4 / together / 1000
    print(
        f"{title}, {side}x{side}: alone {alone:.3f}, in batches of {max(largest)} {together:.3f} "
        f"({alone / together:.1f} times as fast, {rate:.0f} megapixels/s)",
        flush=True,
    )


def differences(title: str, engine: PyTorchEngine, sizes: Sizes) -> bool:
    """Compare results of batches with those of single windows."""
    side, promised = sizes.small[-1], FLOAT_PROMISE.get(engine.precision)
    levels = noise(side, 5)
    floats = [(each.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32) for each in levels]
    warm_up(engine, [*levels, *floats])
    large = noise(sizes.large, 3)
    warm_up(engine, large)
    same = all(map(np.array_equal, run_all(engine, large), [engine.run_uint8(each) for each in large]))
    off = [
        np.abs(one.astype(np.float64) - other)
        for windows, run in ((levels, engine.run_uint8), (floats, engine.run))
        for one, other in zip(run_all(engine, windows), map(run, windows), strict=True)
    ]
    by_levels, by_floats = max(each.max() for each in off[:5]), max(each.max() for each in off[5:])
    changed = np.mean([(each > 0).mean() for each in off[:5]])
    sound = by_levels <= LEVEL_PROMISE and (promised is None or by_floats <= promised)
    print(
        f"{title}, batches against single windows: {by_levels:.0f} levels at most in {changed:.2%} of the values, "
        f"{by_floats:.1e} in float32; ahead without a batch {'the same to the bit' if same else 'NOT THE SAME BITS'}"
        f"{'' if sound else ': MORE THAN IS PROMISED'}",
        flush=True,
    )
    return sound and same


def files(title: str, upscaler: Upscaler, side: int, suffix: str, sizes: Sizes) -> None:
    """A folder from file to file, as a share of the network's rate from memory to memory."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        make_pictures(source, sizes.count, side, side)
        pictures = [images.read(path) for path in sorted(source.iterdir())]
        tiled = upscaler.tiled(2)
        for _ in range(3):  # compiles, records, and warms the caches
            for _ in tiled.stream(pictures):
                pass
        network = median(lambda: [None for _ in tiled.stream(pictures)], 3)
        jobs = plan_batch([str(source)], str(target), format=f".{suffix}").jobs
        start = time.perf_counter()
        outcomes = list(run_jobs(jobs, upscaler, Target(scale=Fraction(2)), Settings()))
        whole = 1000 * (time.perf_counter() - start)
    wrong = [each.error for each in outcomes if each.error is not None]
    if wrong:
        raise wrong[0]
    print(
        f"{title}, {sizes.count} files {side}x{side} PNG to {suffix.upper()}: {whole / sizes.count:.2f}, network "
        f"{network / sizes.count:.2f}: {network / whole:.0%} of its rate",
        flush=True,
    )


def noise(side: int, count: int) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(side)
    return [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def run_all(engine: PyTorchEngine, windows: list[Window]) -> list[Window]:
    """Give the results of all windows, run ahead; they are copied, as a picture's tiles are put into it."""
    return [each.copy() for batch in run_windows(engine, iter(windows)) for each in batch]


def warm_up(engine: PyTorchEngine, windows: list[Window]) -> None:
    """Run every size and batch often enough to be recorded."""
    for _ in range(3):
        run_all(engine, windows)
        for window in islice(windows, 2):
            (engine.run_uint8 if window.dtype == np.uint8 else engine.run)(window)


def median(work: Callable[[], object], repeat: int) -> float:
    """Median milliseconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def device_milliseconds(engine: PyTorchEngine, repeat: int) -> float | None:
    """Milliseconds of the last recording without copies; None where nothing is recorded."""
    seen = getattr(engine._launcher, "_seen", {})
    recordings = [each for each in seen.values() if each is not None]
    if not recordings:
        return None
    import torch

    times = []
    for _ in range(repeat):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        recordings[-1].graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
