"""The networks in the form a GPU computes fastest: half-precision kernels, and ends in other forms.

A copy has the same parameters under the same names, and computes the same function. Its ends:

- the head reads eight channels, five of them zero, because tensor cores take channels by eight;
- the upsampler's channels are ordered (dy, dx, channel), so that its shuffle moves whole pixels;
- the tail gives eight channels, of which three are kept, and stays float32 (in TF32, exact for bfloat16 numbers).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from superfine.nets.base import Network
from superfine.nets.layers import Conv, Upsampler, WideConv2d, channels_last


class EightChannelHead(Conv):
    """conv3x3 from RGB, its input cast to the weight's type and filled up to eight channels."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, 0, 0, 5)).to(self.weight.dtype, memory_format=torch.channels_last)
        weight = F.pad(self.weight, (0, 0, 0, 0, 0, 5)).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, padding=1)


class EightChannelTail(WideConv2d):
    """conv3x3 to RGB in float32, computed as eight outputs of which three are kept."""

    def forward(self, x: Tensor) -> Tensor:
        weight = F.pad(self.weight, (0, 0, 0, 0, 0, 0, 0, 5)).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x.float(), weight, padding=1)[:, :3]


class PhaseUpsampler(Upsampler):
    """The upsampler, with each convolution's outputs ordered (dy, dx, channel)."""

    def forward(self, x: Tensor, scale: int, *, bias_times: int = 1) -> Tensor:
        step = self.step(scale)
        for weight, bias in self._stages(scale, bias_times):
            weight = weight.view(-1, step * step, *weight.shape[1:]).transpose(0, 1).flatten(0, 1)
            bias = bias.view(-1, step * step).t().reshape(-1)
            x = F.conv2d(x, weight.contiguous(memory_format=torch.channels_last), bias, padding=1)
            n, channels, h, w = x.shape
            x = x.permute(0, 2, 3, 1).reshape(n, h, w, step, step, channels // step**2).permute(0, 1, 3, 2, 4, 5)
            x = x.reshape(n, h * step, w * step, channels // step**2).permute(0, 3, 1, 2)
        return x


def with_fast_ends(network: Network) -> None:
    """Give `network` the ends that CUDA computes fastest; parameters and their names stay."""
    network.head.__class__ = EightChannelHead
    network.tail.__class__ = EightChannelTail
    network.upsampler.__class__ = PhaseUpsampler


def in_half_precision(network: Network, dtype: torch.dtype) -> None:
    """Turn the weights to `dtype` (bfloat16 or float16), but for the tail's."""
    for name, parameter in network.named_parameters():
        if name != "tail.weight":
            parameter.data = parameter.data.to(dtype)


class WorkingCopy:
    """A network's copy for training on CUDA, its kernels bfloat16 if asked."""

    def __init__(self, network: Network, *, bf16: bool) -> None:
        self.network = copy.deepcopy(network).train()
        with_fast_ends(self.network)
        if bf16:
            in_half_precision(self.network, torch.bfloat16)
        channels_last(self.network)
        self._masters = dict(network.named_parameters())
        self._copies = dict(self.network.named_parameters())
        self._gradients = {name: torch.zeros_like(p) for name, p in self._masters.items()}

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the weights into the copy, and forget its gradients."""
        torch._foreach_copy_(list(self._copies.values()), [p.detach() for p in self._masters.values()])
        for parameter in self._copies.values():
            parameter.grad = None

    @torch.no_grad()
    def collect(self) -> None:
        """Give the weights the copy's gradients, as float32; a weight that took no part in the step gets none."""
        used = {name: p.grad for name, p in self._copies.items() if p.grad is not None}
        torch._foreach_copy_([self._gradients[name] for name in used], list(used.values()))
        for name, master in self._masters.items():
            master.grad = self._gradients[name] if name in used else None


def compile_parts(network: Network, *, backend: str = "inductor") -> None:
    """Compile the network part by part, as its `parts` name them: blocks that are alike are compiled once, in seconds.

    backend: the compiler, as torch.compile knows it.
    """
    for name in network.parts:
        part = getattr(network, name)
        if isinstance(part, nn.ModuleList):
            for block in part:
                block.compile(dynamic=False, fullgraph=True, backend=backend)
        else:
            setattr(network, name, torch.compile(part, dynamic=False, fullgraph=True, backend=backend))
