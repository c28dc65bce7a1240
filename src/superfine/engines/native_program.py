"""A network as the layers that native kernels run: their weights laid out, what follows a convolution fused into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.native.library import LayerSpec, MapSpec

GRID = 4
"""Side of a Winograd tile; equal pixels get equal bits where windows begin at its multiples."""

_HEAD, _WINOGRAD, _POINTWISE, _TAIL = range(4)
_NONE, _NEVER = -1, 2**31 - 1
_GROUP = 16
"""Channels that a layer reads begin at multiples of this, the widest vector of floats there is."""

_MOST_INPUTS_INT16 = 128
"""Channels that a 3x3 convolution of 16-bit numbers reads, at most; a wider one is computed in float32."""

_G = np.array(
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
)  # fmt: skip
"""A 3x3 kernel w at a tile's 6x6 points is G w G' (Lavin and Gray, CVPR 2016)."""

_EVEN = np.array([1, 1, 1, 0.5, 0.5, 1])
"""Of G's rows for 16-bit numbers: the other factor is doubled (kernels_int16.inc), which makes a picture's points about
equally large."""


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

    def part(self, begin: int, end: int) -> Maps:
        """The network's channels from `begin` up to `end`; they and those that follow lie at multiples of 16."""
        start = int(self.places[begin])
        stop = int(self.places[end]) if end < len(self.places) else self.stored
        return replace(self, places=self.places[begin:end] - start, first=self.first + start, stored=stop - start)


@dataclass
class Program:
    """A network's layers in order, and the arrays they point to."""

    panel: int
    """Stored channels are a multiple of this: outputs that the kernels compute at once."""
    int16: bool = False
    """Compute convolutions on 16-bit numbers, but for the head and the tail."""
    maps: list[MapSpec] = field(default_factory=list)
    layers: list[LayerSpec] = field(default_factory=list)
    halo: int = 0
    """LR pixels of context a window needs at its cut sides, a multiple of GRID. Larger than the network's: a tile's
    pixels are computed together, so an unsure pixel makes the last bits of the whole tile unsure. Tiles of one layer
    begin in the middle of the last one's where that leaves fewer unsure: two pixels a layer, the least there is, as
    both sides together lose whole tiles of four."""
    arrays: list[NDArray[Any]] = field(default_factory=list)

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
        relu_from: int | None = None,
        plus: Maps | None = None,
        after: Maps | None = None,
        sum_with: Maps | None = None,
        step: int = 1,
    ) -> tuple[Maps, Maps | None]:
        """Add shuffle(relu(conv(sources) + bias + plus) + after), and, with `sum_with`, conv(sources) + ... + sum_with.

        sources: one or two maps, read as one. weight: (outputs, inputs, k, k), k 1 or 3. places: where the outputs are
        stored. relu_from: the first channel that is rectified; None: none is. step: of the pixel shuffle.
        """
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
        unsure, shift = max(each.unsure for each in read), 0
        if side == 3:
            shift, unsure = min(((shift, _after(unsure, shift)) for shift in (0, GRID // 2)), key=lambda each: each[1])
        scale = sources[0].scale * step
        weights, scales = self._weights(laid)
        out = self._new(scale, places, stored, unsure * step)
        total = None if sum_with is None else self._new(scale, places, stored, unsure)
        self._add(
            _WINOGRAD if side == 3 else _POINTWISE,
            weights,
            sources,
            biases if bias is not None else None,
            scales,
            outputs=stored * step**2,
            relu_from=_NEVER if relu_from is None else int(places[relu_from]) if relu_from else 0,
            step=step,
            plus=_number(plus),
            after=_number(after),
            sum_with=_number(sum_with),
            sum=_number(total),
            out=out.number,
            shift=shift,
        )
        return out, total

    def _panels(self, laid: NDArray[Any]) -> NDArray[np.float32]:
        """(..., inputs, outputs) → (outputs / panel, ..., inputs, panel)."""
        apart = laid.reshape(*laid.shape[:-1], -1, self.panel)
        return np.ascontiguousarray(np.moveaxis(apart, -2, 0), dtype=np.float32)

    def _weights(self, laid: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
        """Kernels of (side, side, inputs, outputs) in panels, those of 3x3 at the points of a tile; and int16's scales.

        int16: (panels, points, inputs / 2, panel, 2), and the scale of each point and output, (panels, points, panel).
        What the kernels multiply is 32767 at most, so no sum of 32 bits can overflow where the numbers of an output add
        up to 65534.
        """
        points = _points(laid) if len(laid) == 3 else laid[0]
        count, inputs, _ = points.shape
        if not self.int16 or (count == 36 and inputs > _MOST_INPUTS_INT16):
            return self._panels(points), None
        if count == 36:
            points = points * np.outer(_EVEN, _EVEN).reshape(36, 1, 1)
        sizes = np.abs(points)  # rounding adds a half to each at most
        scales = np.maximum(sizes.sum(1) / (65534 - inputs / 2), sizes.max(1) / 32767)
        rounded = np.rint(points / np.where(scales > 0, scales, 1)[:, None])
        pairs = self._panels(rounded).astype(np.int16).reshape(-1, count, inputs // 2, 2, self.panel)
        return np.ascontiguousarray(pairs.swapaxes(3, 4)), self._panels(scales)

    def _new(self, scale: int, places: NDArray[np.intp], stored: int, unsure: int) -> Maps:
        self.maps.append(MapSpec(stored, scale))
        return Maps(len(self.maps) - 1, scale, places, 0, stored, unsure)

    def _add(
        self,
        kind: int,
        weights: NDArray[Any],
        sources: Sequence[Maps] = (),
        bias: NDArray[np.float32] | None = None,
        scales: NDArray[np.float32] | None = None,
        **fields: int,
    ) -> None:
        absent = {name: _NONE for name in ("plus", "after", "sum_with", "sum", "out")}
        layer = LayerSpec(kind=kind, **{"step": 1, "relu_from": _NEVER, "shift": 0} | absent | fields)
        for i, source in enumerate(sources):
            layer.maps[i], layer.offset[i], layer.inputs[i] = source.number, source.first, source.stored
        layer.weights = self._keep(weights)
        layer.scales = None if scales is None else self._keep(scales)
        layer.bias = None if bias is None else self._keep(bias)
        self.layers.append(layer)

    def _keep(self, array: NDArray[Any]) -> int:
        self.arrays.append(np.ascontiguousarray(array))
        return int(self.arrays[-1].ctypes.data)


def _points(laid: NDArray[np.float32]) -> NDArray[np.float64]:
    """Kernels at the points of a tile: (3, 3, inputs, outputs) → (36, inputs, outputs)."""
    wide = np.tensordot(_G, laid.astype(np.float64), (1, 0))  # (6, 3, inputs, outputs)
    points: NDArray[np.float64] = np.tensordot(_G, wide, (1, 1)).swapaxes(0, 1)
    return points.reshape(36, *laid.shape[2:])


def _after(unsure: int, shift: int) -> int:
    """Unsure pixels of a convolution's result whose tiles begin `shift` pixels before multiples of GRID."""
    return _up(unsure + 1 + shift, GRID) - shift


def _number(maps: Maps | None) -> int:
    return _NONE if maps is None else maps.number


def _up(value: int, step: int) -> int:
    """`value`, or the next multiple of `step`."""
    return -(-value // step) * step
