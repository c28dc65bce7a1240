"""Write a network as the two files that ncnn reads: NAME.param, its layers as text, and NAME.bin, its weights.

Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. ncnn's own converter is a tool for makers
of networks; a user's machine needs only this file, because the graphs have few kinds of operations.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from superfine.engines.native_graph import PICTURE, Graph, Node
from superfine.errors import EngineError

RESULT = "sr"
"""Name of the blob with the enlarged picture; it enters as PICTURE."""

_MAGIC = "7767517"

_ON_CPU, _FP32, _NO_WINOGRAD = " 31=16", " 31=3", " 31=64"
"""Masks that forbid a layer the GPU, fp16 storage and arithmetic, and Winograd."""

_TO_FP32 = "0=2 1=1"


@dataclass
class _Writer:
    """Layers and weights written so far, and the blobs that wait for their readers."""

    graph: Graph
    half: bool
    layers: list[str] = field(default_factory=list)
    weights: list[bytes] = field(default_factory=list)
    blobs: int = 0
    waiting: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.readers = Counter(name for node in self.graph.nodes for name in node.inputs)
        self.reader = {name: node for node in self.graph.nodes for name in node.inputs}

    def layer(self, kind: str, reads: list[str], writes: list[str], parameters: str) -> None:
        name = f"{kind.lower()}{len(self.layers)}"
        self.layers.append(
            f"{kind} {name} {len(reads)} {len(writes)} {' '.join([*reads, *writes])} {parameters}".strip()
        )
        self.blobs += len(writes)

    def hand_out(self, value: str, blob: str) -> None:
        """Keep a blob for those that read the value; a blob has one reader in ncnn, so it is split for several."""
        names = [blob]
        if self.readers[value] > 1:
            names = [f"{blob}_{number}" for number in range(self.readers[value])]
            self.layer("Split", [blob], names, "")
        self.waiting[value] = names

    def take(self, value: str) -> str:
        return self.waiting[value].pop()

    def constant(self, name: str) -> NDArray[np.float32] | None:
        found = self.graph.constants.get(name)
        return None if found is None else np.asarray(found, np.float32)

    def only_reader(self, value: str, kinds: tuple[str, ...]) -> Node | None:
        """Give the one operation that reads the value, if it is of these kinds."""
        node = self.reader.get(value)
        return node if node is not None and self.readers[value] == 1 and node.kind in kinds else None


def ncnn_files(graph: Graph, half: bool) -> tuple[str, bytes]:
    """Give the contents of NAME.param and NAME.bin.

    half: for a GPU that stores activations in fp16. The mean is then taken off the picture before it is rounded, the
    upsampler and what follows it go without Winograd, whose sums need more than fp16 keeps, and the tail, which writes
    the picture, is fp32. The weights are the same for both.
    Raises EngineError for an operation that has no counterpart here.
    """
    writer = _Writer(graph, half)
    writer.layer("Input", [], [PICTURE], "0=0 1=0 2=3")
    writer.hand_out(PICTURE, PICTURE)
    merged: set[int] = set()
    enlarged_from = _first_upsampling(graph)
    tail = max(number for number, node in enumerate(graph.nodes) if node.kind == "conv")
    for number, node in enumerate(graph.nodes):
        if id(node) in merged:
            continue
        if node.kind == "conv":
            mask = "" if not half else _FP32 if number == tail else _NO_WINOGRAD if number >= enlarged_from else ""
            _convolution(writer, node, mask, merged)
        else:
            _other(writer, node)
    text = "\n".join([_MAGIC, f"{len(writer.layers)} {writer.blobs}", *writer.layers, ""])
    return text, b"".join(writer.weights)


def _convolution(writer: _Writer, node: Node, mask: str, merged: set[int]) -> None:
    """Write a convolution, with the constant that is added to it and the ReLU that follow it."""
    weight = writer.constant(node.inputs[1])
    if weight is None:
        raise EngineError("engine 'ncnn' runs convolutions with constant weights only: choose another engine")
    outputs, _, side, _ = weight.shape
    bias = writer.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    last = node
    following = writer.only_reader(last.outputs[0], ("add",))
    if following is not None:
        added = [writer.constant(name) for name in following.inputs if name in writer.graph.constants]
        if added and added[0] is not None:
            bias = (0 if bias is None else bias) + np.broadcast_to(added[0].reshape(-1), (outputs,))
            last = following
            merged.add(id(last))
    following = writer.only_reader(last.outputs[0], ("relu",))
    rectified = following is not None
    if following is not None:
        last = following
        merged.add(id(last))
    writer.weights.append(struct.pack("<I", 0) + weight.astype("<f4").tobytes())  # 0: plain float32 follows
    if bias is not None:
        writer.weights.append(bias.astype("<f4").tobytes())
    read = writer.take(node.inputs[0])
    if mask == _FP32:
        writer.layer("Cast", [read], [f"{read}_wide"], _TO_FP32)
        read = f"{read}_wide"
    parameters = f"0={outputs} 1={side} 4={side // 2} 5={int(bias is not None)} 6={weight.size}"
    _put(writer, "Convolution", [read], last, parameters + (" 9=1" if rectified else "") + mask)


def _other(writer: _Writer, node: Node) -> None:
    """Write an operation that is no convolution."""
    constants = [writer.constant(name) for name in node.inputs]
    reads = [writer.take(name) for name, constant in zip(node.inputs, constants, strict=True) if constant is None]
    if node.kind in ("add", "sub") and len(reads) == 1:
        place = constants.index(None)
        value = constants[1 - place]
        if value is None or (node.kind == "sub" and place == 1):
            raise EngineError("engine 'ncnn' takes constants off, nothing off a constant: choose another engine")
        value = value.reshape(-1) * (-1 if node.kind == "sub" else 1)
        writer.weights.append(np.ones(value.size, "<f4").tobytes() + value.astype("<f4").tobytes())
        mask = _ON_CPU if writer.half and node.inputs[place] == PICTURE else ""
        _put(writer, "Scale", reads, node, f"0={value.size} 1=1{mask}")
    elif node.kind == "split":
        sizes = ",".join(map(str, node.sizes[:-1]))
        _put(writer, "Slice", reads, node, f"-23300={len(node.sizes)},{sizes},-233 1=0")
    elif node.kind in _PLAIN:
        kind, parameters = _PLAIN[node.kind]
        _put(writer, kind, reads, node, parameters.format(*node.sizes))
    else:
        raise EngineError(f"engine 'ncnn' has no layer for {node.kind!r}: choose another engine")


_PLAIN = {
    "add": ("BinaryOp", "0=0"),
    "relu": ("ReLU", ""),
    "concat": ("Concat", "0=0"),
    "shuffle": ("PixelShuffle", "0={}"),
}


def _put(writer: _Writer, kind: str, reads: list[str], last: Node, parameters: str) -> None:
    """Write a layer whose results are those of the operation `last`."""
    blobs = [
        f"b{writer.blobs + number}" if writer.readers[name] else RESULT for number, name in enumerate(last.outputs)
    ]
    writer.layer(kind, reads, blobs, parameters)
    for name, blob in zip(last.outputs, blobs, strict=True):
        writer.hand_out(name, blob)


def _first_upsampling(graph: Graph) -> int:
    """Find the number of the convolution in front of the first pixel shuffle."""
    shuffle = next((n for n, node in enumerate(graph.nodes) if node.kind == "shuffle"), len(graph.nodes))
    return max((n for n, node in enumerate(graph.nodes[:shuffle]) if node.kind == "conv"), default=0)
