"""The networks as the layers that native kernels run: their weights laid out, what follows a convolution fused into it.

A new network is a function here; it needs no C++.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_int32, c_void_p
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]

GRID = 4
"""Side of a Winograd tile; equal pixels get equal bits where windows begin at its multiples."""

_HEAD, _WINOGRAD, _POINTWISE, _TAIL = range(4)
_NONE, _NEVER = -1, 2**31 - 1
_GROUP = 16
"""Channels that a layer reads begin at multiples of this, the widest vector of floats there is."""

_G = np.array(
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
)  # fmt: skip
"""A 3x3 kernel w at a tile's 6x6 points is G w G' (Lavin and Gray, CVPR 2016)."""


class MapSpec(ctypes.Structure):
    """One layer's maps, as network.cpp reads them."""

    _fields_ = (("channels", c_int32), ("scale", c_int32))


class LayerSpec(ctypes.Structure):
    """One layer, as network.cpp reads it."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "outputs", "relu_from", "step")),
        *((name, c_int32 * 2) for name in ("maps", "offset", "inputs")),
        *((name, c_int32) for name in ("plus", "after", "sum_with", "sum", "out")),
        ("weights", c_void_p),
        ("bias", c_void_p),
    )


@dataclass(frozen=True)
class Maps:
    """The result of a layer, or a run of its channels."""

    number: int
    scale: int
    places: NDArray[np.intp]
    """Channel of the network → channel where it is stored; those between are zeros."""
    first: int
    stored: int
    """Stored channels of the run, and the first of them."""
    unsure: int
    """Pixels at a window's cut sides whose bits may differ from the whole picture's."""

    def after(self, channels: int, *, stored_from: int) -> Maps:
        """The channels from `channels` on, which lie from `stored_from` on."""
        rest = self.places[channels:] - stored_from
        return replace(self, places=rest, first=stored_from, stored=self.stored - stored_from)


@dataclass
class Program:
    """A network's layers in order, and the arrays they point to."""

    panel: int
    """Stored channels are a multiple of this: outputs that the kernels compute at once."""
    maps: list[MapSpec] = field(default_factory=list)
    layers: list[LayerSpec] = field(default_factory=list)
    halo: int = 0
    """LR pixels of context a window needs at its cut sides, a multiple of GRID. Larger than the network's: a tile's
    pixels are computed together, so an unsure pixel makes the last bits of the whole tile unsure."""
    _arrays: list[NDArray[np.float32]] = field(default_factory=list)

    def split(self, parts: Sequence[int]) -> NDArray[np.intp]:
        """Say where channels are stored whose parts layers read apart: each part begins at a multiple of 16."""
        starts = np.cumsum([0, *(_up(part, _GROUP) for part in parts[:-1])])
        return np.concatenate([start + np.arange(part) for start, part in zip(starts, parts, strict=True)])

    def head(self, weight: NDArray[np.float32]) -> Maps:
        """relu(conv) of the picture less its mean. weight: (outputs, 3, 3, 3)."""
        outputs = len(weight)
        stored = _up(outputs, self.panel)
        laid = np.zeros((27, stored), np.float32)
        laid[:, :outputs] = weight.transpose(2, 3, 1, 0).reshape(27, outputs)
        out = self._new(1, np.arange(outputs), stored, 1)
        self._add(_HEAD, self._panels(laid), out=out.number, outputs=stored, relu_from=0)
        return out

    def tail(self, x: Maps, weight: NDArray[np.float32]) -> None:
        """The picture, its mean added. weight: (3, inputs, 3, 3)."""
        laid = np.zeros((3, 3, 3, x.stored), np.float32)
        laid[..., x.places] = weight.transpose(2, 3, 0, 1)
        self._add(_TAIL, laid, [x], outputs=3)
        self.halo = _up(-(-(x.unsure + 1) // x.scale), GRID)

    def conv(
        self,
        sources: Sequence[Maps],
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        *,
        places: NDArray[np.intp] | None = None,
        relu_from: int | None = 0,
        plus: Maps | None = None,
        after: Maps | None = None,
        step: int = 1,
    ) -> Maps:
        """shuffle(relu(conv(sources) + bias + plus) + after).

        sources: one or two maps, read as one. weight: (outputs, inputs, k, k), k 1 or 3. places: where the outputs are
        stored. relu_from: the first stored channel that is rectified; None: none is. step: of the pixel shuffle.
        """
        out, _ = self._conv(sources, weight, bias, places, relu_from, plus, after, None, step)
        return out

    def conv_and_sum(self, x: Maps, weight: NDArray[np.float32], sum_with: Maps) -> tuple[Maps, Maps]:
        """relu(conv(x)), and conv(x) + sum_with."""
        out, total = self._conv([x], weight, None, None, 0, None, None, sum_with, 1)
        assert total is not None
        return out, total

    def _conv(
        self,
        sources: Sequence[Maps],
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        places: NDArray[np.intp] | None,
        relu_from: int | None,
        plus: Maps | None,
        after: Maps | None,
        sum_with: Maps | None,
        step: int,
    ) -> tuple[Maps, Maps | None]:
        outputs, side = len(weight), weight.shape[2]
        places = np.arange(outputs // step**2) if places is None else places
        stored = _up(int(places.max()) + 1, self.panel)
        # A pixel shuffle takes its outputs ordered (channel, phase); kernels store whole pixels, so (phase, channel).
        ordered = (np.arange(step**2) * stored + places[:, None]).reshape(-1)
        starts = np.cumsum([0, *(source.stored for source in sources)])
        inputs = np.concatenate([start + each.places for start, each in zip(starts, sources, strict=False)])
        laid = np.zeros((side, side, starts[-1], stored * step**2), np.float32)
        laid[:, :, inputs[:, None], ordered] = weight.transpose(2, 3, 1, 0)
        biases = np.zeros(stored * step**2, np.float32)
        if bias is not None:
            biases[ordered] = bias
        read = [each for each in (*sources, plus, after, sum_with) if each is not None]
        unsure = max(each.unsure for each in read)
        if side == 3:
            unsure = GRID * -(-(unsure + 1) // GRID)
        scale = sources[0].scale * step
        out = self._new(scale, places, stored, unsure * step)
        total = None if sum_with is None else self._new(scale, places, stored, unsure)
        self._add(
            _WINOGRAD if side == 3 else _POINTWISE,
            self._panels(_points(laid) if side == 3 else laid[0, 0]),
            sources,
            biases if bias is not None else None,
            outputs=stored * step**2,
            relu_from=_NEVER if relu_from is None else relu_from,
            step=step,
            plus=_number(plus),
            after=_number(after),
            sum_with=_number(sum_with),
            sum=_number(total),
            out=out.number,
        )
        return out, total

    def _panels(self, laid: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., inputs, outputs) → (outputs / panel, ..., inputs, panel)."""
        apart = laid.reshape(*laid.shape[:-1], -1, self.panel)
        return np.ascontiguousarray(np.moveaxis(apart, -2, 0), dtype=np.float32)

    def _new(self, scale: int, places: NDArray[np.intp], stored: int, unsure: int) -> Maps:
        self.maps.append(MapSpec(stored, scale))
        return Maps(len(self.maps) - 1, scale, places, 0, stored, unsure)

    def _add(
        self,
        kind: int,
        weights: NDArray[np.float32],
        sources: Sequence[Maps] = (),
        bias: NDArray[np.float32] | None = None,
        **fields: int,
    ) -> None:
        absent = {name: _NONE for name in ("plus", "after", "sum_with", "sum", "out")}
        layer = LayerSpec(kind=kind, **{"step": 1, "relu_from": _NEVER} | absent | fields)
        for i, source in enumerate(sources):
            layer.maps[i], layer.offset[i], layer.inputs[i] = source.number, source.first, source.stored
        layer.weights = self._keep(weights)
        layer.bias = None if bias is None else self._keep(bias)
        self.layers.append(layer)

    def _keep(self, array: NDArray[np.float32]) -> int:
        self._arrays.append(np.ascontiguousarray(array, np.float32))
        return int(self._arrays[-1].ctypes.data)


def _esrgcnn(program: Program, weights: Weights, config: Mapping[str, Any], scale: int) -> None:
    distilled = config["distilled"]
    split = program.split([distilled, config["width"] - distilled])
    refined_from = int(split[distilled])
    x = program.head(weights["head.weight"])
    for block in range(config["blocks"]):
        w1, w2, w3, w4, w5, w6 = (weights[f"blocks.{block}.conv{k}.weight"] for k in range(1, 7))
        # What convolutions hand on and what they refine stay side by side: the next one's summand is both.
        state = program.conv([x], w1, places=split, relu_from=refined_from)
        for weight, relu_from in ((w2, refined_from), (w3, refined_from), (w4, 0)):
            refined = state.after(distilled, stored_from=refined_from)
            state = program.conv([refined], weight, places=split, relu_from=relu_from, plus=state)
        x = program.conv([program.conv([state], w5)], w6, after=x)
    x = program.conv([x], weights["fuse.weight"])
    program.tail(_enlarge(program, weights, x, scale), weights["tail.weight"])


def _cfsrcnn(program: Program, weights: Weights, config: Mapping[str, Any], scale: int) -> None:
    f0 = program.head(weights["head.weight"])
    seen, total = [f0], f0
    for unit in range(config["units"]):
        squeezed = program.conv(seen, weights[f"compress.{unit}.weight"])
        last, total = program.conv_and_sum(squeezed, weights[f"extract.{unit}.weight"], total)
        seen = [seen[-1], last]
    names = ["gather", *(f"enhance.{k}" for k in range(config["enhance"]))]
    x = None
    for name in names:
        # The upsampler takes the sum of deep and shallow features: the last of these convolutions adds f0.
        shallow = f0 if name == names[-1] else None
        plus = total if x is None else None
        x = program.conv(seen if x is None else [x], weights[f"{name}.weight"], plus=plus, after=shallow)
    assert x is not None
    x = _enlarge(program, weights, x, scale, bias_times=2)
    for k in range(config["refine"]):
        x = program.conv([x], weights[f"refine.{k}.weight"])
    program.tail(x, weights["tail.weight"])


NETWORKS: dict[str, Callable[[Program, Weights, Mapping[str, Any], int], None]] = {
    "esrgcnn": _esrgcnn,
    "cfsrcnn": _cfsrcnn,
}
"""name → how its layers are added to a program."""


def _enlarge(program: Program, weights: Weights, x: Maps, scale: int, *, bias_times: int = 1) -> Maps:
    """relu of the sub-pixel convolutions of `scale`."""
    steps = [2, 2] if scale == 4 else [scale]
    for k, step in enumerate(steps):
        name = f"upsampler.branches.x{scale}.{k}"
        relu_from = 0 if k == len(steps) - 1 else None
        bias = weights[f"{name}.bias"] * np.float32(bias_times)
        x = program.conv([x], weights[f"{name}.weight"], bias, relu_from=relu_from, step=step)
    return x


def _points(laid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels at the points of a tile: (3, 3, inputs, outputs) → (36, inputs, outputs)."""
    wide = np.tensordot(_G, laid.astype(np.float64), (1, 0))  # (6, 3, inputs, outputs)
    points = np.tensordot(_G, wide, (1, 1)).swapaxes(0, 1)
    return points.reshape(36, *laid.shape[2:]).astype(np.float32)


def _number(maps: Maps | None) -> int:
    return _NONE if maps is None else maps.number


def _up(value: int, step: int) -> int:
    """`value`, or the next multiple of `step`."""
    return -(-value // step) * step
