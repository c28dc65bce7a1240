"""Choose which convolutions run in int8, and round them, measured on pictures against the float32 graph.

This takes two passes. First each convolution is rounded alone: the noise each adds to the result is nearly
independent of the others', so squared errors add up, and convolutions are taken in the order of error per
multiply-add until a budget of noise is spent. Then those taken are rounded again, one after the other, each on
the values that the ones before it, already rounded, hand on: so it makes good part of their error. Noise is that of
luma, in which super-resolution is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.engines.int8 import Int8Convolution, convolutions, quantized, sources, weight_of
from superfine.engines.runtime import core, ov
from superfine.errors import DataError
from superfine.quantization.rounding import round_convolution

CROP = 64
"""LR pixels a side of the pieces measured on."""

HEADROOM = 1.25
"""Range of a tensor as a multiple of its largest value measured: line art is sharper than photographs, and a clipped
value costs far more than coarser levels do."""

_PATCHES = 40_000
"""Number of places in the crops that a convolution is rounded on."""

_SECOND_PASS_GAIN = 2.0
"""dB that the second pass gains, at least, over the sum of the noises measured alone: 2.2 to 5 on the shipped ones."""

_LUMA = np.array([65.481, 128.553, 24.966], np.float32) / 255


@dataclass(frozen=True)
class Layer:
    """One convolution and the verdict on it."""

    name: str
    noise: float
    """Luma PSNR of the result against float32's with this convolution alone in int8, dB; 0 if it always stays wide."""
    work: int
    """Multiply-adds per LR pixel."""
    narrow: Int8Convolution | None = None
    """How it runs in int8, if it was taken."""


@dataclass(frozen=True)
class Calibration:
    """The verdicts on all convolutions at one scale."""

    layers: list[Layer]
    noise: float
    """Luma PSNR of the result with every taken convolution in int8, dB."""

    @property
    def share(self) -> float:
        """Share of the work that runs in int8, 0..1."""
        return sum(each.work for each in self.layers if each.narrow) / sum(each.work for each in self.layers)


def calibrate(
    graph: ov.Model,
    crops: NDArray[np.uint8],
    budget: float,
    known: Sequence[tuple[NDArray[np.float32], Layer]] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Round every convolution but the head and the tail, and take as many as `budget` (dB) allows.

    crops: (n, CROP, CROP, 3) uint8 at LR size. A budget of N dB costs 10·log10(1 + 10^((P - N) / 10)) dB
    where the network reaches P. `known`: the weights and verdicts of another scale's convolutions in order; as far
    as this graph begins with the same weights, the verdicts are taken over.
    """
    reference = _Reference(graph, crops)
    shared = _known_layers(reference.operations, known)
    body = {layer.name: layer.narrow for layer in shared if layer.narrow}
    spent = 10 ** (-reference.noise(body) / 10) if body else 0.0
    layers = list(shared)
    highs: dict[str, tuple[float, ...]] = {}
    for number, op in enumerate(reference.operations[len(shared) :], len(shared)):
        if progress is not None:
            progress(number, len(reference.operations))
        layer = Layer(str(op.get_friendly_name()), 0.0, reference.work(op))
        values = reference.inputs(layer.name, {})
        if min(weight_of(op).shape[:2]) >= 8:  # head and tail read or write the picture itself: they stay wide
            highs[layer.name] = reference.highs(op, values)
            alone = _round(reference, op, highs[layer.name], values, values)
            layer = replace(layer, noise=reference.noise({layer.name: alone}))
        layers.append(layer)

    candidates = [each for each in layers if each.name in highs]
    allowance = budget - _SECOND_PASS_GAIN
    while True:
        taken = _choose(candidates, allowance, spent)
        narrow = dict(body)
        for op in reference.operations:
            if (name := str(op.get_friendly_name())) in taken:
                exact, rounded = reference.inputs(name, {}), reference.inputs(name, narrow)
                narrow[name] = _round(reference, op, highs[name], exact, rounded)
        noise = reference.noise(narrow) if narrow else float("inf")
        if noise >= budget or not taken:
            return Calibration([replace(each, narrow=narrow.get(each.name)) for each in layers], noise)
        allowance += max(budget - noise, 0.5)  # the errors had more in common than they mostly have


def weights_of(graph: ov.Model) -> list[NDArray[np.float32]]:
    """List the weights of all convolutions, in order."""
    return [weight_of(op) for op in convolutions(graph)]


def draw_crops(pictures: Sequence[NDArray[np.uint8]], count: int) -> NDArray[np.uint8]:
    """Draw `count` crops of LR pictures (HWC uint8 RGB), the same each time. Raises DataError if all are too small."""
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


class _Reference:
    """A float32 graph, the crops it is measured on, and its results on them."""

    def __init__(self, graph: ov.Model, crops: NDArray[np.uint8]) -> None:
        self._graph = graph.clone()
        self._graph.reshape(list((len(crops), 3, *crops.shape[1:3])))
        self._batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2)) * np.float32(1 / 255)
        self._side = crops.shape[1]
        self._exact = _run(self._graph, self._batch)
        self.operations = convolutions(self._graph)

    def inputs(self, name: str, narrow: Mapping[str, Int8Convolution]) -> NDArray[np.float32]:
        """Compute the values a convolution reads, NCHW, with those of `narrow` in int8."""
        graph = quantized(self._graph, narrow)
        op = next(op for op in convolutions(graph) if op.get_friendly_name() == name)
        return _run(ov.Model([op.input_value(0)], graph.get_parameters()), self._batch)

    def noise(self, narrow: Mapping[str, Int8Convolution]) -> float:
        """Measure the luma PSNR, in dB, of the result with those of `narrow` in int8 against float32's."""
        difference = _run(quantized(self._graph, narrow), self._batch) - self._exact
        error = float(np.mean(np.einsum("nchw,c->nhw", difference, _LUMA, optimize=True) ** 2, dtype=np.float64))
        return 10 * float(np.log10(1 / max(error, 1e-20)))

    def highs(self, op: Any, values: NDArray[np.float32]) -> tuple[float, ...]:
        """Find the upper end of the levels of each tensor a convolution reads."""
        return tuple(max(float(np.abs(part).max()), 1e-6) * HEADROOM for part in _parts(op, values))

    def work(self, op: Any) -> int:
        """Count the multiply-adds of a convolution per LR pixel."""
        outputs, inputs, rows, columns = weight_of(op).shape
        size = float(op.output(0).get_shape()[2]) / self._side
        return int(outputs * inputs * rows * columns * size * size)


def _round(
    reference: _Reference, op: Any, highs: tuple[float, ...], exact: NDArray[np.float32], rounded: NDArray[np.float32]
) -> Int8Convolution:
    """Round a convolution to int8, so that its result on `rounded` is as near as may be to its result on `exact`."""
    weight = weight_of(op)
    widths = [part.shape[1] for part in _parts(op, exact)]
    scale = np.repeat(np.array(highs, np.float32), widths).reshape(1, -1, 1, 1)
    signed = bool(exact.min() < 0)
    low, top, steps = (-1, 127 / 128, np.float32(128)) if signed else (0, 1, np.float32(255))
    levels = np.rint(np.clip(rounded / scale, low, top) * steps) / steps
    picks = _picks(exact)
    target = _patches(exact, weight.shape[2], picks) @ weight.reshape(len(weight), -1).T
    found = round_convolution(weight * scale, target, _patches(levels, weight.shape[2], picks))
    return Int8Convolution(highs, signed, found.weight, found.step, found.bias)


def _parts(op: Any, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Split `values`, which `op` reads, into the tensors that were joined for it."""
    widths = [int(part.get_shape()[1]) for part in sources(op)]
    return np.split(values, np.cumsum(widths)[:-1], axis=1)


def _picks(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pick places, the same each time, (n, 3): crop, row, column."""
    count, _, height, width = values.shape
    chosen = np.random.default_rng(0).permutation(count * height * width)[:_PATCHES]
    return np.stack(np.unravel_index(chosen, (count, height, width)), axis=1)


def _patches(values: NDArray[np.float32], side: int, picks: NDArray[np.int64]) -> NDArray[np.float32]:
    """Cut out what a kernel of `side` reads at the picked places, (n, channels · side · side)."""
    margin = side // 2
    padded = np.pad(values, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    crop, row, column = picks.T
    shifts = [padded[crop, :, row + dy, column + dx] for dy in range(side) for dx in range(side)]
    return np.stack(shifts, axis=2).reshape(len(picks), -1)


def _choose(layers: Sequence[Layer], budget: float, spent: float) -> set[str]:
    """Name the layers to take, least error per multiply-add first. `spent`: squared error there already is."""
    errors = {each.name: 10 ** (-each.noise / 10) for each in layers}
    left, taken = 10 ** (-budget / 10) - spent, set()
    for each in sorted(layers, key=lambda layer: errors[layer.name] / layer.work):
        if errors[each.name] <= left:
            taken.add(each.name)
            left -= errors[each.name]
    return taken


def _known_layers(operations: Sequence[Any], known: Sequence[tuple[NDArray[np.float32], Layer]]) -> list[Layer]:
    """Take over the verdicts on the first convolutions, as far as their weights are those of `known`."""
    shared: list[Layer] = []
    for op, (weight, layer) in zip(operations, known, strict=False):
        if not np.array_equal(weight_of(op), weight):
            break
        shared.append(replace(layer, name=str(op.get_friendly_name())))
    return shared


def _run(graph: ov.Model, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(batch)[0])
