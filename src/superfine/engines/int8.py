"""Put convolutions of a graph into int8 where it costs next to nothing, as `superfine quantize` measured.

Neither network has a skip from input to output, so the picture itself travels through the features. Rounding their
values to 256 levels is harmless (60 to 75 dB a convolution); rounding *weights* to the nearest of 255 is not (47 to
60 dB), so weights are rounded together, on pictures, each error made good by the others
(`quantization/rounding.py`). The sums stay wide always: only what a convolution reads is rounded, not what is added.

The file NAME.int8.safetensors beside the weights holds those weights, shared by all scales as far as the scales'
graphs are the same, and the ranges of what they read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.atomic import sha256_of
from superfine.engines.runtime import ops, ov
from superfine.errors import EngineError

FORMAT = "superfine-int8-3"


@dataclass(frozen=True)
class Int8Convolution:
    """One convolution in int8: 256 levels of its input, times levels of its weights."""

    highs: tuple[float, ...]
    """Upper end of the levels of each tensor it reads: several where they are joined for it."""
    signed: bool
    """True if the levels go down to the upper end's negative (no ReLU stands in front); otherwise they begin at 0."""
    weight: NDArray[np.int8]
    """(outputs, inputs, rows, columns) for inputs scaled to 0..1, or -1..1, by their `highs`."""
    step: NDArray[np.float32]
    """(outputs,)"""
    bias: NDArray[np.float32]
    """(outputs,), added to the convolution's own."""


def int8_path(weights: Path) -> Path:
    """Give the path of a weights file's int8 form: NAME.safetensors → NAME.int8.safetensors, in the same folder."""
    return weights.with_name(f"{weights.stem}.int8.safetensors")


def read_int8(weights: Path, scale: int) -> dict[str, Int8Convolution]:
    """Read the int8 form of the convolutions that run in int8, by their names.

    Raises EngineError if none was measured for exactly these weights at this scale.
    """
    from safetensors import SafetensorError, safe_open

    path = int8_path(weights)
    remedy = f"measure it: superfine quantize {weights} FOLDER-OF-PICTURES"
    if not path.is_file():
        raise EngineError(f"no int8 form of {weights.name}; {remedy}")
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["int8"])
            if about["format"] != FORMAT or about["weights"] != sha256_of(weights):
                raise EngineError(f"{path.name} was made for other weights, or by another version; {remedy}")
            return {
                str(name): Int8Convolution(
                    tuple(map(float, highs)), bool(signed), *(file.get_tensor(f"{key}.{part}") for part in PARTS)
                )
                for name, (key, signed, *highs) in about["scales"][str(scale)]["convolutions"].items()
            }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise EngineError(f"{path} is damaged or lacks x{scale}; {remedy}") from error


PARTS = ("weight", "step", "bias")


def quantized(graph: ov.Model, in_int8: Mapping[str, Int8Convolution]) -> ov.Model:
    """Put the named convolutions of a graph into int8. Raises EngineError if one is not there, or is another.

    Levels are rounded as early as they may be: of each joined tensor on its own, once for all that read it (its range
    goes into the weights); in front of a ReLU, which a range from 0 replaces; and in front of a pixel shuffle, which
    then moves bytes. The compiler fuses them into the convolution before.
    """
    graph = graph.clone()
    found = {str(op.get_friendly_name()): op for op in convolutions(graph)}
    for name, each in in_int8.items():
        if name not in found or tuple(found[name].input(1).get_shape()) != each.weight.shape:
            raise EngineError(f"int8 names {name!r}, which the graph lacks: run superfine quantize again")
    rounded: _RoundedTensors = {}
    for name, op in found.items():
        if name not in in_int8:
            continue
        each = in_int8[name]
        read = zip(sources(op, each.signed), each.highs, strict=True)
        parts = [_levels(part, high, each.signed, rounded) for part, high in read]
        weight = ops.convert(ops.constant(each.weight), "f32")
        op.input(0).replace_source_output((ops.concat(parts, 1) if len(parts) > 1 else parts[0].get_node()).output(0))
        op.input(1).replace_source_output(ops.multiply(weight, each.step.reshape(-1, 1, 1, 1)).output(0))
        readers = list(op.output(0).get_target_inputs())
        shifted = ops.add(op, each.bias.reshape(1, -1, 1, 1))
        for reader in readers:
            reader.replace_source_output(shifted.output(0))
    graph.validate_nodes_and_infer_types()
    return graph


def sources(op: Any, signed: bool = False) -> list[ov.Output]:
    """List the tensors a convolution reads: one, or each of those joined for it; in front of ReLUs unless `signed`."""
    source = _before_relu(op.input_value(0), signed)
    node = source.get_node()
    if node.get_type_name() != "Concat":
        return [source]
    return [_before_relu(node.input_value(number), signed) for number in range(node.get_input_size())]


def convolutions(graph: ov.Model) -> list[Any]:
    """List the graph's convolutions, in the order they run."""
    return [op for op in graph.get_ordered_ops() if op.get_type_name() == "Convolution"]


def weight_of(op: Any) -> NDArray[np.float32]:
    """Read a convolution's weights, (outputs, inputs, rows, columns), widened if they are stored in float16."""
    node = op.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return np.asarray(node.data, np.float32)


def _before_relu(source: ov.Output, signed: bool) -> ov.Output:
    """Step in front of a ReLU, which levels from 0 replace and signed ones do not."""
    node = source.get_node()
    return node.input_value(0) if not signed and node.get_type_name() == "Relu" else source


_RoundedTensors = dict[tuple[str, int, float, bool], ov.Output]


def _levels(source: ov.Output, high: float, signed: bool, rounded: _RoundedTensors) -> ov.Output:
    """Round `source` to 256 levels of 0..high scaled to 0..1, or of -high..high to -1..1."""
    key = (str(source.get_node().get_friendly_name()), source.get_index(), high, signed)
    if key not in rounded:
        node = source.get_node()
        if node.get_type_name() == "DepthToSpace":
            about = node.get_attributes()
            early = _levels(node.input_value(0), high, signed, rounded)
            levels = ops.depth_to_space(early, about["mode"], int(about["block_size"]))
        else:
            low, top = (-1, 127 / 128) if signed else (0, 1)
            levels = ops.fake_quantize(source, *map(np.float32, (low * high, top * high, low, top)), 256)
        rounded[key] = levels.output(0)
    return rounded[key]
