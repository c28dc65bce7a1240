"""What `cross_check.py` lets the compiled kernels compute, and how far a result is from the right one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.engines import open_engine
from superfine.engines.native_compile import Compiler
from superfine.engines.native_graph import graph_of_model
from superfine.engines.native_program import GRID, Program
from superfine.native.library import LayerSpec, MapSpec
from superfine.weights import find

Floats = NDArray[np.float32]
Numbers = NDArray[Any]
SCALE = 2
WIDE = {"esrgcnn": 112, "cfsrcnn": 80}
"""Widths of the pictures, LR pixels: more than a network's halo and what a cut window begins with."""
HIGH = 10
CUT = 16
"""Columns that the cut window leaves out."""
TRAINING = (2, 9, 7, 48, 80, 16)
"""Pictures, height, width, inputs, outputs and the first rectified channel of the convolution that is trained."""

_NETWORK, _RUN_FLOAT, _RUN_UINT8, _TRAIN = 1, 2, 3, 4
_ALL = 10**6
"""Columns that the driver's memory is enough for: more than any picture here has."""
PARITY, PARITY_INT16, CLOSE = 1e-4, 8e-3, 3e-5
"""Differences that pass: of a picture's values of 0..1 (noise, the hardest there is), and of a convolution's by its
largest."""


@dataclass
class Cases:
    """Bytes for the driver, and for each result its name, type and shape, in the order they come back."""

    content: bytearray = field(default_factory=bytearray)
    results: list[tuple[str, type[np.generic], tuple[int, ...]]] = field(default_factory=list)
    halo: dict[str, int] = field(default_factory=dict)
    """Model → LR pixels of context that a window needs."""

    def add(self, *numbers: int) -> None:
        """Append numbers as int32."""
        self.content += np.array(numbers, np.int32).tobytes()

    def run(self, name: str, picture: Numbers, threads: int = 1, across: int = 0) -> None:
        """Let the last network compute an HWC uint8 or CHW float32 picture."""
        levels = picture.dtype == np.uint8
        height, width = picture.shape[:2] if levels else picture.shape[1:]
        self.add(_RUN_UINT8 if levels else _RUN_FLOAT, height, width, 0, across, threads, _ALL)
        self.content += picture.tobytes()
        larger = height * SCALE, width * SCALE
        self.results.append((name, *((np.uint8, (*larger, 3)) if levels else (np.float32, (3, *larger)))))

    def parse(self, content: bytes) -> dict[str, Numbers]:
        """Return the arrays by name. Raises ValueError if there are fewer or more bytes than wanted."""
        found, at = {}, 0
        for name, kind, shape in self.results:
            size = int(np.prod(shape)) * np.dtype(kind).itemsize
            found[name] = np.frombuffer(content[at : at + size], kind).reshape(shape)
            at += size
        if at != len(content):
            raise ValueError(f"{len(content)} bytes came back, not {at}")
        return found


@dataclass(frozen=True)
class Training:
    """Numbers of one convolution, and its right results in float64.

    Activations are NHWC, kernels (3, 3, inputs, outputs).
    """

    x: Floats
    weights: Floats
    bias: Floats
    plus: Floats
    mask: Floats
    gradient: Floats

    def out(self) -> NDArray[np.float64]:
        """Compute conv(x) + bias + plus, rectified from a channel on, 0 unless mask > 0."""
        n, h, w, _, outputs, relu_from = TRAINING
        out = np.zeros((n, h, w, outputs))
        for k, patch in self._patches():
            out += patch @ self.weights[k].astype(np.float64)
        out += self.bias.astype(np.float64) + self.plus
        out[..., relu_from:] = out[..., relu_from:].clip(0)
        return np.where(self.mask > 0, out, 0)

    def to_weights(self) -> NDArray[np.float64]:
        """Compute the gradient of the kernels."""
        result = np.zeros(self.weights.shape)
        for k, patch in self._patches():
            result[k] = np.einsum("nhwi,nhwo->io", patch, self.gradient.astype(np.float64))
        return result

    def _patches(self) -> Iterator[tuple[tuple[int, int], NDArray[np.float64]]]:
        padded = np.pad(self.x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
        for k in np.ndindex(3, 3):
            yield (k[0], k[1]), padded[:, k[0] : k[0] + self.x.shape[1], k[1] : k[1] + self.x.shape[2]]


@cache
def training() -> Training:
    """Draw the numbers of the convolution that is trained."""
    n, h, w, inputs, outputs, _ = TRAINING
    draw = np.random.default_rng(0)
    at = n, h, w
    shapes = (*at, inputs), (3, 3, inputs, outputs), (outputs,), (*at, outputs), (*at, outputs), (*at, outputs)
    return Training(*(draw.standard_normal(shape, np.float32) for shape in shapes))


@cache
def pictures(model: str) -> tuple[Floats, NDArray[np.uint8]]:
    """Draw a CHW float32 and an HWC uint8 picture."""
    draw = np.random.default_rng(1)
    return draw.random((3, HIGH, WIDE[model]), np.float32), draw.integers(0, 256, (HIGH, WIDE[model], 3), np.uint8)


def cases(panel: int, panel_int16: int) -> Cases:
    """Write the work for kernels that compute `panel` outputs at once; panel_int16: 0 where int16 has none."""
    made, numbers = Cases(), training()
    made.add(_TRAIN, *TRAINING, 2)
    for array in (numbers.x, numbers.weights, numbers.bias, numbers.plus, numbers.mask, numbers.gradient):
        made.content += array.tobytes()
    made.results += [("out", np.float32, numbers.plus.shape), ("to_weights", np.float32, numbers.weights.shape)]
    for model in WIDE:
        for precision, outputs in ("fp32", panel), ("int16", panel_int16):
            if not outputs:
                continue
            _add_network(made, model, outputs, precision == "int16")
            floats, levels = pictures(model)
            name = f"{model} {precision}"
            made.run(f"{name} whole", floats)
            made.run(f"{name} threads", floats, threads=3)
            made.run(f"{name} cut", np.ascontiguousarray(floats[:, :, CUT:]))
            made.run(f"{name} between", np.ascontiguousarray(floats[:, :, CUT + 1 :]), across=1)
            made.run(f"{name} levels", levels)
    made.add(0)
    return made


def _add_network(made: Cases, model: str, panel: int, int16: bool) -> None:
    program = Program(panel, int16)
    mean = Compiler(graph_of_model(find(model), SCALE), program).mean
    maps, layers = (MapSpec * len(program.maps))(*program.maps), (LayerSpec * len(program.layers))(*program.layers)
    made.halo[model] = program.halo
    sizes = len(maps), ctypes.sizeof(MapSpec), len(layers), ctypes.sizeof(LayerSpec)
    places = LayerSpec.weights.offset, LayerSpec.scales.offset, LayerSpec.bias.offset
    made.add(_NETWORK, SCALE, program.halo, *sizes[:3], int16, sizes[3], *places)
    made.content += np.float32(mean).tobytes() + bytes(maps) + bytes(layers)
    arrays = {array.ctypes.data: array for array in program.arrays}
    for layer in program.layers:
        for address in (layer.weights, layer.scales, layer.bias):
            content = arrays[address].tobytes() if address else b""
            made.add(len(content))
            made.content += content


@cache
def _right(model: str) -> tuple[Floats, NDArray[np.uint8]]:
    """Return what OpenVINO makes of the pictures in float32, on this machine."""
    engine = open_engine(find(model), SCALE, "openvino", "fp32")
    floats, levels = pictures(model)
    return engine.run(floats[None])[0], engine.run_uint8(levels)


@dataclass(frozen=True)
class Verdict:
    """How far results are from the right ones, and the promises they break."""

    pictures: float
    """Largest difference of a picture's values, of 0..1, in fp32."""
    int16: float
    """The same in int16; 0 where that is not there."""
    training: float
    """Largest difference of a convolution's, or its gradient's, of its largest value."""
    faults: tuple[str, ...]


def judge(found: dict[str, Numbers], halo: dict[str, int]) -> Verdict:
    """Compare results with OpenVINO's and with float64, and pixels that must be equal to the bit with each other."""
    faults, apart, numbers = [], {"fp32": 0.0, "int16": 0.0}, training()
    passes = {"fp32": (PARITY, 1), "int16": (PARITY_INT16, 3)}
    runs = [each.removesuffix(" whole") for each in found if each.endswith(" whole")]
    for run in runs:
        model, precision = run.split()
        whole, levels = found[f"{run} whole"], found[f"{run} levels"]
        right, right_levels = _right(model)
        apart[precision] = max(apart[precision], float(np.abs(whole - right).max()))
        if np.abs(levels.astype(int) - right_levels.astype(int)).max() > passes[precision][1]:
            faults.append(f"{run}: uint8 results differ by more than {passes[precision][1]} level(s)")
        if not np.array_equal(found[f"{run} threads"], whole):
            faults.append(f"{run}: three threads give other bits than one")
        for name, left, context in (("cut", CUT, halo[model]), ("between", CUT + 1, halo[model] + GRID)):
            kept = found[f"{run} {name}"][:, :, context * SCALE :]
            if not kept.size or not np.array_equal(kept, whole[:, :, (left + context) * SCALE :]):
                faults.append(f"{run}: a window ({name}) gives other bits than the whole picture")
    trained = max(_relative(found["out"], numbers.out()), _relative(found["to_weights"], numbers.to_weights()))
    for precision, largest in apart.items():
        if largest > passes[precision][0]:
            most = f"wanted {passes[precision][0]:.0e} at most"
            faults.append(f"pictures in {precision} differ from OpenVINO's by {largest:.1e}, {most}")
    if trained > CLOSE:
        faults.append(f"convolutions for training are off by {trained:.1e}, wanted {CLOSE:.0e} at most")
    return Verdict(apart["fp32"], apart["int16"], trained, tuple(faults))


def _relative(found: Numbers, right: NDArray[np.float64]) -> float:
    return float(np.abs(found - right).max() / np.abs(right).max())
