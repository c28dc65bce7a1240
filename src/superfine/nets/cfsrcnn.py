"""CFSRCNN: Tian et al., "Coarse-to-Fine CNN for Image Super-Resolution", IEEE Transactions on
Multimedia 23 (2021) 1489-1502."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from superfine.nets import start
from superfine.nets.base import Network, Shapes, count_keys, kernel_shape
from superfine.nets.layers import (
    RGB_MEAN,
    SCALES,
    Conv,
    Convs,
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
    """Sizes of a CFSRCNN; the defaults are the paper's."""

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


class CFSRCNN(Network):
    """Coarse-to-fine network: stacked heterogeneous units, enhancement, one shared upsampler, refinement.

    Input NCHW float, RGB in 0..1, ``(n, 3, h, w)``; output ``(n, 3, h·scale, w·scale)``, about 0..1,
    not clamped.

    The paper upsamples the deep features e and the shallow f0 with one upsampler, used twice, and adds
    the results. It is linear, so it runs here once, on e + f0, with its bias counted twice: the same
    function, 7 / 10 / 14 % less work at x2 / x3 / x4.
    """

    name = "cfsrcnn"
    title = "CFSRCNN (coarse to fine, 2021)"
    Config = CFSRCNNConfig
    parts = ("shallow", "first_unit", "unit", "sum_up", "convolve", "enlarge", "to_rgb")
    feature_maps = 26  # f0 ... f16 are kept for their sum
    he_start = True

    config: CFSRCNNConfig

    def __init__(self, config: CFSRCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config or CFSRCNNConfig()
        width, units = self.config.width, self.config.units
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = conv3x3(3, width)
        # compress[k] is the compression unit (1x1) in front of extract[k]; the first sees f0 alone.
        self.compress = Convs(conv1x1(width if k == 0 else 2 * width, width) for k in range(units))
        self.extract = Convs(conv3x3(width, width) for _ in range(units))
        self.gather = conv3x3(2 * width, width)
        self.enhance = Convs(conv3x3(width, width) for _ in range(self.config.enhance))
        self.upsampler = Upsampler(width, self.config.scales)
        self.refine = Convs(conv3x3(width, width) for _ in range(self.config.refine))
        self.tail = WideConv2d(width, 3, 3)

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        scale = choose_scale(self.config.scales, scale)
        f0, e = self.features(x)
        y = self.enlarge(e, f0, scale)  # (n, width, h·scale, w·scale)
        for conv in self.refine:
            y = self.convolve(conv, y)
        return self.to_rgb(y)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f0 and the enhanced features e, both (n, width, h, w)."""
        (compress, extract), *units = zip(self.compress, self.extract, strict=True)
        f0 = self.shallow(x)
        last, total = self.first_unit(compress, extract, f0)
        seen = (f0, last)
        for compress, extract in units:
            last, total = self.unit(compress, extract, *seen, total)
            seen = (seen[1], last)
        e = self.sum_up(*seen, total)
        for conv in self.enhance:
            e = self.convolve(conv, e)
        return f0, e

    def shallow(self, x: Tensor) -> Tensor:
        """Turn the picture into f0: (n, 3, h, w) → (n, width, h, w)."""
        return self.head.activated(x - self.mean)

    @staticmethod
    def first_unit(compress: Conv, extract: Conv, f0: Tensor) -> tuple[Tensor, Tensor]:
        """Compute relu(f1), which the next units read, and the sum f0 + f1."""
        last = extract(compress.activated(f0))  # f1 ... f16 carry no activation
        return F.relu(last), f0 + last

    @staticmethod
    def unit(compress: Conv, extract: Conv, older: Tensor, newer: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Compute relu of one unit's features from the two units before it, and the sum with them."""
        last = extract(compress.activated(torch.cat([older, newer], dim=1)))  # (n, 2·width, h, w) → (n, width, h, w)
        return F.relu(last), total + last

    def sum_up(self, older: Tensor, newer: Tensor, total: Tensor) -> Tensor:
        """Start the enhancement block: every unit's features, and the last two mixed once more."""
        return F.relu(total + self.gather(torch.cat([older, newer], dim=1)))

    @staticmethod
    def convolve(conv: Conv, x: Tensor) -> Tensor:
        """Compute relu(conv(x))."""
        return conv.activated(x)

    def enlarge(self, e: Tensor, f0: Tensor, scale: int) -> Tensor:
        """Upsample the deep and the shallow features: (n, width, h, w) → (n, width, h·scale, w·scale)."""
        return F.relu(self.upsampler(e + f0, scale, bias_times=2))

    def to_rgb(self, y: Tensor) -> Tensor:
        """Turn features into the picture: (n, width, h, w) → (n, 3, h, w)."""
        sr: Tensor = self.tail(y) + self.mean
        return sr

    def receptive_radius(self, scale: int) -> Fraction:
        """Count the LR pixels to each side that one SR pixel depends on: one a 3x3 convolution on the longest path."""
        body = 1 + self.config.units + 1 + self.config.enhance  # head, f1..f16, gather, enhance
        return body + upsampler_radius(scale) + Fraction(self.config.refine + 1, scale)

    def start_as_interpolator(self) -> None:
        start.head(self.head.weight)
        for conv in (*self.compress, *self.extract, *self.enhance, *self.refine):
            start.hand_on(conv.weight)
        # The sum of all units comes in here, about so many times what one of them hands on.
        for first in list(self.enhance)[:1]:
            first.weight /= len(self.extract) + 1
        for conv in (*self.extract, self.gather):
            conv.weight[: start.PAIRS] = 0  # f0 alone carries the picture
        for conv in (*self.enhance, *self.refine):
            start.pass_through(conv.weight)
        start.upsampler(self.upsampler, gain=0.5)  # it is used for the deep and the shallow features
        start.tail(self.tail.weight, gain=0.003)  # the sum of 17 units is loud

    @classmethod
    def published_keys(cls, config: CFSRCNNConfig) -> dict[str, str]:
        """The authors number their convolutions through: with 16 units, conv2 ... conv33 are the units, conv34
        gathers, conv35 ... conv39 enhance, conv34_1 ... conv34_5 refine and conv41 (two further on) is the tail."""
        table = {"conv1.0.weight": "head.weight"}
        for unit in range(config.units):
            table[f"conv{2 * unit + 2}.0.weight"] = f"compress.{unit}.weight"
            table[f"conv{2 * unit + 3}.0.weight"] = f"extract.{unit}.weight"
        gather = 2 * config.units + 2
        table[f"conv{gather}.0.weight"] = "gather.weight"
        for i in range(config.enhance):
            table[f"conv{gather + 1 + i}.0.weight"] = f"enhance.{i}.weight"
        for i in range(config.refine):
            table[f"conv{gather}_{i + 1}.0.weight"] = f"refine.{i}.weight"
        table[f"conv{gather + config.enhance + 2}.0.weight"] = "tail.weight"
        return table

    @classmethod
    def sizes(cls, shapes: Shapes, *, published: bool) -> dict[str, int]:
        if not published:
            counts = {name: count_keys(shapes, rf"{name}\.(\d+)\.weight") for name in ("enhance", "refine")}
            return {
                "width": kernel_shape(shapes, "head.weight")[0],
                "units": count_keys(shapes, r"extract\.(\d+)\.weight"),
                **counts,
            }
        width = kernel_shape(shapes, "conv1.0.weight")[0]
        numbers = {key: re.fullmatch(r"conv(\d+)\.0\.weight", key) for key in shapes}
        # conv_{gather} is the only 3x3 convolution over two joined features, and the only one with sub-numbers
        gathers = [int(n.group(1)) for key, n in numbers.items() if n and tuple(shapes[key][1:]) == (2 * width, 3, 3)]
        gather = gathers[0] if gathers else 34
        last = max((int(n.group(1)) for n in numbers.values() if n), default=gather + 7)
        return {
            "width": width,
            "units": (gather - 2) // 2,
            "enhance": last - gather - 2,
            "refine": count_keys(shapes, rf"conv{gather}_(\d+)\.0\.weight"),
        }
