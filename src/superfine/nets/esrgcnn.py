"""ESRGCNN: Tian et al., "Image Super-resolution with An Enhanced Group Convolutional Neural
Network", Neural Networks 153 (2022), arXiv 2205.14548."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from superfine.nets import start
from superfine.nets.base import Network, Shapes, count_keys, kernel_shape
from superfine.nets.layers import (
    RGB_MEAN,
    SCALES,
    Upsampler,
    WideConv2d,
    check_scales,
    choose_scale,
    conv3x3,
    upsampler_radius,
)


@dataclass(frozen=True)
class ESRGCNNConfig:
    """Sizes of an ESRGCNN; the defaults are the paper's."""

    scales: tuple[int, ...] = SCALES
    """Magnifications with an upsampler branch."""
    width: int = 64
    """Feature channels of the body."""
    distilled: int = 16
    """Channels each grouped convolution hands straight to its block's end."""
    blocks: int = 6
    """Group enhancement blocks."""

    def __post_init__(self) -> None:
        check_scales(self.scales)
        if not 0 < self.distilled < self.width or self.blocks < 1:
            raise ValueError("ESRGCNN wants 0 < distilled < width and at least one block")


class GroupEnhancementBlock(nn.Module):
    """GEB: four convolutions hand `distilled` channels on and refine the rest; their sum and the
    refined rest are joined, mixed twice and added to the input. Shape (n, width, h, w) → the same.

    The residual added after each step is the one *after* its ReLU: the paper's figure can be read
    either way, but the authors' program activates in place, so that is what trained weights mean.
    """

    def __init__(self, width: int, distilled: int) -> None:
        super().__init__()
        refined = width - distilled
        self.parts = [distilled, refined]
        self.conv1 = conv3x3(width, width)
        self.conv2 = conv3x3(refined, width)
        self.conv3 = conv3x3(refined, width)
        self.conv4 = conv3x3(refined, width)
        self.conv5 = conv3x3(width, width)
        self.conv6 = conv3x3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        d1, r1 = torch.split(self.conv1(x), self.parts, dim=1)
        r1 = F.relu(r1)
        d2, q2 = torch.split(self.conv2(r1), self.parts, dim=1)
        r2 = F.relu(q2 + r1)
        d3, q3 = torch.split(self.conv3(r2), self.parts, dim=1)
        r3 = F.relu(q3 + r2)
        d4, q4 = torch.split(self.conv4(r3), self.parts, dim=1)
        r4 = q4 + r3
        y = F.relu(torch.cat([d1 + d2 + d3 + d4, r4], dim=1))
        return x + self.conv6.activated(self.conv5.activated(y))


class ESRGCNN(Network):
    """Enhanced group convolutional network.

    Input NCHW float, RGB in 0..1, ``(n, 3, h, w)``; output ``(n, 3, h·scale, w·scale)``, about 0..1,
    not clamped.
    """

    name = "esrgcnn"
    title = "ESRGCNN (group convolutions, 2022)"
    Config = ESRGCNNConfig
    parts = ("shallow", "blocks", "reconstruct")
    feature_maps = 10
    he_start = False

    config: ESRGCNNConfig

    def __init__(self, config: ESRGCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config or ESRGCNNConfig()
        width = self.config.width
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = conv3x3(3, width)
        self.blocks = nn.ModuleList(
            GroupEnhancementBlock(width, self.config.distilled) for _ in range(self.config.blocks)
        )
        self.fuse = conv3x3(width, width)
        self.upsampler = Upsampler(width, self.config.scales)
        self.tail = WideConv2d(width, 3, 3)

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        scale = choose_scale(self.config.scales, scale)
        y = self.shallow(x)
        for block in self.blocks:
            y = block(y)
        return self.reconstruct(y, scale)

    def shallow(self, x: Tensor) -> Tensor:
        """Turn the picture into features: (n, 3, h, w) → (n, width, h, w)."""
        return self.head.activated(x - self.mean)

    def reconstruct(self, y: Tensor, scale: int) -> Tensor:
        """Turn the last block's features into the enlarged picture: (n, width, h, w) → (n, 3, h·scale, w·scale)."""
        y = self.fuse.activated(y)
        y = F.relu(self.upsampler(y, scale))  # (n, width, h·scale, w·scale)
        sr: Tensor = self.tail(y) + self.mean
        return sr

    def receptive_radius(self, scale: int) -> Fraction:
        """Count the LR pixels to each side that one SR pixel depends on: one a 3x3 convolution on the longest path."""
        body = 1 + 6 * self.config.blocks + 1  # head, six in a row in every block, fuse
        return body + upsampler_radius(scale) + Fraction(1, scale)

    def start_as_interpolator(self) -> None:
        start.head(self.head.weight)
        for block in self.blocks:
            assert isinstance(block, GroupEnhancementBlock)
            # A ReLU follows conv6: all-zero rows carry the picture untouched, but never learn;
            # so only the picture's rows are zero.
            block.conv6.weight[: start.PAIRS] = 0
        # Channels the head leaves empty are the blocks' to write in.
        self.head.weight[max(start.PAIRS, self.config.width // 2) :] = 0
        start.pass_through(self.fuse.weight)
        start.upsampler(self.upsampler, gain=1.0)
        start.tail(self.tail.weight, gain=0.1)

    @classmethod
    def published_keys(cls, config: ESRGCNNConfig) -> dict[str, str]:
        table = {"conv1_1.0.weight": "head.weight"}
        for block in range(config.blocks):
            for conv in range(1, 7):
                table[f"b{block + 1}.conv1_{conv}.0.weight"] = f"blocks.{block}.conv{conv}.weight"
        return table | {"conv2.0.weight": "fuse.weight", "conv3.0.weight": "tail.weight"}

    @classmethod
    def sizes(cls, shapes: Shapes, *, published: bool) -> dict[str, int]:
        first, blocks = ("b1.conv1_2.0.weight", r"b(\d+)\.conv1_\d\.0\.weight")
        if not published:
            first, blocks = ("blocks.0.conv2.weight", r"blocks\.(\d+)\.conv\d\.weight")
        width, refined = kernel_shape(shapes, first)[:2]
        return {"width": width, "distilled": width - refined, "blocks": count_keys(shapes, blocks)}
