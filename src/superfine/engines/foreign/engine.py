"""The engine of other people's networks: sizes padded to what a network takes, luma models given colour."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from superfine.engines.base import round_to_uint8, widen
from superfine.engines.foreign.context import Context, measure_context
from superfine.images.resize import resize

Picture = NDArray[np.float32]

_SR_PIXELS, _SR_PIXELS_GPU = 2**20, 2**22
"""Pixels of the largest result a window is given; where memory does not suffice, tiling halves them."""

_SR_BYTES = 1024
"""Activations of networks of 64 channels take about so many for each pixel of the result."""

_TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
"""JPEG's luma and chroma, full range (ITU-T T.871), which is how the published luma models were fed."""
_TO_RGB = np.linalg.inv(_TO_YCBCR.astype(np.float64)).astype(np.float32)

_SEEN = 0.01 / 255
"""A difference below a hundredth of a level is not worth a word."""

_CUBIC_REACH = 3
"""LR pixels that bicubic chroma depends on."""


class Backend(Protocol):
    """A network in some runtime."""

    name: str
    precision: str
    device: str

    def run(self, tile: Picture) -> Picture:
        """NCHW float32 0..1, (1, channels, h, w) → (1, channels, h·scale, w·scale)."""
        ...

    def release(self) -> None:
        """Give back working memory."""
        ...


class ForeignEngine:
    """A foreign network that keeps the protocol of engines; its halo is measured when it is opened.

    channels: 3, or 1 for networks of luma alone, whose chroma grows by bicubic. multiple, minimum: what the network
    asks of its sides; windows are padded below and at the right. side: the only height and width it takes, if it has
    no choice. heavy: a run takes seconds.
    """

    def __init__(
        self,
        backend: Backend,
        title: str,
        scale: int,
        *,
        channels: int = 3,
        multiple: int = 1,
        minimum: int = 1,
        side: tuple[int, int] | None = None,
        heavy: bool = False,
    ) -> None:
        self._backend = backend
        self.name, self.precision, self.device = backend.name, backend.precision, backend.device
        self.scale, self._channels, self._multiple, self._minimum, self._fixed = (
            scale,
            channels,
            multiple,
            minimum,
            side,
        )
        pixels = _SR_PIXELS if self.device == "cpu" else _SR_PIXELS_GPU
        self.window, self.pixel_bytes = pixels // scale**2, _SR_BYTES * scale**2
        most = None if side is None else min(side)
        self.context: Context = measure_context(self.run, scale, multiple, most, heavy)
        self.halo = max(self.context.halo, 0 if channels == 3 else _CUBIC_REACH)
        self.grid = self.context.grid
        self.halo = -(-self.halo // self.grid) * self.grid
        self.side = most
        """Side of the largest window, in LR pixels; None if any will do."""
        self.remark = _remark(title, self.context)

    def run(self, tile: Picture) -> Picture:
        """NCHW float32 0..1 → NCHW float32, not clamped."""
        if self._channels == 3:
            return self._run(tile)
        planes = np.einsum("ij,njhw->nihw", _TO_YCBCR, tile)
        luma = self._run(np.ascontiguousarray(planes[:, :1]))
        height, width = luma.shape[2:]
        chroma = resize(planes[0, 1:].transpose(1, 2, 0) + 0.5, (height, width), "bicubic") - 0.5
        larger = np.concatenate([luma, chroma.transpose(2, 0, 1)[None]], axis=1)
        rgb: Picture = np.einsum("ij,njhw->nihw", _TO_RGB, larger)
        return rgb.astype(np.float32)

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 → HWC uint8."""
        return round_to_uint8(self.run(widen(tile)))

    def limit(self, window: int) -> None:
        """Keep to windows of at most so many LR pixels from now on."""
        self.window = window
        self.release()

    def release(self) -> None:
        """Give back the runtime's working memory."""
        self._backend.release()

    def _run(self, tile: Picture) -> Picture:
        height, width = tile.shape[2:]
        padded = pad(tile, *self._sides(height, width))
        sr = self._backend.run(padded)
        return sr[..., : height * self.scale, : width * self.scale]

    def _sides(self, height: int, width: int) -> tuple[int, int]:
        if self._fixed is not None:
            return self._fixed
        step = self._multiple
        high, wide = (-(-max(side, self._minimum) // step) * step for side in (height, width))
        return high, wide


def pad(tile: Picture, height: int, width: int) -> Picture:
    """Repeat the last row and column until a tile has these sides."""
    down, right = height - tile.shape[2], width - tile.shape[3]
    if not (down or right):
        return np.ascontiguousarray(tile)
    return np.pad(tile, ((0, 0), (0, 0), (0, down), (0, right)), mode="edge")


def _remark(title: str, context: Context) -> str:
    """Say what tiling costs a network that sees more than a tile carries; empty where that cannot be seen."""
    if context.difference < _SEEN:
        return ""
    return (
        f"{title} sees more of a picture than tiles carry ({context.halo} pixels around them): pictures that need "
        f"tiles differ from whole ones, by up to {context.difference * 255:.2g} of 255 levels where it was measured"
    )
