"""Do what follows the network's passes: the fine downscale, the cut, and the resolution a print is marked with."""

from dataclasses import dataclass, replace

from superfine.images.picture import Picture
from superfine.images.resize import shrink
from superfine.upscaling.back_projection import Consistency
from superfine.upscaling.plan import Plan


@dataclass(frozen=True)
class Upscaled:
    """A picture at its new size, and how it came there."""

    picture: Picture
    plan: Plan
    consistency: tuple[Consistency, ...]
    """The agreement of every pass with its input, where back-projection was requested."""


def finish(picture: Picture, plan: Plan, dpi: int | None) -> Picture:
    """Downscale and cut the picture after its last pass as the plan says; `dpi` None keeps its resolution."""
    pixels, alpha = shrink(picture.pixels, plan.resized), picture.alpha
    if alpha is not None:
        alpha = shrink(alpha, plan.resized)
    if plan.crop is not None:
        rows, columns = slice(plan.crop.top, plan.crop.bottom), slice(plan.crop.left, plan.crop.right)
        pixels, alpha = pixels[rows, columns], None if alpha is None else alpha[rows, columns]
    return replace(picture, pixels=pixels, alpha=alpha, dpi=resolution_after(picture.dpi, dpi), jpeg_quality=None)


def resolution_after(found: tuple[float, float] | None, dpi: int | None) -> tuple[float, float] | None:
    """Return the resolution that was asked for, otherwise the one that was found."""
    return found if dpi is None else (float(dpi), float(dpi))
