"""Parts both networks share: convolutions, the sub-pixel upsampler, the picture's mean."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean of DIV2K's pictures, R, G, B in 0..1: both papers take it off first and add it last."""

SCALES = (2, 3, 4)
"""The magnifications both papers define an upsampler for."""


def channels_last(module: nn.Module) -> None:
    """Keep the module's convolution weights channels last in memory, the layout fast bf16 convolutions read."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


class Conv(nn.Conv2d):
    """A convolution that keeps height and width (zero padding)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def activated(self, x: Tensor) -> Tensor:
        """relu(self(x))."""
        return F.relu(self(x))


class Convs(nn.ModuleList):
    """Convolutions in a row."""

    def __iter__(self) -> Iterator[Conv]:
        return super().__iter__()  # type: ignore[return-value]


def conv3x3(inputs: int, outputs: int, *, bias: bool = False) -> Conv:
    """Make a 3x3 convolution that keeps height and width (zero padding 1)."""
    return Conv(inputs, outputs, 3, bias=bias)


def conv1x1(inputs: int, outputs: int) -> Conv:
    """Make a 1x1 convolution without bias."""
    return Conv(inputs, outputs, 1)


class WideConv2d(Conv):
    """A convolution that stays in float32 under autocast.

    Used for the tails: their output is the picture itself, and rounding it to bfloat16's eight bits
    puts noise at about 60 dB into both the loss and the result.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Upsampler(nn.Module):
    """Sub-pixel convolutions, one branch per scale ("blind": parallel branches, one shared body).

    x2 is a convolution width → 4·width and a pixel shuffle by 2; x3 the same with 9·width and 3;
    x4 is the x2 step twice, each with weights of its own. Nothing non-linear stands inside, so
    ``up(a) + up(b) == up(a + b)`` with every bias doubled; `bias_times` says how often to add it.

    Shapes: NCHW ``(n, width, h, w)`` → ``(n, width, h·scale, w·scale)``.
    """

    def __init__(self, width: int, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict()
        for scale in scales:
            steps = [2, 2] if scale == 4 else [scale]
            self.branches[f"x{scale}"] = nn.ModuleList(conv3x3(width, width * step * step, bias=True) for step in steps)

    def forward(self, x: Tensor, scale: int, *, bias_times: int = 1) -> Tensor:
        for weight, bias in self._stages(scale, bias_times):
            x = F.pixel_shuffle(self.convolve(x, weight, bias), self.step(scale))
        return x

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Compute conv(x, weight) + bias, zero padding 1."""
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    def step(scale: int) -> int:
        """Give the factor of each of the scale's pixel shuffles."""
        return 3 if scale == 3 else 2

    def _stages(self, scale: int, bias_times: int) -> list[tuple[Tensor, Tensor]]:
        stages = []
        branch = self.branches[f"x{scale}"]
        assert isinstance(branch, nn.ModuleList)
        for conv in branch:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            stages.append((conv.weight, conv.bias if bias_times == 1 else conv.bias * bias_times))
        return stages


def upsampler_radius(scale: int) -> Fraction:
    """Say how far, in LR pixels, one output pixel of the upsampler sees: 1, or 1 + 1/2 for the two x4 steps."""
    return Fraction(3, 2) if scale == 4 else Fraction(1)


def choose_scale(scales: tuple[int, ...], scale: int | None) -> int:
    """Choose the scale of one call: the only one there is, or the one asked for.

    Raises ValueError if the network has no branch for it, or has several and none was named.
    """
    if scale is None:
        if len(scales) > 1:
            raise ValueError(f"this network has scales {scales}: say which one")
        return scales[0]
    if scale not in scales:
        raise ValueError(f"this network has scales {scales}, not {scale}")
    return scale


def check_scales(scales: tuple[int, ...]) -> None:
    """Raises ValueError unless `scales` is a non-empty ascending choice of 2, 3, 4."""
    if not scales or tuple(sorted(set(scales))) != scales or not set(scales) <= set(SCALES):
        raise ValueError(f"scales must be an ascending choice of {SCALES}, not {scales}")
