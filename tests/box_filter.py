"""A weightless engine with a halo, for tests of tiling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from superfine.engines.nearest import NearestEngine


class BoxFilter(NearestEngine):
    """Nearest, after a box filter with zero padding that sees `halo` LR pixels to each side: a wrong cut shows."""

    halo = 1

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        side = 2 * self.halo + 1
        padded = np.pad(tile, ((0, 0), (0, 0), (self.halo, self.halo), (self.halo, self.halo)))
        height, width = tile.shape[2:]
        total = sum(padded[:, :, y : y + height, x : x + width] for y in range(side) for x in range(side))
        return super().run((total / np.float32(side * side)).astype(np.float32))

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        sr = self.run(np.ascontiguousarray(tile.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255))
        return np.rint(np.clip(sr[0].transpose(1, 2, 0), 0, 1) * np.float32(255)).astype(np.uint8)
