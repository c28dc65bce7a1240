"""Eight bits where they cost nothing: which convolutions of a graph run in int8, and in what ranges.

Neither network has a skip from input to output, so the picture itself travels through the features, and
eight bits a tensor are too few for it (quantising everything costs decibels). Beside the path of the
picture they are plenty: ESRGCNN's blocks add their result to it, CFSRCNN's units to f0. `superfine
quantize` measures each convolution on its own and keeps wide those that hurt; the sums stay wide always,
because only what a convolution reads is rounded, not what is added.

The file NAME.int8.json beside the weights holds the ranges: no second set of weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8 as ops

from superfine.errors import EngineError
from superfine.weights.find import sha256_of

FORMAT = "superfine-int8-1"
_SHARES = np.linspace(0.6, 1, 9)
"""Clipping points tried for a filter's weights, as shares of its largest."""


def ranges_path(weights: Path) -> Path:
    """Where the ranges of a weights file lie: NAME.safetensors → NAME.int8.json, in the same folder."""
    return weights.with_name(f"{weights.stem}.int8.json")


@dataclass(frozen=True)
class Range:
    """How the input of one convolution is rounded."""

    high: float
    """Upper end of the 256 levels, which begin at 0."""
    factors: tuple[float, ...] = ()
    """What each input channel is multiplied by before, and its weights divided by; none where all are 1.

    Channels that carry the picture are large and their weights small: evened out, both keep more of their bits
    (Xiao et al., "SmoothQuant", ICML 2023). The product is fused into the convolution before.
    """


def read_ranges(weights: Path, scale: int) -> dict[str, Range]:
    """Convolution's name → the range of its input, for those that run in int8.

    Raises EngineError if none were measured for exactly these weights at this scale.
    """
    path = ranges_path(weights)
    remedy = f"measure them: superfine quantize {weights} FOLDER-OF-PICTURES"
    if not path.is_file():
        raise EngineError(f"no int8 ranges for {weights.name}; {remedy}")
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT or content["weights"] != sha256_of(weights):
            raise EngineError(f"{path.name} was measured for other weights; {remedy}")
        ranges = {
            str(name): Range(float(high), tuple(map(float, factors)))
            for name, (high, *factors) in content["scales"][str(scale)]["ranges"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{path} is damaged or lacks x{scale}; {remedy}") from error
    return ranges


def quantized(graph: ov.Model, ranges: Mapping[str, Range]) -> ov.Model:
    """The graph with the named convolutions in int8: input 0..range in 256 levels, weights in 255 a filter.

    The inputs are what a ReLU gives, so their lower end is 0. Raises EngineError if a name is not there.
    """
    graph = graph.clone()
    found = {op.get_friendly_name(): op for op in convolutions(graph)}
    for name, each in ranges.items():
        if name not in found:
            raise EngineError(f"the int8 ranges name {name!r}, which the graph lacks: run superfine quantize again")
        op, zero, top = found[name], np.float32(0), np.float32(each.high)
        source, weight = op.input_value(0), weight_of(op)
        if each.factors:
            factors = np.asarray(each.factors, np.float32).reshape(1, -1, 1, 1)
            source, weight = ops.multiply(source, factors).output(0), weight / factors
        levels = ops.fake_quantize(source, zero, top, zero, top, 256)
        limit = weight_limits(weight)
        narrow = ops.fake_quantize(ops.constant(weight), -limit, limit, -limit, limit, 255)
        op.input(0).replace_source_output(levels.output(0))
        op.input(1).replace_source_output(narrow.output(0))
    graph.validate_nodes_and_infer_types()
    return graph


def convolutions(graph: ov.Model) -> list[Any]:
    """The graph's convolutions, in the order they run."""
    return [op for op in graph.get_ordered_ops() if op.get_type_name() == "Convolution"]


def weight_of(op: Any) -> NDArray[np.float32]:
    """A convolution's weights, (outputs, inputs, rows, columns), widened if they are stored in float16."""
    node = op.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return np.asarray(node.data, np.float32)


def weight_limits(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The clipping point of each filter that costs least squared error at 127 steps to a side, (outputs, 1, 1, 1)."""
    largest = np.maximum(np.abs(weight).max(axis=(1, 2, 3), keepdims=True), np.float32(1e-8))
    errors = []
    for share in _SHARES:
        step = (largest * share / 127).astype(np.float32)
        rounded = np.clip(np.round(weight / step), -127, 127) * step
        errors.append(((rounded - weight) ** 2).sum(axis=(1, 2, 3)))
    best = _SHARES[np.argmin(errors, axis=0)].astype(np.float32)
    limits: NDArray[np.float32] = largest * best.reshape(largest.shape)
    return limits
