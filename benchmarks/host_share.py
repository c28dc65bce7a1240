"""Measure how much of a GPU's rate the host lets it reach: pictures in memory, through a device that only waits.

    python benchmarks/host_share.py [--milliseconds 12.2] [--sizes 1024 256]

The device takes as long for each megapixel as an H200 does (docs/speed.md), and gives an empty result; cutting,
stacking, stitching and the order of everything are the program's own. "One by one" waits for each result before the
next window.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from superfine.engines.base import Window
from superfine.engines.launch import Work
from superfine.engines.pytorch import PyTorchEngine
from superfine.images import Picture
from superfine.nets import ESRGCNNConfig, build
from superfine.upscaling import TiledUpscaler

SCALE, WINDOW = 2, 2**21
"""As on CUDA: LR pixels of the largest window at x2."""


class Waiting:
    """A device that waits on a thread of its own, and computes nothing."""

    def __init__(self, milliseconds: float, ahead: int) -> None:
        """milliseconds: a megapixel of LR."""
        self.ahead = ahead
        self._milliseconds = milliseconds
        self._thread = ThreadPoolExecutor(1)
        self._results: dict[tuple[int, ...], Window] = {}

    def launch(self, windows: Sequence[Window], work: Work) -> Future[Window]:
        given = np.stack(windows)
        count, height, width, _ = given.shape
        shape = count, height * SCALE, width * SCALE, 3
        result = self._results.setdefault(shape, np.zeros(shape, np.uint8))

        def wait() -> Window:
            time.sleep(count * height * width / 2**20 * self._milliseconds / 1000)
            return result

        return self._thread.submit(wait)

    def release(self) -> None:
        self._results.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description="The share of a GPU's rate that the host lets it reach.")
    parser.add_argument("--milliseconds", type=float, default=12.2, help="of the device, a megapixel of LR")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 256], help="sides of square pictures")
    options = parser.parse_args()
    network = build(ESRGCNNConfig()).eval()
    print(f"a device of {options.milliseconds} ms a megapixel, x{SCALE}, milliseconds a picture")
    for side in options.sizes:
        random = np.random.default_rng(side)
        count = max(4, 60 * 2**20 // side**2 // 4 * 4)
        kinds = [Picture(random.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(4)]
        for name, ahead in (("one by one", 0), ("ahead", 1)):
            engine = PyTorchEngine.of_network(network, SCALE, "fp32", "cpu", Waiting(options.milliseconds, ahead))
            engine.limit(WINDOW)
            tiled = TiledUpscaler(engine)
            for _ in range(2):  # the first warms the caches
                start = time.perf_counter()
                for _ in tiled.stream(kinds * (count // 4)):
                    pass
                took = 1000 * (time.perf_counter() - start) / count
            share = side**2 / 2**20 * options.milliseconds / took
            print(f"{side}x{side}, {name}: {took:.2f}, {share:.0%} of the device's rate", flush=True)


if __name__ == "__main__":
    main()
