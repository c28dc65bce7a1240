"""Count what a network costs on the graph that runs: parameters, multiply-adds, activations and receptive field.

How long it takes on this machine is measured by `superfine bench` (`benchmark/speed.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from superfine.benchmark import published
from superfine.benchmark.result import machine, now, versions
from superfine.errors import DataError, ModelError
from superfine.weights import Model

FORMAT = "superfine-complexity-1"

_FLOATS = {"f16", "bf16", "f32"}
_MEAN_VALUES = 3  # constants this small are the colour mean, not learned

UNCOUNTED = (256 - 64) * 64 * 9
"""Values of x2's sub-pixel convolution the papers leave out: they count it as 64→64 and not as 64→256."""

FIXED = 24
"""Values of the two fixed 1x1 convolutions that take the colour mean off and add it, in the authors' programs."""


@dataclass(frozen=True)
class Cost:
    """The cost of one network at one scale, on whatever it runs."""

    model: str
    network: str
    scale: int
    height: int  # LR pixels that multiply-adds and activations are counted for
    width: int
    parameters: int  # learned values used at this scale
    multiply_adds: int
    activations: int  # values written by convolutions
    context: int  # receptive field: LR pixels on each side that an output pixel depends on, at most


def count(model: Model, scale: int, height: int, width: int) -> Cost:
    """Count a network's graph for an LR picture of `height` x `width` pixels.

    Raises:
        ModelError: a scale the model does not have, or a model without a graph.
    """
    from superfine.engines.runtime import core

    if scale not in model.scales:
        have = ", ".join(f"x{each}" for each in model.scales)
        raise ModelError(f"{model.name} has no x{scale}; it has {have}")
    if scale not in model.graphs:
        raise ModelError(f"{model.name} has no graph for x{scale} to count; make one with superfine export")
    graph = core().read_model(model.graphs[scale])
    graph.reshape([1, 3, height, width])
    parameters = multiply_adds = activations = 0
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            values, kernel = math.prod(node.output(0).get_shape()), list(node.input(1).get_shape())
            activations += values
            multiply_adds += values * math.prod(kernel[1:])
        elif node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in _FLOATS:
            size = math.prod(node.output(0).get_shape())
            parameters += size if size > _MEAN_VALUES else 0
    return Cost(
        model.name, model.network, scale, height, width, parameters, multiply_adds, activations, model.halo[scale]
    )


def parse_size(text: str) -> tuple[int, int]:
    """Read "WIDTHxHEIGHT" as (width, height) in pixels; raise DataError for anything else."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise DataError(f"no size {text!r}; write WIDTHxHEIGHT in pixels, as in 1280x720")
    return int(width), int(height)


def compare_with_paper(cost: Cost) -> list[str]:
    """Set a count for x2 against what the network's paper prints, a sentence each; an empty list for anything else."""
    name = published.NETWORKS.get(cost.network)
    printed = next((each for each in published.costs() if each.method == name), None)
    if printed is None or cost.scale != 2:
        return []
    counted = cost.parameters + FIXED - UNCOUNTED
    lines = []
    # Only the papers' own width and depth can be set against the papers.
    # (1,238,680 is printed as 1,238 K: cut off, not rounded.)
    if abs(counted - printed.parameters) < 1000:
        lines.append(
            f"{name}'s paper prints {printed.parameters:,} parameters. It counts x2's sub-pixel convolution as 64→64 "
            f"instead of 64→256, {UNCOUNTED:,} values fewer, and {FIXED} fixed ones that hold the colour mean: "
            f"{cost.parameters:,} + {FIXED} - {UNCOUNTED:,} = {counted:,}."
        )
    if printed.gflops is None:
        return lines
    per_pixel = cost.multiply_adds / (cost.height * cost.width)
    side = round(math.sqrt(printed.gflops * 1e9 / per_pixel))
    total = per_pixel * side * side / 1e9
    if abs(total - printed.gflops) < 0.005:
        lines.append(
            f"{name}'s paper prints {printed.gflops:.2f} GFLOPs: multiply-adds for its training patch, {side}x{side}, "
            f"{per_pixel / 1e6:.4f} M a pixel x {side}² = {total:.2f} G"
            f"{published.REMARKS.get(cost.network, '')}."
        )
    return lines


def to_json(costs: Sequence[Cost]) -> str:
    """Write costs as JSON text that `load` reads."""
    about = {"versions": versions(), "machine": machine(), "created": now()}
    return json.dumps({"format": FORMAT, "costs": [asdict(each) for each in costs], **about}, indent=1) + "\n"


def load(path: Path) -> list[Cost]:
    """Read the costs in a file of `superfine complexity --json`; raise DataError for any other file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise DataError(f"{path} is not a {FORMAT} file; give one of superfine complexity --json")
    try:
        return [Cost(**each) for each in raw["costs"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} lacks a field ({error}); measure again with superfine complexity") from error
