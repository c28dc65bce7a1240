"""Turn a network's graph into the layers that native kernels run: what follows a convolution is fused into it.

A layer computes shuffle(relu(conv + plus) + after), and beside it conv + plus + sum_with if asked. A convolution that
is split, each part summed or rectified, and joined again stays one layer: its parts lie side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from superfine.engines.native_graph import PICTURE, Graph, Node
from superfine.engines.native_program import Maps, Program
from superfine.errors import EngineError


@dataclass
class _Part:
    """A run of a convolution's channels, and what is fused to it so far."""

    begin: int
    end: int
    relu: bool = False
    beside: dict[str, tuple[Maps, NDArray[np.intp]]] = field(default_factory=dict)
    """ "plus" or "after" → the maps that are added, and where they store these channels."""


@dataclass
class _Layer:
    """A convolution, and what is fused to it so far."""

    parts: list[_Part]
    names: list[str]
    """The value of each part by now; of all parts together, where they are joined."""
    step: int = 1
    """Of the pixel shuffle."""
    sum_with: Maps | None = None
    total: str = ""
    """The value of the sum."""

    @property
    def runs(self) -> list[tuple[str, list[_Part]]]:
        """The values, each with the parts it is made of."""
        if len(self.names) == 1:
            return [(self.names[0], self.parts)]
        return [(name, [part]) for name, part in zip(self.names, self.parts, strict=True)]


class Compiler:
    """One graph, added to a program; `mean` is what it takes off the picture first and adds last.

    Raises EngineError for a graph that the kernels have no form for.
    """

    def __init__(self, graph: Graph, program: Program) -> None:
        self.program, self.mean = program, np.zeros(3, np.float32)
        self._constants = graph.constants
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        self._values: dict[str, list[Maps]] = {}
        """Value → its maps; a joined value has several."""
        self._fused: set[int] = set()
        self._picture = PICTURE
        for node in graph.nodes:
            if id(node) not in self._fused:
                self._compile(node)

    def _compile(self, node: Node) -> None:
        name, first = node.outputs[0], node.inputs[0]
        if node.kind == "sub" and first == PICTURE and node.inputs[1] in self._constants:
            self._picture, self.mean = name, self._constants[node.inputs[1]].astype(np.float32).reshape(3)
        elif node.kind == "concat" and all(each in self._values for each in node.inputs):
            self._values[name] = [maps for each in node.inputs for maps in self._values[each]]
        elif node.kind == "conv" and first == self._picture:
            self._head(node)
        elif node.kind == "conv" and first in self._values:
            self._conv(node)
        else:
            raise _no_form(node)

    def _head(self, node: Node) -> None:
        relu = self._only_reader(node.outputs[0])
        if relu is None or relu.kind != "relu" or len(node.inputs) > 2:
            raise _no_form(node)
        self._fused.add(id(relu))
        self._values[relu.outputs[0]] = [self.program.head(self._constants[node.inputs[1]])]

    def _conv(self, node: Node) -> None:
        sources, weight = self._values[node.inputs[0]], self._constants[node.inputs[1]]
        bias = self._constants[node.inputs[2]] if len(node.inputs) > 2 else None
        reader = self._only_reader(node.outputs[0])
        if len(sources) > 2 or weight.shape[2] not in (1, 3):
            raise _no_form(node)
        if reader is not None and reader.kind == "add" and self._is_tail(reader, weight):
            if bias is not None or len(sources) > 1:
                raise _no_form(node)
            self._fused.add(id(reader))
            self.program.tail(sources[0], weight)
            return
        layer = self._start(node, len(weight))
        while any([self._fuse(layer, *run) for run in layer.runs]) or self._join(layer) or self._sum(layer):
            pass
        self._add(node, layer, sources, weight, bias)

    def _is_tail(self, add: Node, weight: NDArray[np.float32]) -> bool:
        """Say if `add` gives the picture: it is read by nothing, and adds the mean to a convolution to RGB."""
        added = [self._constants[each].reshape(-1) for each in add.inputs if each in self._constants]
        last = add.outputs[0] not in self._readers and weight.shape[0] == weight.shape[2] == 3
        return last and len(added) == 1 and np.array_equal(added[0], self.mean)

    def _start(self, node: Node, outputs: int) -> _Layer:
        """Begin a layer with the split or the shuffle that follows its convolution."""
        reader = self._only_reader(node.outputs[0])
        if reader is not None and reader.kind == "split":
            self._fused.add(id(reader))
            ends = np.cumsum(reader.sizes)
            parts = [_Part(int(end) - size, int(end)) for end, size in zip(ends, reader.sizes, strict=True)]
            return _Layer(parts, list(reader.outputs))
        if reader is not None and reader.kind == "shuffle":
            self._fused.add(id(reader))
            step = reader.sizes[0]
            return _Layer([_Part(0, outputs // step**2)], list(reader.outputs), step)
        return _Layer([_Part(0, outputs)], list(node.outputs))

    def _fuse(self, layer: _Layer, name: str, parts: list[_Part]) -> bool:
        """Fuse the one operation that reads a value, if it can be."""
        reader, first = self._only_reader(name), parts[0]
        if reader is None:
            return False
        if reader.kind == "relu" and not any(part.relu or "after" in part.beside for part in parts):
            for part in parts:
                part.relu = True
        elif reader.kind == "add" and layer.step == 1 and (other := self._other(reader, name)) is not None:
            plus = not any(part.relu or part.beside for part in parts)
            if "after" in first.beside:
                return False
            for part in parts:
                run = slice(part.begin - first.begin, part.end - first.begin)
                part.beside["plus" if plus else "after"] = other, other.first + other.places[run]
        else:
            return False
        self._fused.add(id(reader))
        layer.names[layer.names.index(name)] = reader.outputs[0]
        return True

    def _join(self, layer: _Layer) -> bool:
        """Take parts that are joined in their order, and read by nothing else, as one again."""
        reader = self._only_reader(layer.names[0])
        if len(layer.names) == 1 or reader is None or reader.kind != "concat" or reader.inputs != tuple(layer.names):
            return False
        if any(self._only_reader(name) is None for name in layer.names):
            return False
        self._fused.add(id(reader))
        layer.names = [reader.outputs[0]]
        return True

    def _sum(self, layer: _Layer) -> bool:
        """Fuse a sum that is read beside the rectified value."""
        name = layer.names[0]
        readers = self._readers.get(name, [])
        if len(layer.names) > 1 or layer.step > 1 or layer.sum_with is not None or len(readers) != 2:
            return False
        relu, add = sorted(readers, key=lambda each: each.kind, reverse=True)
        if (relu.kind, add.kind) != ("relu", "add") or any(part.relu or "after" in part.beside for part in layer.parts):
            return False
        layer.sum_with = self._other(add, name)
        if layer.sum_with is None:
            return False
        for part in layer.parts:
            part.relu = True
        self._fused |= {id(relu), id(add)}
        layer.names, layer.total = [relu.outputs[0]], add.outputs[0]
        return True

    def _add(
        self, node: Node, layer: _Layer, sources: list[Maps], weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
    ) -> None:  # fmt: skip
        """Add the layer to the program: where its channels are stored is where those are that are added to them."""
        parts, places = layer.parts, np.arange(len(weight) // layer.step**2)
        if len(parts) > 1:
            places = self.program.split([part.end - part.begin for part in parts])
        stored = [(part, place) for part in parts for _, place in part.beside.values()]
        if layer.sum_with is not None:
            stored.append((_Part(0, len(places)), layer.sum_with.first + layer.sum_with.places))
        if len(parts) == 1 and stored:
            places = stored[0][1]
        from_first = [part.begin for part in parts if part.relu]
        fits = all(np.array_equal(place, places[part.begin : part.end]) for part, place in stored)
        fits &= all(part.relu == bool(from_first and part.begin >= from_first[0]) for part in parts)
        beside: dict[str, Maps | None] = {}
        for kind in ("plus", "after"):
            added = {part.beside[kind][0].number: part.beside[kind][0] for part in parts if kind in part.beside}
            fits &= len(added) <= 1 and (not added or all(kind in part.beside for part in parts))
            beside[kind] = next(iter(added.values()), None)
        if not fits:
            raise _no_form(node)
        maps, total = self.program.conv(
            sources, weight, bias, places=places, relu_from=from_first[0] if from_first else None,
            plus=beside["plus"], after=beside["after"], sum_with=layer.sum_with, step=layer.step,
        )  # fmt: skip
        for name, run in layer.runs:
            self._values[name] = [maps if len(run) == len(parts) else maps.part(run[0].begin, run[0].end)]
        if total is not None:
            self._values[layer.total] = [total]

    def _only_reader(self, name: str) -> Node | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 else None

    def _other(self, add: Node, name: str) -> Maps | None:
        """Find the maps that `add` adds to a value, if they are computed by now and lie in one."""
        others = [each for each in add.inputs if each != name]
        maps = self._values.get(others[0], []) if len(others) == 1 else []
        return maps[0] if len(maps) == 1 else None


def _no_form(node: Node) -> EngineError:
    inputs = ", ".join(node.inputs)
    return EngineError(
        f"engine 'native' has no form for {node.kind} of {inputs} in this network: choose another engine"
    )
