"""Prepare a network's OpenVINO graph for compiling: cut it in two, type its ends. Pure graph work."""

from __future__ import annotations

import warnings
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from superfine.engines.runtime import convert_model, ops, ov

if TYPE_CHECKING:
    from superfine.nets import Network

_STEPS = 2**20


def graph_of_network(network: Network, scale: int) -> ov.Model:
    """Convert a PyTorch network into an OpenVINO graph, (1, 3, ?, ?) → (1, 3, ?, ?) float32."""
    import torch

    class AtScale(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network(x, scale)  # type: ignore[no-any-return]

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the converter's, about torch.jit, not the user's
        example = torch.zeros(1, 3, 24, 24)
        return convert_model(AtScale().eval(), example_input=example, input=[ov.PartialShape([1, 3, -1, -1])])


def split(graph: ov.Model) -> tuple[ov.Model, ov.Model, int]:
    """Cut the graph in front of its first upsampling convolution: (features, reconstruction, halo).

    `features` works at LR size, `reconstruction` takes its result to SR size; `halo` is how many LR
    pixels of context to each side the second needs. What the SR size costs in memory then no longer
    limits the window of the first, which has nearly all the context.
    """
    sized = graph.clone()
    sized.reshape([1, 3, 32, 32])
    names = _first_upsampling(sized)
    radius = _radius(sized, names)

    front = graph.clone()
    cut = _first_read(front, names).get_source_output()
    features = ov.Model([cut], front.get_parameters(), "features")

    back = graph.clone()
    into = _first_read(back, names)
    middle = ops.parameter(into.get_partial_shape(), ov.Type.f32, "features")
    for target in into.get_source_output().get_target_inputs():
        target.replace_source_output(middle.output(0))
    return features, ov.Model(back.get_results(), [middle], "reconstruction"), ceil(radius)


def with_layout(graph: ov.Model, *, input: ov.Type | None = None, output: ov.Type | None = None) -> ov.Model:
    """Give the graph NHWC tensors of a type in place of NCHW float32, at either end or both."""
    build = ov.preprocess.PrePostProcessor(graph)
    if input is not None:
        build.input().tensor().set_element_type(input).set_layout(ov.Layout("NHWC"))
        build.input().model().set_layout(ov.Layout("NCHW"))
    if output is not None:
        build.output().model().set_layout(ov.Layout("NCHW"))
        build.output().tensor().set_element_type(output).set_layout(ov.Layout("NHWC"))
    return build.build()


def with_uint8_input(graph: ov.Model) -> ov.Model:
    """Let the graph read NHWC uint8 0..255 in place of NCHW float 0..1: widened, then divided by 255."""
    build = ov.preprocess.PrePostProcessor(graph)
    build.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    build.input().preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    build.input().model().set_layout(ov.Layout("NCHW"))
    return build.build()


def with_uint8_output(graph: ov.Model) -> ov.Model:
    """Let the graph write NHWC uint8 0..255 in place of NCHW float: clamped to 0..1, · 255, rounded half to even.

    The clamp comes first so that the factor is not folded into the weights, where it would change their rounding.
    """
    build = ov.preprocess.PrePostProcessor(graph)

    @ov.utils.decorators.custom_preprocess_function  # type: ignore[untyped-decorator]
    def quantize(output: ov.Output) -> Any:
        return ops.round(ops.multiply(ops.clamp(output, 0.0, 1.0), np.float32(255)), "half_to_even")

    build.output().model().set_layout(ov.Layout("NCHW"))
    build.output().postprocess().custom(quantize).convert_element_type(ov.Type.u8)
    build.output().tensor().set_layout(ov.Layout("NHWC"))
    return build.build()


def with_float32_end(graph: ov.Model) -> ov.Model:
    """Round the graph's result to steps of 2^-20, which keeps that result in float32 under a bf16 hint.

    The plugin lets a last convolution write bf16 even where the graph ends in float32: eight bits for the
    picture itself, noise at 59 dB. It does not where a rounding is fused into the convolution, and one as
    fine as this changes no pixel. The power of two folds into the weights exactly.
    """
    build = ov.preprocess.PrePostProcessor(graph)

    @ov.utils.decorators.custom_preprocess_function  # type: ignore[untyped-decorator]
    def rounded(output: ov.Output) -> Any:
        steps = ops.round(ops.multiply(output, np.float32(_STEPS)), "half_to_even")
        return ops.multiply(steps, np.float32(1 / _STEPS))

    build.output().postprocess().custom(rounded)
    return build.build()


def _first_upsampling(sized: ov.Model) -> str:
    """Find the name of the convolution in front of the first change of size: up from the first larger tensor."""
    for op in sized.get_ordered_ops():
        shape = op.output(0).get_shape() if op.get_output_size() else []
        if len(shape) == 4 and shape[2] > 32:
            while op.get_type_name() != "Convolution":
                op = op.input_value(0).get_node()
            return str(op.get_friendly_name())
    raise AssertionError("a super-resolution graph has an upsampler")


def _radius(sized: ov.Model, first: str) -> Fraction:
    """Count the LR pixels to each side that the part from `first` on sees: half a kernel, at the size it works at."""
    total, reached = Fraction(0), False
    for op in sized.get_ordered_ops():
        reached = reached or op.get_friendly_name() == first
        if reached and op.get_type_name() == "Convolution":
            kernel, height = op.input(1).get_shape()[2], op.input(0).get_shape()[2]
            total += Fraction((kernel // 2) * 32, height)
    return total


def _first_read(graph: ov.Model, name: str) -> Any:
    """Find the input that the named convolution reads, in front of the levels that int8 makes of it."""
    read = next(op for op in graph.get_ordered_ops() if op.get_friendly_name() == name).input(0)
    source = read.get_source_output().get_node()
    return source.input(0) if source.get_type_name() == "FakeQuantize" else read
