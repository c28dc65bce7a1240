"""Convolutions with their ReLUs and sums, in the form a CPU without bfloat16 trains fastest: float32, by Winograd.

oneDNN computes a float32 convolution's gradient by its weights at a third of the speed of the rest, and without
AVX-512 knows no Winograd. Winograd's F(4x4, 3x3) needs a quarter of the multiplications for all three passes, and
what stands between two convolutions is done while their numbers are at hand. Rounding errors are some ten times
those of a plain convolution (1e-5 of the result): nothing to a training step, whose patches are chosen at random.

This room asks nobody for a compiler: whoever trains hands the functions in (`using`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from superfine.nets.kernels.gradients import last, through_relu
from superfine.nets.kernels.winograd_build import GROUP, NEVER, Winograd

_functions: Winograd | None = None


@contextmanager
def using(functions: Winograd | None) -> Iterator[None]:
    """Within it networks are called in these forms, where they pay; None: in PyTorch's.

    Gradients may be asked for later: a form remembers its functions.
    """
    global _functions
    before, _functions = _functions, functions
    try:
        yield
    finally:
        _functions = before


def pays(x: Tensor) -> bool:
    """Whether these forms are to be used on activations `x`: float32 on a CPU, for gradients, not under a compiler."""
    return (
        _functions is not None
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def takes(x: Tensor, *weights: Tensor) -> bool:
    """Whether they pay on `x` and are there for 3x3 convolutions with these weights, (outputs, inputs, k, k)."""
    return pays(x) and all(
        weight.shape[2:] == (3, 3) and not weight.shape[0] % GROUP and not weight.shape[1] % GROUP for weight in weights
    )


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool) -> Tensor:
    """conv(x, weight) + bias, zero padding 1, rectified if asked, on what it pays for and fits.

    x: (n, inputs, h, w); weight: (outputs, inputs, 3, 3); bias: (outputs,). Returns (n, outputs, h, w).
    """
    out: Tensor = _Conv.apply(x, weight, bias, relu)  # type: ignore[no-untyped-call]
    return out


def group_enhancement(x: Tensor, *weights: Tensor) -> Tensor:
    """A whole GroupEnhancementBlock. x: (n, width, h, w); weights: of conv1 to conv6. Returns (n, width, h, w).

    What a convolution hands on and what it refines stay in one tensor of all channels, which the next one takes as
    summand: so nothing is split or joined.
    """
    out: Tensor = _GroupEnhancement.apply(x, *weights)  # type: ignore[no-untyped-call]
    return out


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        ctx.functions = functions = _ready()
        out = functions.conv(x, weight, bias, relu_from=0 if relu else NEVER)
        ctx.save_for_backward(x, weight, out if relu else None)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        functions: Winograd = ctx.functions
        x, weight, active = ctx.saved_tensors
        to_conv = gradients[0] if active is None else through_relu(gradients[0], active)
        to_x = functions.to_input(to_conv, weight) if ctx.needs_input_grad[0] else None
        to_bias = to_conv.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return to_x, functions.to_weight(to_conv, x), to_bias, None


class _GroupEnhancement(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        ctx.functions = functions = _ready()
        conv = functions.conv
        w1, w2, w3, w4, w5, w6 = weights
        distilled = w1.shape[0] - w2.shape[1]
        s1 = conv(x, w1, relu_from=distilled)
        s2 = conv(s1[:, distilled:], w2, plus=s1, relu_from=distilled)
        s3 = conv(s2[:, distilled:], w3, plus=s2, relu_from=distilled)
        y = conv(s3[:, distilled:], w4, plus=s3, relu_from=0)
        a5 = conv(y, w5, relu_from=0)
        a6 = conv(a5, w6, relu_from=0)
        ctx.save_for_backward(x, s1, s2, s3, y, a5, a6, *weights)
        return x + a6

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        functions: Winograd = ctx.functions
        x, s1, s2, s3, y, a5, a6, w1, w2, w3, w4, w5, w6 = ctx.saved_tensors
        to_out = last(gradients[0])
        to_weights = []
        to_conv = through_relu(to_out, a6)
        for w, active in ((w6, a5), (w5, y)):
            to_weights.append(functions.to_weight(to_conv, active))
            to_conv = functions.to_input(to_conv, w, where=active)
        distilled = w1.shape[0] - w2.shape[1]
        for w, state in ((w4, s3), (w3, s2), (w2, s1)):
            refined = state[:, distilled:]
            to_weights.append(functions.to_weight(to_conv, refined))
            to_state = torch.empty_like(to_conv)
            # The same gradient reaches what each of the four convolutions hands on: their sum has no weights.
            to_state[:, :distilled] = to_conv[:, :distilled]
            functions.to_input(to_conv, w, plus=to_conv[:, distilled:], where=refined, out=to_state[:, distilled:])
            to_conv = to_state
        to_weights.append(functions.to_weight(to_conv, x))
        return functions.to_input(to_conv, w1, plus=to_out), *reversed(to_weights)


def _ready() -> Winograd:
    assert _functions is not None
    return _functions
