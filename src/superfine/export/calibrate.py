"""Which convolutions may run in int8: measured one at a time, on pictures, against the float32 graph.

The noise each adds to the result is nearly independent of the others', so their squared errors add up:
convolutions are taken in the order of error per multiply-add until a budget of noise is spent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from superfine.engines.int8 import FORMAT, Range, convolutions, quantized, ranges_path, weight_of
from superfine.engines.openvino import core
from superfine.errors import DataError, ModelError
from superfine.weights import Model
from superfine.weights.find import sha256_of

CROP = 64
"""LR pixels a side of the pieces measured on."""

HEADROOM = 1.25
"""Range of a tensor over its largest value measured: line art is sharper than photographs, and a value that is
clipped costs far more than coarser levels do."""


@dataclass(frozen=True)
class Layer:
    """One convolution, quantised alone."""

    name: str
    range: Range | None
    """Of its input; None for a convolution that stays wide whatever it costs."""
    noise: float
    """PSNR of the result against float32's, dB."""
    work: int
    """Multiply-adds per LR pixel."""
    taken: bool


@dataclass(frozen=True)
class Calibration:
    """What was found for one scale."""

    layers: list[Layer]
    noise: float
    """PSNR of the result with every taken convolution in int8, dB."""

    @property
    def share(self) -> float:
        """How much of the work runs in int8, 0..1."""
        return sum(each.work for each in self.layers if each.taken) / sum(each.work for each in self.layers)


def calibrate(
    graph: ov.Model, crops: NDArray[np.uint8], budget: float, progress: Callable[[int, int], None] | None = None
) -> Calibration:
    """Measures every convolution whose input is never negative, and takes what `budget` (dB) allows.

    crops: (n, CROP, CROP, 3) uint8 at LR size. A budget of N dB costs 10·log10(1 + 10^((P - N) / 10)) dB
    where the network reaches P.
    """
    graph = graph.clone()
    graph.reshape(list((len(crops), 3, *crops.shape[1:3])))
    batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2)) * np.float32(1 / 255)
    found = convolutions(graph)
    inputs = _run(ov.Model([op.input_value(0) for op in found], graph.get_parameters()), batch)
    wanted = _run(graph, batch)[0]
    works = [_work(op, crops.shape[1]) for op in found]
    layers = []
    for number, (op, values, work) in enumerate(zip(found, inputs, works, strict=True)):
        if progress is not None:
            progress(number, len(found))
        name = str(op.get_friendly_name())
        if values.min() < 0 or weight_of(op).shape[0] < 8:  # signed, or a tail: the picture itself
            layers.append(Layer(name, None, 0, work, False))
            continue
        tried = [(_psnr(_run(quantized(graph, {name: each}), batch)[0], wanted), each) for each in _ranges(op, values)]
        (plain, first), (even, second) = tried
        # Evening channels out takes one more product where it is not fused: only for those that need it.
        noise, best = (even, second) if even > plain + 3 and plain < 75 else (plain, first)
        layers.append(Layer(name, best, noise, work, False))
    taken = _choose(layers, budget)
    layers = [Layer(each.name, each.range, each.noise, each.work, each.name in taken) for each in layers]
    ranges = {each.name: each.range for each in layers if each.taken and each.range is not None}
    return Calibration(layers, _psnr(_run(quantized(graph, ranges), batch)[0], wanted) if ranges else float("inf"))


def write(model: Model, found: dict[int, Calibration]) -> Path:
    """Writes the ranges beside the weights, tied to them by their hash. Raises ModelError if it cannot."""
    scales = {
        str(scale): {
            "noise_db": round(each.noise, 2),
            "share_of_work": round(each.share, 4),
            "ranges": {
                layer.name: [float(f"{value:.6g}") for value in (layer.range.high, *layer.range.factors)]
                for layer in each.layers
                if layer.taken and layer.range is not None
            },
        }
        for scale, each in found.items()
    }
    path = ranges_path(model.weights)
    content = {"format": FORMAT, "weights": sha256_of(model.weights), "scales": scales}
    beside = path.with_suffix(".json.part")
    try:
        beside.write_text(json.dumps(content, separators=(",", ":")) + "\n", "utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ModelError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def draw_crops(pictures: Sequence[NDArray[np.uint8]], count: int) -> NDArray[np.uint8]:
    """`count` pieces of LR pictures (HWC uint8 RGB), the same each time. Raises DataError if none is large enough."""
    large = [each for each in pictures if min(each.shape[:2]) >= CROP]
    if not large:
        raise DataError(f"no picture is {CROP} pixels wide and high after downscaling: give larger ones")
    random = np.random.default_rng(0)
    crops = []
    for number in range(count):
        picture = large[number % len(large)]
        top, left = (int(random.integers(0, side - CROP + 1)) for side in picture.shape[:2])
        crops.append(picture[top : top + CROP, left : left + CROP])
    return np.stack(crops)


def _choose(layers: Sequence[Layer], budget: float) -> set[str]:
    able = [each for each in layers if each.range is not None]
    errors = {each.name: 10 ** (-each.noise / 10) for each in able}
    left, taken = 10 ** (-budget / 10), set()
    for each in sorted(able, key=lambda layer: errors[layer.name] / layer.work):
        if errors[each.name] <= left:
            taken.add(each.name)
            left -= errors[each.name]
    return taken


def _run(graph: ov.Model, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in compiled(batch).values()]


def _ranges(op: ov.Node, values: NDArray[np.float32]) -> tuple[Range, Range]:
    """The range of a convolution's input as it is, and with its channels evened out against their weights."""
    plain = Range(float(values.max()) * HEADROOM)
    largest = np.maximum(values.max(axis=(0, 2, 3)), 1e-4)
    weights = np.maximum(np.abs(weight_of(op)).max(axis=(0, 2, 3)), 1e-6)
    factors = np.sqrt(weights / largest)
    factors = np.clip(factors / np.exp(np.log(factors).mean()), 1e-3, 1e3).astype(np.float32)
    high = float((largest * factors).max()) * HEADROOM
    return plain, Range(high, tuple(float(f"{each:.5g}") for each in factors))


def _psnr(result: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    error = float(np.mean((result.astype(np.float64) - wanted) ** 2))
    return 10 * float(np.log10(1 / max(error, 1e-20)))


def _work(op: ov.Node, side: int) -> int:
    outputs, inputs, rows, columns = weight_of(op).shape
    size = float(op.output(0).get_shape()[2]) / side
    return int(outputs * inputs * rows * columns * size * size)
