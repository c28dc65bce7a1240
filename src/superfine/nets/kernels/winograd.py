"""The networks in the form a CPU without bfloat16 trains fastest: float32 convolutions by Winograd.

oneDNN computes a float32 convolution's gradient by its weights at a third of the speed of the rest, and without
AVX-512 knows no Winograd. Winograd's F(4x4, 3x3) needs a quarter of the multiplications for all three passes, and
what stands between two convolutions is done while their numbers are at hand. Rounding errors are some ten times
those of a plain convolution (1e-5 of the result): nothing to a training step, whose patches are chosen at random.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from superfine.nets.base import Network
from superfine.nets.esrgcnn import GroupEnhancementBlock
from superfine.nets.kernels.convolutions import GROUP, NEVER, Winograd
from superfine.nets.layers import Conv, Upsampler


def supports(weight: Tensor) -> bool:
    """Say if there is a form for a convolution with this weight, (outputs, inputs, k, k)."""
    return weight.shape[2:] == (3, 3) and not weight.shape[0] % GROUP and not weight.shape[1] % GROUP


def by_winograd(network: Network, functions: Winograd) -> None:
    """Let `network` compute by Winograd wherever a form fits; parameters and their names stay."""
    for module in network.modules():
        kernels = [conv.weight for conv in module.modules() if isinstance(conv, Conv)]
        form: type[Any] | None = None
        if type(module) is Conv and supports(module.weight):
            form = WinogradConv
        elif type(module) is GroupEnhancementBlock and all(map(supports, kernels)):
            form = WinogradBlock
        elif type(module) is Upsampler and all(map(supports, kernels)):
            form = WinogradUpsampler
        if form:
            module.__class__ = form
            module.functions = functions  # type: ignore[assignment]


def conv(functions: Winograd, x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool) -> Tensor:
    """Compute conv(x, weight) + bias, zero padding 1, rectified if asked.

    x: (n, inputs, h, w); weight: (outputs, inputs, 3, 3); bias: (outputs,). Returns (n, outputs, h, w).
    """
    return cast(Tensor, _Conv.apply(functions, x, weight, bias, relu))  # type: ignore[no-untyped-call]


class WinogradConv(Conv):
    """A 3x3 convolution, with its ReLU if it has one."""

    functions: Winograd

    def forward(self, x: Tensor) -> Tensor:
        return conv(self.functions, x, self.weight, self.bias, relu=False)

    def activated(self, x: Tensor) -> Tensor:
        return conv(self.functions, x, self.weight, self.bias, relu=True)


class WinogradBlock(GroupEnhancementBlock):
    """A group enhancement block.

    The channels that a convolution hands on and those it refines stay in one tensor, which the next one takes as
    summand: so nothing is split or joined.
    """

    functions: Winograd

    def forward(self, x: Tensor) -> Tensor:
        convs = (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.conv6)
        weights = [conv.weight for conv in convs]
        return cast(Tensor, _GroupEnhancement.apply(self.functions, x, *weights))  # type: ignore[no-untyped-call]


class WinogradUpsampler(Upsampler):
    """The sub-pixel convolutions."""

    functions: Winograd

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return conv(self.functions, x, weight, bias, relu=False)


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, functions: Winograd, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        ctx.functions = functions
        out = functions.conv(x, weight, bias, relu_from=0 if relu else NEVER)
        ctx.save_for_backward(x, weight, out if relu else None)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor, Tensor | None, None]:
        functions: Winograd = ctx.functions
        x, weight, active = ctx.saved_tensors
        to_conv = gradients[0] if active is None else _through_relu(gradients[0], active)
        to_x = functions.to_input(to_conv, weight) if ctx.needs_input_grad[1] else None
        to_bias = to_conv.sum((0, 2, 3)) if ctx.needs_input_grad[3] else None
        return None, to_x, functions.to_weight(to_conv, x), to_bias, None


class _GroupEnhancement(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, functions: Winograd, x: Tensor, *weights: Tensor) -> Tensor:
        ctx.functions = functions
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
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        functions: Winograd = ctx.functions
        x, s1, s2, s3, y, a5, a6, w1, w2, w3, w4, w5, w6 = ctx.saved_tensors
        to_out = gradients[0].contiguous(memory_format=torch.channels_last)
        to_weights = []
        to_conv = _through_relu(to_out, a6)
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
        return None, functions.to_input(to_conv, w1, plus=to_out), *reversed(to_weights)


def _through_relu(gradient: Tensor, active: Tensor) -> Tensor:
    """Turn the gradient behind a ReLU into that before it, channels last; active: the ReLU's result. All one shape."""
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    return torch.ops.aten.threshold_backward(gradient, active, 0)  # type: ignore[no-any-return]
