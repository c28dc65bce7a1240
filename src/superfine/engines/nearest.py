"""An engine without weights that repeats every pixel: exact, and fast enough to test everything around engines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class NearestEngine:
    """Nearest-neighbour magnification by any whole factor; needs no context, so its halo is 0."""

    name = "nearest"
    precision = "fp32"
    device = "cpu"
    halo = 0
    grid = 1
    window = 1024 * 1024

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.pixel_bytes = 16 * scale**2  # the result, in float32

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW → NCHW, every value repeated scale x scale times."""
        return tile.repeat(self.scale, axis=2).repeat(self.scale, axis=3)

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC → HWC, every pixel repeated scale x scale times."""
        return tile.repeat(self.scale, axis=0).repeat(self.scale, axis=1)

    def limit(self, window: int) -> None:
        """Windows are one array and its repetition: any size will do."""
        self.window = window

    def release(self) -> None:
        """Nothing is held."""
