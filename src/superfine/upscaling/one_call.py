"""The shortest way: one picture, one call."""

from __future__ import annotations

from os import PathLike
from typing import Any, Unpack, overload

from PIL import Image

from superfine.engines import Engine
from superfine.upscaling.auto import AUTO
from superfine.upscaling.plan import Size
from superfine.upscaling.tiled import Progress
from superfine.upscaling.upscaler import Kind, Scale, Upscaler


class UpscaleKeywords(Size, total=False):
    """Every keyword of `upscale`: a size, and how it is computed (see Upscaler)."""

    device: str
    engine: str | Engine
    precision: str
    tile: int | None
    tta: bool
    back_projection: bool
    memory: int | str | None
    alpha: str
    tone_map: bool
    progress: Progress | None


@overload
def upscale(
    image: str | PathLike[str] | Image.Image,
    scale: Scale | None = None,
    model: str | PathLike[str] = AUTO,
    **options: Unpack[UpscaleKeywords],
) -> Image.Image: ...
@overload
def upscale(
    image: Kind, scale: Scale | None = None, model: str | PathLike[str] = AUTO, **options: Unpack[UpscaleKeywords]
) -> Kind: ...


def upscale(
    image: Any,
    scale: Scale | None = None,
    model: str | PathLike[str] = AUTO,
    *,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
    short_edge: int | None = None,
    megapixels: float | str | None = None,
    size: tuple[int, int] | str | None = None,
    print: str | None = None,
    fit: str = "contain",
    device: str = "auto",
    engine: str | Engine = "auto",
    precision: str = "auto",
    tile: int | None = None,
    tta: bool = False,
    back_projection: bool = False,
    memory: int | str | None = None,
    alpha: str = "network",
    tone_map: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Bring one picture to a size: 4 times as wide and high, unless another is named.

        >>> superfine.upscale("photo.jpg").save("larger.png")
        >>> superfine.upscale("photo.jpg", width=3000).save("larger.png")

    `Upscaler` says what goes in, what comes out and what every keyword means. For several pictures, keep one Upscaler:
    it opens its network once.
    """
    upscaler = Upscaler(
        model, device=device, engine=engine, precision=precision, tile=tile, tta=tta, back_projection=back_projection,
        memory=memory, alpha=alpha, tone_map=tone_map,
    )  # fmt: skip
    return upscaler(
        image, scale, width=width, height=height, long_edge=long_edge, short_edge=short_edge, megapixels=megapixels,
        size=size, print=print, fit=fit, progress=progress,
    )  # fmt: skip
