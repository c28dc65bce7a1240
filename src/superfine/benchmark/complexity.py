"""What a network costs: parameters, multiply-adds, activations, context, and run time and memory as measured here.

Counted on the graph that runs, not on a drawing of it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from superfine.benchmark import published
from superfine.benchmark.result import machine, now, versions
from superfine.errors import EngineError, ModelError
from superfine.weights import Model

_FLOATS = {"f16", "bf16", "f32"}
_MEAN_VALUES = 3  # constants this small are the colour mean, not learned
SIDES = (256, 512, 1024)
"""HR sides, in pixels, of the papers' run-time tables."""

UNCOUNTED = (256 - 64) * 64 * 9
"""Values of x2's sub-pixel convolution the papers leave out: they count it as 64→64 and not as 64→256."""

FIXED = 24
"""Values of the two fixed 1x1 convolutions that take the colour mean off and add it, in the authors' programs."""


@dataclass(frozen=True)
class Cost:
    """What one network at one scale costs, whatever it runs on."""

    model: str
    network: str
    scale: int
    height: int  # LR pixels that multiply-adds and activations are counted for
    width: int
    parameters: int  # learned values used at this scale
    multiply_adds: int
    activations: int  # values written by convolutions
    context: int  # receptive field: LR pixels on each side that an output pixel depends on, at most


@dataclass(frozen=True)
class Timing:
    """One network on one engine, on one size of picture."""

    model: str
    scale: int
    engine: str
    precision: str
    side: int  # HR pixels asked for
    lr_side: int  # LR pixels, side / scale rounded down
    seconds: float  # median
    runs: int
    peak_mib: float | None  # most memory of the process, weights and engine included; None where it is not known
    device: str = "cpu"


def count(model: Model, scale: int, height: int, width: int) -> Cost:
    """Count a network's graph for an LR picture of that size.

    Raises:
        ModelError: a scale the model does not have, or a model without a graph.
    """
    import openvino as ov

    if scale not in model.scales:
        have = ", ".join(f"x{each}" for each in model.scales)
        raise ModelError(f"{model.name} has no x{scale}; it has {have}")
    if scale not in model.graphs:
        raise ModelError(f"{model.name} has no graph for x{scale} to count; make one with superfine export")
    graph = ov.Core().read_model(model.graphs[scale])
    graph.reshape([1, 3, height, width])
    parameters = multiply_adds = activations = 0
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            made, weights = list(node.output(0).get_shape()), list(node.input(1).get_shape())
            activations += math.prod(made)
            multiply_adds += math.prod(made) * math.prod(weights[1:])
        elif node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in _FLOATS:
            size = math.prod(node.output(0).get_shape())
            parameters += size if size > _MEAN_VALUES else 0
    return Cost(
        model.name, model.network, scale, height, width, parameters, multiply_adds, activations, model.halo[scale]
    )


def time_runs(
    model: str, scale: int, engine: str, precision: str, sides: Sequence[int] = SIDES, runs: int = 5
) -> Iterator[Timing]:
    """Run a network on a picture of each size, each size in a process of its own so that its memory is its own.

    Raises:
        EngineError: an engine or a precision that is not here.
    """
    for side in sides:
        arguments = [model, str(scale), engine, precision, str(side // scale), str(runs)]
        command = [sys.executable, "-m", "superfine.benchmark.probe", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}, as for want of memory"]
            raise EngineError(f"{model} x{scale} on {engine} {precision} did not run: {said[-1]}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
        yield Timing(
            model=found["model"],
            scale=scale,
            engine=found["engine"],
            precision=found["precision"],
            side=side,
            lr_side=side // scale,
            seconds=found["seconds"],
            runs=runs,
            peak_mib=found["peak_mib"],
            device=found["device"],
        )


def against_papers(cost: Cost) -> list[str]:
    """Sentences that set a count for x2 against what the network's paper prints; empty for anything else."""
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
    if abs(per_pixel * side * side / 1e9 - printed.gflops) < 0.005:
        total = per_pixel * side * side / 1e9
        lines.append(
            f"{name}'s paper prints {printed.gflops:.2f} GFLOPs: multiply-adds for its training patch, {side}x{side}, "
            f"{per_pixel / 1e6:.4f} M a pixel x {side}² = {total:.2f} G"
            + (", the upsampler counted once." if cost.network == "cfsrcnn" else ".")
        )
    return lines


def record(costs: Sequence[Cost], timings: Sequence[Timing]) -> dict[str, Any]:
    """Costs and timings as plain values for JSON."""
    return {
        "format": "superfine-complexity-1",
        "costs": [asdict(each) for each in costs],
        "timings": [asdict(each) for each in timings],
        "versions": versions(),
        "machine": machine(),
        "created": now(),
    }
