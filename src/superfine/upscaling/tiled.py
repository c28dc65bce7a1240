"""The Python door: a picture of any kind in, the same kind out, larger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine.engines import Engine, open_engine
from superfine.engines.base import is_out_of_memory
from superfine.errors import EngineError, ImageError, PlanError
from superfine.images.alpha import UNIFORM_RADIUS
from superfine.images.bands import Band
from superfine.images.depth import Pixels, as_float32
from superfine.images.picture import Picture, from_pil, to_pil, unit_floats
from superfine.images.profile import decode_linear, encode_linear, is_linear
from superfine.images.rows import PictureRows, Rows
from superfine.upscaling.stitch import Progress, magnify_alpha, run_alpha, run_tiles, run_tiles_float
from superfine.upscaling.tiles import Tile, choose_tile, plan_bands
from superfine.weights import find


class Upscaler:
    """A loaded network, ready for any number of pictures.

    >>> upscale = Upscaler("esrgcnn", scale=4)
    >>> larger = upscale("photo.jpg")  # a PIL image
    >>> larger.save("larger.png")

    model: a shipped name ("esrgcnn", "cfsrcnn", "esrgcnn-x2") or the path of a weights file.
    scale: 2, 3 or 4.
    engine: "auto", "openvino", "pytorch" (or "pytorch:cuda", ...), "nearest", or an `Engine` of your own.
    precision: "auto" (bfloat16 where the hardware computes in it), "fp32", "bf16", "fp16" or "int8".
    tile: LR pixels an inner tile keeps, at most; None chooses. The result is the same for every value.
    alpha: how transparency grows: "network", as sharp as the colour, or "bicubic", at no cost.

    Raises ModelError, CheckpointError or EngineError, with one line that says what to do.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "esrgcnn",
        scale: int = 4,
        engine: str | Engine = "auto",
        precision: str = "auto",
        tile: int | None = None,
        alpha: str = "network",
    ) -> None:
        if alpha not in ("network", "bicubic"):
            raise PlanError(f"alpha grows by network or bicubic, not by {alpha!r}")
        self.alpha = alpha
        if tile is not None and tile < 1:
            raise PlanError(f"a tile keeps at least 1 pixel, not {tile}")
        self.tile = tile
        if isinstance(engine, str):
            weightless = engine == "nearest"
            engine = open_engine(None if weightless else find(Path(model)), scale, engine, precision)
        self.engine: Engine = engine
        self._most = engine.window
        self._rows: int | None = None

    @property
    def scale(self) -> int:
        return self.engine.scale

    def fit(self, window: int | None, rows: int | None = None) -> None:
        """Keep to windows of at most so many LR pixels, and bands that keep so many LR rows; None: what runs best."""
        self.engine.limit(self._most if window is None else min(window, self._most))
        self._rows = rows

    def plan(self, height: int, width: int) -> list[Tile]:
        """The tiles a picture of height x width LR pixels is cut into."""
        return [tile for band in self.plan_bands(height, width) for tile in band]

    def plan_bands(self, height: int, width: int, done: int = 0) -> list[list[Tile]]:
        """The same, a list for each row of tiles; for what is left, if `done` rows are made."""
        halo = self.engine.halo
        tile = self.tile or choose_tile(height, width, halo, self.engine.window, self._rows)
        return plan_bands(height, width, tile, halo, done, self.engine.grid)

    def _shrink(self, error: Exception, tile: Tile) -> None:
        """After an error: if memory ran out, windows of half the size; the result is the same for every size.

        They are kept for the pictures that follow. Raises EngineError when the window was the smallest, and the
        error itself if it is another.
        """
        if not is_out_of_memory(error):
            raise error
        height, width, context = tile.read.height, tile.read.width, 2 * self.engine.halo + 1
        if height * width <= min(height, context) * min(width, context):
            raise EngineError(
                f"out of memory with the smallest window, {width}x{height} pixels: "
                "close other programs, or take a smaller scale"
            ) from error
        self.tile, self._most = None, height * width // 2
        self.engine.limit(self._most)

    @overload
    def __call__(self, image: str | PathLike[str], *, progress: Progress | None = None) -> Image.Image: ...
    @overload
    def __call__(self, image: Image.Image, *, progress: Progress | None = None) -> Image.Image: ...
    @overload
    def __call__(self, image: Picture, *, progress: Progress | None = None) -> Picture: ...
    @overload
    def __call__(self, image: NDArray[Any], *, progress: Progress | None = None) -> NDArray[Any]: ...

    def __call__(
        self, image: str | PathLike[str] | Image.Image | Picture | NDArray[Any], *, progress: Progress | None = None
    ) -> Image.Image | Picture | NDArray[Any]:
        """The picture, `scale` times as wide and high.

        A path or PIL image gives a PIL image, a Picture a Picture, an array an array of its type:
        uint8 0..255, uint16 0..65535 or float 0..1, HW (gray) or HWC with 1 (gray), 2 (gray, alpha),
        3 (RGB) or 4 (RGB, alpha) channels. Gray stays gray, neutral RGB neutral, and metadata is carried.
        `progress(done, total)` is called after every tile.

        Raises ImageError for a picture that cannot be read, or an array of another kind.
        """
        if isinstance(image, Picture):
            return self.upscale_picture(image, progress)
        if isinstance(image, np.ndarray):
            return _to_array(self.upscale_picture(_from_array(image), progress), image)
        if isinstance(image, Image.Image):
            return to_pil(self.upscale_picture(from_pil(image), progress))
        if isinstance(image, (str, PathLike)):
            from superfine import images  # reading files needs decoders that arrays do not

            return to_pil(self.upscale_picture(images.read(Path(image)), progress))
        kind = type(image).__name__
        raise ImageError(f"cannot upscale a {kind}: give a path, a PIL image, a NumPy array or a Picture")

    def upscale_picture(self, picture: Picture, progress: Progress | None = None) -> Picture:
        """A Picture, larger; what is not pixels comes along."""
        if picture.alpha is None or self.alpha == "network":
            pixels, alpha = self._whole(PictureRows(picture), progress)
        else:
            pixels, _ = self._whole(PictureRows(picture, alpha=False), progress)
            alpha = magnify_alpha(picture.alpha, self.scale)
        return replace(picture, pixels=pixels, alpha=alpha)

    def _whole(self, rows: Rows, progress: Progress | None) -> Band:
        """All bands in one."""
        height, head = rows.height * self.scale, rows.head
        size = (height, head.width * self.scale)
        whole: Band | None = None
        top = 0
        for pixels, alpha in self.bands(rows, progress):
            if len(pixels) == height:
                return pixels, alpha
            if whole is None:
                cover = None if alpha is None else np.empty(size, alpha.dtype)
                whole = np.empty((*size, pixels.shape[2]), pixels.dtype), cover
            part = slice(top, top + len(pixels))
            whole[0][part] = pixels
            if alpha is not None and whole[1] is not None:
                whole[1][part] = alpha
            top += len(pixels)
        assert whole is not None
        return whole

    def bands(self, rows: Rows, progress: Progress | None = None) -> Iterator[Band]:
        """The result from the top, a row of tiles at a time; nothing larger than that is held.

        Where memory runs out it goes on from the last band with smaller windows.
        """
        made = ticks = 0

        def tick() -> None:
            nonlocal ticks
            ticks += 1
            if progress is not None:
                progress(ticks, max(ticks, total))

        while made < rows.height:
            plan = self.plan_bands(rows.height, rows.head.width, made)
            total = ticks + sum(len(tiles) for tiles in plan)
            for tiles in plan:
                before = ticks
                try:
                    band = self._band(rows, tiles, tick)
                except (MemoryError, RuntimeError) as error:
                    self._shrink(error, tiles[0])
                    ticks = before
                    break
                yield band
                made = tiles[0].keep.bottom

    def _band(self, rows: Rows, tiles: Sequence[Tile], tick: Callable[[], None]) -> Band:
        """What one row of tiles makes. Values a profile calls linear go through the network on sRGB's tone curve."""
        first, last = tiles[0].keep.top, tiles[0].keep.bottom
        top = max(0, min(tiles[0].read.top, first - UNIFORM_RADIUS))
        pixels, alpha = rows.band(top, min(rows.height, max(tiles[0].read.bottom, last + UNIFORM_RADIUS)))
        gray, linear = pixels.shape[2] == 1, is_linear(rows.head.icc)
        given = pixels[:, :, :1] if rows.neutral else pixels
        larger = run_tiles(self.engine, encode_linear(given) if linear else given, tiles, tick, top)
        if linear:
            larger = decode_linear(larger, pixels.dtype)
        if rows.neutral and not gray:
            larger = larger.repeat(3, axis=2)
        return larger, None if alpha is None else run_alpha(self.engine, alpha, tiles, top)

    def upscale_float(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """HWC uint8 RGB → HWC float32, about 0..1, neither clamped nor rounded: a protocol rounds it."""
        height, width, _ = rgb.shape
        while True:
            tiles = self.plan(height, width)
            try:
                return run_tiles_float(self.engine, as_float32(rgb), tiles)
            except (MemoryError, RuntimeError) as error:
                self._shrink(error, tiles[0])


def upscale(
    image: Any,
    scale: int = 4,
    model: str | PathLike[str] = "esrgcnn",
    *,
    engine: str | Engine = "auto",
    precision: str = "auto",
    tile: int | None = None,
) -> Any:
    """One picture, `scale` times as wide and high; see `Upscaler` for what goes in and comes out.

    >>> superfine.upscale("photo.jpg", scale=4).save("larger.png")

    For several pictures an `Upscaler` loads its network once.
    """
    return Upscaler(model, scale, engine, precision, tile)(image)


def _from_array(array: NDArray[Any]) -> Picture:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or not 1 <= channels <= 4 or min(array.shape[:2]) < 1:
        raise ImageError(f"an array of shape {array.shape} is no picture: want HW, or HWC with 1 to 4 channels")
    if array.dtype.kind == "f":
        values: Pixels = unit_floats(array)
    elif array.dtype in (np.uint8, np.uint16):
        values = array
    else:
        raise ImageError(f"an array of {array.dtype} is no picture: want uint8, uint16, or float 0..1")
    if values.ndim == 2:
        return Picture(values[:, :, None])
    if channels in (2, 4):
        return Picture(values[:, :, :-1], alpha=values[:, :, -1])
    return Picture(values)


def _to_array(picture: Picture, like: NDArray[Any]) -> NDArray[Any]:
    """The array of a picture, with the dimensions and the type of the array it came from."""
    pixels = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    pixels = pixels.astype(like.dtype, copy=False)
    return pixels[:, :, 0] if like.ndim == 2 else pixels
