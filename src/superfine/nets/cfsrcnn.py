"""CFSRCNN: Tian et al., "Coarse-to-Fine CNN for Image Super-Resolution", IEEE Transactions on
Multimedia 23 (2021) 1489-1502."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from superfine.nets.kernels import fused, wide_tail
from superfine.nets.layers import (
    RGB_MEAN,
    SCALES,
    Upsampler,
    WideConv2d,
    check_scales,
    choose_scale,
    conv1x1,
    conv3x3,
    upsampler_radius,
)


@dataclass(frozen=True)
class CFSRCNNConfig:
    """What makes one CFSRCNN differ from another; the defaults are the paper's."""

    scales: tuple[int, ...] = SCALES
    """Magnifications with an upsampler branch."""
    width: int = 64
    """Feature channels."""
    units: int = 16
    """Feature extraction units after f0: f1 ... f16."""
    enhance: int = 5
    """Convolutions after the sum in the enhancement block (conv35 ... conv39)."""
    refine: int = 5
    """Convolutions at HR size in the feature refinement block (conv34_1 ... conv34_5)."""

    def __post_init__(self) -> None:
        check_scales(self.scales)
        if self.width < 1 or self.units < 2 or self.enhance < 0 or self.refine < 0:
            raise ValueError("CFSRCNN wants width >= 1, units >= 2, enhance >= 0 and refine >= 0")


class CFSRCNN(nn.Module):
    """Coarse-to-fine network: stacked heterogeneous units, enhancement, one shared upsampler, refinement.

    Input NCHW float, RGB in 0..1, ``(n, 3, h, w)``; output ``(n, 3, h·scale, w·scale)``, about 0..1,
    not clamped.

    The paper upsamples the deep features e and the shallow f0 with one upsampler, used twice, and adds
    the results. It is linear, so it runs here once, on e + f0, with its bias counted twice: the same
    function, 7 / 10 / 14 % less work at x2 / x3 / x4.
    """

    name = "cfsrcnn"
    parts = ("shallow", "first_unit", "unit", "sum_up", "convolve", "enlarge", "to_rgb")
    """What `forward` calls, in order."""

    def __init__(self, config: CFSRCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config or CFSRCNNConfig()
        width, units = self.config.width, self.config.units
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = conv3x3(3, width)
        # compress[k] is the compression unit (1x1) in front of extract[k]; the first sees f0 alone.
        self.compress = nn.ModuleList(conv1x1(width if k == 0 else 2 * width, width) for k in range(units))
        self.extract = nn.ModuleList(conv3x3(width, width) for _ in range(units))
        self.gather = conv3x3(2 * width, width)
        self.enhance = nn.ModuleList(conv3x3(width, width) for _ in range(self.config.enhance))
        self.upsampler = Upsampler(width, self.config.scales)
        self.refine = nn.ModuleList(conv3x3(width, width) for _ in range(self.config.refine))
        self.tail = WideConv2d(width, 3, 3, padding=1, bias=False)

    mean: Tensor

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        scale = choose_scale(self.config.scales, scale)
        f0, e = self.features(x)
        y = self.enlarge(e, f0, scale)  # (n, width, h·scale, w·scale)
        for conv in self.refine:
            y = self.convolve(conv, y)
        return self.to_rgb(y)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f0 and the enhanced features e, both (n, width, h, w)."""
        f0 = self.shallow(x)
        last, total = self.first_unit(f0)
        seen = (f0, last)
        for compress, extract in zip(self.compress[1:], self.extract[1:], strict=True):
            last, total = self.unit(compress, extract, *seen, total)
            seen = (seen[1], last)
        e = self.sum_up(*seen, total)
        for conv in self.enhance:
            e = self.convolve(conv, e)
        return f0, e

    def shallow(self, x: Tensor) -> Tensor:
        """f0: (n, 3, h, w) → (n, width, h, w)."""
        return F.relu(self.head(x - self.mean))

    def first_unit(self, f0: Tensor) -> tuple[Tensor, Tensor]:
        """relu(f1), which the next units read, and the sum f0 + f1."""
        last = self.extract[0](fused.conv_relu(self.compress[0], f0))  # f1 ... f16 carry no activation
        return F.relu(last), f0 + last

    @staticmethod
    def unit(
        compress: nn.Module, extract: nn.Module, older: Tensor, newer: Tensor, total: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A feature extraction unit: from the two units before it, relu of its own features, and the sum with them."""
        last = extract(fused.conv_relu(compress, torch.cat([older, newer], dim=1)))  # (n, 2·width, h, w) → width
        return F.relu(last), total + last

    def sum_up(self, older: Tensor, newer: Tensor, total: Tensor) -> Tensor:
        """The start of the enhancement block: every unit's features, and the last two mixed once more."""
        return F.relu(total + self.gather(torch.cat([older, newer], dim=1)))

    @staticmethod
    def convolve(conv: nn.Module, x: Tensor) -> Tensor:
        """relu(conv(x))."""
        return fused.conv_relu(conv, x)

    def enlarge(self, e: Tensor, f0: Tensor, scale: int) -> Tensor:
        """Both the deep and the shallow features, upsampled: (n, width, h, w) → (n, width, h·scale, w·scale)."""
        return F.relu(self.upsampler(e + f0, scale, bias_times=2))

    def to_rgb(self, y: Tensor) -> Tensor:
        """(n, width, h, w) → (n, 3, h, w), about 0..1."""
        if fused.pays(y):
            return wide_tail.tail(y, self.tail.weight, 1) + self.mean
        sr: Tensor = self.tail(y) + self.mean
        return sr

    def receptive_radius(self, scale: int) -> Fraction:
        """How many LR pixels to each side one SR pixel depends on: one a 3x3 convolution on the longest path."""
        body = 1 + self.config.units + 1 + self.config.enhance  # head, f1..f16, gather, enhance
        return body + upsampler_radius(scale) + Fraction(self.config.refine + 1, scale)
