"""[degradation]: how pictures are spoilt before people have them, so that a network learns to undo it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from superfine.training.recipe.fields import Amount, Section, Share

MARGIN = 8
"""LR pixels around a patch that are spoilt with it and then cut off: JPEG blocks and blur reach out of the patch."""

Kernel = Literal[
    "bicubic", "bilinear", "lanczos", "area", "bicubic-aliased", "bilinear-aliased", "lanczos-aliased", "nearest"
]
Process = Literal["blur", "noise", "jpeg"]
Quality = Annotated[float, Field(ge=1, le=100, strict=True)]
Sigma = Annotated[float, Field(ge=0, le=6, strict=True)]


class DegradationSection(Section):
    """[degradation]: how LR patches are spoilt, as real pictures are. Every probability is 0 unless given."""

    downscale: Share = 0.0
    """Share of the patches, 0..1, whose LR is made by one of `kernels` instead of the bit-exact bicubic."""
    kernels: tuple[Kernel, ...] = ("area", "bilinear", "lanczos", "bicubic-aliased")
    """Kernels of such a downscale, equally often; "-aliased" ones are not widened against aliasing."""
    blur: Share = 0.0
    """Share of the patches that are blurred."""
    blur_sigma: tuple[Sigma, Sigma] = (0.2, 1.0)
    """Least and most sigma of the Gaussian, in LR pixels."""
    anisotropic: Share = 0.5
    """Share of the blurred patches whose two axes differ, at any angle."""
    shake: Sigma = 0.0
    """Longest straight camera shake of a blurred patch, in LR pixels."""
    noise: Share = 0.0
    """Share of the patches with noise."""
    noise_sigma: Amount = 8.0
    """Most sigma of the Gaussian noise, in levels of 255."""
    poisson: Amount = 0.0
    """Most sigma of the photon noise at white, in levels of 255; its square falls with the brightness."""
    gray: Share = 0.4
    """Share of the noisy patches whose three channels have the same noise."""
    jpeg: Share = 0.0
    """Share of the patches saved as JPEG, with the grid of blocks anywhere."""
    jpeg_quality: tuple[Quality, Quality, Quality] = (40.0, 80.0, 95.0)
    """Lowest, most frequent and highest quality (libjpeg's); in between the odds rise and fall along straight lines."""
    subsampling: tuple[Amount, Amount, Amount] = (0.3, 0.1, 0.6)
    """How often colour is stored at full size (4:4:4), half the width (4:2:2) and half of both (4:2:0)."""
    jpeg_twice: Share = 0.0
    """Share of the JPEG patches that are saved once more, at another quality and grid."""
    order: tuple[Process, Process, Process] = ("blur", "noise", "jpeg")
    """The order in which they are applied, each to the 8-bit result of the one before."""
    random_order: Share = 0.0
    """Share of the patches where the order is drawn by chance."""

    @model_validator(mode="after")
    def _ranges_fit(self) -> DegradationSection:
        if self.blur_sigma[0] > self.blur_sigma[1]:
            raise ValueError("blur_sigma wants the least first, then the most")
        if list(self.jpeg_quality) != sorted(self.jpeg_quality):
            raise ValueError("jpeg_quality wants the lowest first, then the most frequent, then the highest")
        if not any(self.subsampling):
            raise ValueError("subsampling leaves every way to store colour out")
        if not self.kernels:
            raise ValueError("kernels wants at least one")
        if len(set(self.order)) != 3:
            raise ValueError("order wants each of blur, noise and jpeg once")
        return self

    @property
    def active(self) -> bool:
        """True if any patch is ever changed."""
        return any((self.downscale, self.blur, self.noise, self.jpeg))

    @property
    def margins(self) -> tuple[int, int]:
        """LR pixels to be cut around the LR patch, and around the HR patch (of which LR may be made anew)."""
        return (MARGIN, MARGIN if self.downscale else 0) if self.active else (0, 0)
