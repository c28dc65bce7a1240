"""Convolutions with their ReLUs and sums, in the form a CPU trains fastest: bfloat16, channels last.

In PyTorch's own form every ReLU, sum, split and join of a group enhancement block reads and writes
whole feature maps between the convolutions: a fifth of a training step. oneDNN can do them inside the
convolution that comes before, on numbers that are still in registers (and not yet rounded to bfloat16);
PyTorch offers that without gradients, so the gradients are written here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from superfine.nets.kernels import winograd
from superfine.nets.kernels.gradients import last, through_relu

ONES = [1, 1]
"""Strides and dilations."""


def pays(x: Tensor) -> bool:
    """Whether a fused form is the faster one for training on activations `x`: on a CPU, in bf16 or by Winograd."""
    return bf16_pays(x) or winograd.pays(x)


def bf16_pays(x: Tensor) -> bool:
    """Whether the forms of this file are: bf16 on a CPU that oneDNN has it for."""
    return x.device.type == "cpu" and x.dtype == torch.bfloat16 and torch.is_grad_enabled() and HAS_BF16


def takes(x: Tensor, *weights: Tensor) -> bool:
    """Whether convolutions with these weights, (outputs, inputs, k, k), have a fused form that pays on `x`."""
    return bf16_pays(x) or winograd.takes(x, *weights)


def conv_relu(conv: nn.Module, x: Tensor) -> Tensor:
    """relu(conv(x)), for an nn.Conv2d that keeps height and width. x: (n, inputs, h, w)."""
    assert isinstance(conv, nn.Conv2d)
    return active_conv(x, conv.weight, conv.bias) if takes(x, conv.weight) else F.relu(conv(x))


def active_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """relu(conv(x, weight) + bias), zero padding that keeps height and width, on activations for which it pays.

    x: (n, inputs, h, w), channels last. weight: (outputs, inputs, k, k), k odd; bias: (outputs,); both of any float
    type, and used in x's. Returns (n, outputs, h, w) in x's type.
    """
    if winograd.takes(x, weight):
        return winograd.conv(x, weight, bias, relu=True)
    active: Tensor = _ConvReLU.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return active


def group_enhancement(x: Tensor, *weights: Tensor) -> Tensor:
    """A whole GroupEnhancementBlock. x: (n, width, h, w), channels last; weights: of conv1 to conv6, any float type.

    Returns (n, width, h, w) in x's type. What conv2 to conv4 hand on and what they refine are convolutions of their
    own here: 16 and 48 channels take no longer than 64, and nothing needs splitting.
    """
    if winograd.takes(x, *weights):
        return winograd.group_enhancement(x, *weights)
    out: Tensor = _GroupEnhancement.apply(x, *weights)  # type: ignore[no-untyped-call]
    return out


class _ConvReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        w = _of_kind(weight, x)
        active = _conv(x, w, None if bias is None else bias.to(x.dtype), relu=True)
        ctx.save_for_backward(x, w, active)
        ctx.kind = weight.dtype
        return active

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        x, w, active = ctx.saved_tensors
        to_conv = through_relu(gradients[0], active)
        to_weight, to_bias = _to_parameters(to_conv, x, w, bias=ctx.needs_input_grad[2])
        return _to_input(to_conv, w), to_weight.to(ctx.kind), None if to_bias is None else to_bias.to(ctx.kind)


class _GroupEnhancement(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        w1, *between, w5, w6 = (_of_kind(weight, x) for weight in weights)
        distilled = w1.shape[0] - between[0].shape[1]
        handed = _conv(x, w1[:distilled])
        refined = [_conv(x, w1[distilled:], relu=True)]
        for number, w in enumerate(between):
            _add_conv(handed, refined[-1], w[:distilled], relu=number == len(between) - 1)
            refined.append(_conv(refined[-1], w[distilled:], plus=refined[-1], relu=True))
        y = torch.cat([handed, refined.pop()], dim=1)
        a5 = _conv(y, w5, relu=True)
        a6 = _conv(a5, w6, relu=True)
        ctx.save_for_backward(x, *refined, y, a5, a6, w1, *between, w5, w6)
        ctx.kind = weights[0].dtype
        return x + a6

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, r1, r2, r3, y, a5, a6, w1, w2, w3, w4, w5, w6 = ctx.saved_tensors
        to_out = last(gradients[0])
        to_weights = []
        to_conv = through_relu(to_out, a6)
        for w, active in ((w6, a5), (w5, y)):
            to_weights.append(_to_weight(to_conv, active, w))
            to_conv = through_relu(_to_input(to_conv, w), active)
        distilled = w1.shape[0] - w2.shape[1]
        # The same gradient reaches what each of the four convolutions hands on: their sum has no weights.
        to_handed, to_refined = last(to_conv[:, :distilled]), last(to_conv[:, distilled:])
        for w, active in ((w4, r3), (w3, r2), (w2, r1)):
            to_weights.append(_to_weight(to_conv, active, w))
            to_refined = through_relu(_to_input(to_conv, w, plus=to_refined), active)
            to_conv = torch.cat([to_handed, to_refined], dim=1)
        to_weights.append(_to_weight(to_conv, x, w1))
        return _to_input(to_conv, w1, plus=to_out), *(w.to(ctx.kind) for w in reversed(to_weights))


def _conv(
    x: Tensor, w: Tensor, bias: Tensor | None = None, *, plus: Tensor | None = None, relu: bool = False
) -> Tensor:
    """conv(x, w) + bias, then the sum with `plus`, then ReLU."""
    around, last = _around(w), "relu" if relu else None
    ops = torch.ops.mkldnn
    if plus is None:
        out: Tensor = ops._convolution_pointwise(x, w, bias, around, ONES, ONES, 1, last or "none", [], None)
    else:
        out = ops._convolution_pointwise.binary(x, plus, w, bias, around, ONES, ONES, 1, "add", None, last, [], None)
    return out


def _add_conv(total: Tensor, x: Tensor, w: Tensor, *, relu: bool) -> None:
    """total += conv(x, w), then ReLU, in place."""
    around, last = _around(w), "relu" if relu else None
    add = torch.ops.mkldnn._convolution_pointwise_.binary
    add(total, x, w, None, around, ONES, ONES, 1, "add", None, last, [], None)


def _to_input(to_conv: Tensor, w: Tensor, *, plus: Tensor | None = None) -> Tensor:
    """Gradient of a convolution's input, itself a convolution: kernels turned round, inputs and outputs exchanged."""
    turned = w.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
    return _conv(to_conv, turned, plus=plus)


def _to_weight(to_conv: Tensor, x: Tensor, w: Tensor) -> Tensor:
    return _to_parameters(to_conv, x, w, bias=False)[0]


def _to_parameters(to_conv: Tensor, x: Tensor, w: Tensor, *, bias: bool) -> tuple[Tensor, Tensor | None]:
    around, biases = _around(w), [w.shape[0]] if bias else None
    back = torch.ops.aten.convolution_backward
    _, to_weight, to_bias = back(to_conv, x, w, biases, ONES, around, ONES, False, [0, 0], 1, [False, True, bias])
    return to_weight, to_bias


def _around(w: Tensor) -> list[int]:
    """The zero padding that keeps height and width."""
    return [w.shape[2] // 2, w.shape[3] // 2]


def _of_kind(weight: Tensor, x: Tensor) -> Tensor:
    return weight.to(x.dtype, memory_format=torch.channels_last)


def onednn() -> bool:
    """Whether this PyTorch was built with oneDNN and offers its fused convolutions."""
    found: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return found and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


HAS_BF16: bool = onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
"""Without AVX-512 oneDNN refuses bf16 (PyTorch's own convolutions then take it, slowly)."""
