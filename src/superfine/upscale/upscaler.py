"""The Python door: a picture of any kind in, the same kind out, larger."""

from __future__ import annotations

from collections.abc import Callable
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
from superfine.images.alpha import extend_edges
from superfine.images.depth import Pixels, as_float32
from superfine.images.picture import Picture, from_pil, to_pil, unit_floats
from superfine.images.profile import decode_linear, encode_linear, is_linear
from superfine.upscale.stitch import Progress, magnify_alpha, run_alpha, run_tiles, run_tiles_float
from superfine.upscale.tiles import Tile, choose_tile, plan_tiles
from superfine.weights import find


class Upscaler:
    """A loaded network, ready for any number of pictures.

    >>> upscale = Upscaler("esrgcnn", scale=4)
    >>> larger = upscale("photo.jpg")  # a PIL image
    >>> larger.save("larger.png")

    model: a shipped name ("esrgcnn", "cfsrcnn") or the path of a weights file.
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
        self._window = engine.window

    @property
    def scale(self) -> int:
        return self.engine.scale

    def plan(self, height: int, width: int) -> list[Tile]:
        """The tiles a picture of height x width LR pixels is cut into."""
        halo = self.engine.halo
        return plan_tiles(height, width, self.tile or choose_tile(height, width, halo, self._window), halo)

    def _with_less(self, height: int, width: int, run: Callable[[list[Tile]], Pixels]) -> Pixels:
        """`run` with the picture's tiles; where memory runs out, again with windows of half the size.

        The result is the same for every size. The smaller window is kept for the pictures that follow.
        Raises EngineError when the smallest window is too large.
        """
        while True:
            tiles = self.plan(height, width)
            try:
                return run(tiles)
            except (MemoryError, RuntimeError) as error:
                area = tiles[0].read.height * tiles[0].read.width
                smallest = min(height, 2 * self.engine.halo + 1) * min(width, 2 * self.engine.halo + 1)
                if not is_out_of_memory(error):
                    raise
                if area <= smallest:
                    raise EngineError(
                        f"out of memory with the smallest window, {tiles[0].read.width}x{tiles[0].read.height} pixels: "
                        "close other programs, or take a smaller scale"
                    ) from error
                self.tile, self._window = None, area // 2
                self.engine.release()

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
        """A Picture, larger; what is not pixels comes along.

        Pixels under full transparency take the colour of their visible neighbours, so that none bleeds into the
        edge. Values a profile calls linear go through the network on sRGB's tone curve, and back.
        """
        height, width = picture.height, picture.width
        pixels, alpha = picture.pixels, None
        if picture.alpha is not None:
            pixels = extend_edges(pixels, picture.alpha)
            alpha = self._upscale_alpha(picture.alpha)
        neutral = picture.is_gray or bool((pixels == pixels[:, :, :1]).all())
        linear = is_linear(picture.icc)
        window = pixels[:, :, :1] if neutral else pixels
        given = encode_linear(window) if linear else window
        larger = self._with_less(height, width, lambda tiles: run_tiles(self.engine, given, tiles, progress))
        if linear:
            larger = decode_linear(larger, pixels.dtype)
        if neutral and not picture.is_gray:
            larger = larger.repeat(3, axis=2)
        return replace(picture, pixels=larger, alpha=alpha)

    def _upscale_alpha(self, alpha: Pixels) -> Pixels:
        if self.alpha == "bicubic":
            return magnify_alpha(alpha, self.scale)
        height, width = alpha.shape
        return self._with_less(height, width, lambda tiles: run_alpha(self.engine, alpha, tiles))

    def upscale_float(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """HWC uint8 RGB → HWC float32, about 0..1, neither clamped nor rounded: a protocol rounds it."""
        height, width, _ = rgb.shape
        return self._with_less(height, width, lambda tiles: run_tiles_float(self.engine, as_float32(rgb), tiles))


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
