"""What a network computes, as a list of operations: read from its ONNX graph, without PyTorch, or watched in PyTorch.

Only the operations that superfine's exporter writes are known. The format of ONNX files is protocol buffers: a field
is a number, its kind, and a varint, eight, four or a counted number of bytes (https://protobuf.dev/programming-guides/
encoding); the numbers of the fields are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superfine.errors import EngineError, install_command

if TYPE_CHECKING:
    from superfine.nets import Network
    from superfine.weights import Model

PICTURE = "lr"
"""Name of the value that a graph starts from."""

Constants = dict[str, NDArray[Any]]

_TYPES = {1: np.float32, 7: np.int64, 10: np.float16}
"""Number of a type in onnx.proto → NumPy's."""


@dataclass(frozen=True)
class Node:
    """One operation on named values."""

    kind: str
    """"conv", "relu", "add", "sub", "concat", "split" or "shuffle"."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    """Channels of a split's parts, or the step of a pixel shuffle."""


@dataclass
class Graph:
    """Operations in the order they run, and the constants they read."""

    nodes: list[Node] = field(default_factory=list)
    constants: Constants = field(default_factory=dict)


def read_onnx(path: Path) -> Graph:
    """Read the graph in an ONNX file, and its weights where they lie. Raises EngineError for an unknown one."""
    [content] = _fields(path.read_bytes())[7]
    parts = _fields(content)
    graph = Graph()
    stored: dict[str, NDArray[np.uint8]] = {}
    for tensor in parts.get(5, ()):
        name, values = _constant(_fields(tensor), path.parent, stored)
        graph.constants[name] = values
    for node in parts.get(1, ()):
        _add(graph, _fields(node), path)
    return graph


def trace(network: Network, scale: int) -> Graph:
    """Watch what a PyTorch network computes at `scale` on a small picture; its weights are copied, as float32."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    graph = Graph()
    names: dict[int, str] = {}
    kept: list[Any] = []  # so that no two tensors have one id
    kinds = {"convolution": "conv", "relu": "relu", "add": "add", "sub": "sub", "cat": "concat",
             "split_with_sizes": "split", "pixel_shuffle": "shuffle"}  # fmt: skip

    def name_of(tensor: torch.Tensor) -> str:
        if id(tensor) not in names:
            names[id(tensor)] = f"constant {len(names)}"
            kept.append(tensor)
            graph.constants[names[id(tensor)]] = tensor.detach().float().cpu().numpy().astype(np.float32)
        return names[id(tensor)]

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            flat = args[0] if isinstance(args[0], list | tuple) else args[:3]
            tensors = [each for each in flat if isinstance(each, torch.Tensor)]
            if all(names.get(id(each), "constant").startswith("constant") for each in tensors):
                return result  # of weights alone: a constant
            kind = kinds.get(func.overloadpacket.__name__)
            if kind is None:
                raise _unknown(func.overloadpacket.__name__, network.name)
            results = list(result) if isinstance(result, list | tuple) else [result]
            inputs = tuple(map(name_of, tensors))
            for each in results:
                names[id(each)] = f"value {len(names)}"
            kept.extend(results)
            sizes = tuple(args[1]) if kind == "split" else (int(args[1]),) if kind == "shuffle" else ()
            graph.nodes.append(Node(kind, inputs, tuple(names[id(each)] for each in results), sizes))
            return result

    weight = network.head.weight
    picture = torch.zeros(1, 3, 8, 8, dtype=weight.dtype, device=weight.device)
    names[id(picture)] = PICTURE
    with torch.no_grad(), Watch():  # type: ignore[no-untyped-call]
        network(picture, scale)
    return graph


def graph_of_model(model: Model, scale: int) -> Graph:
    """Read what a model computes from its graph, without PyTorch, or watch it where it has none. Raises EngineError."""
    if scale in model.graphs:
        return read_onnx(model.graphs[scale])
    if find_spec("torch") is None:
        raise EngineError(
            f"{model.name!r} has no graph for x{scale}, and PyTorch, which could make one, is not installed: "
            f"{install_command('torch')}, or run `superfine export` where it is"
        )
    from superfine.weights import network_file

    return trace(network_file.load(model.weights), scale)


def _add(graph: Graph, fields: Mapping[int, list[Any]], path: Path) -> None:
    """Add a NodeProto; what reads constants alone is computed here."""
    inputs, outputs = (tuple(each.decode() for each in fields.get(number, ())) for number in (1, 2))
    kind, constants = fields[4][0].decode(), graph.constants
    attributes = {each[1][0].decode(): each for each in map(_fields, fields.get(5, ()))}
    if all(name in constants for name in inputs):
        if kind == "Cast":
            constants[outputs[0]] = constants[inputs[0]].astype(_TYPES[attributes["to"][3][0]])
        elif kind == "Mul":
            constants[outputs[0]] = constants[inputs[0]] * constants[inputs[1]]
        else:
            raise _unknown(kind, path.name)
        return
    sizes: tuple[int, ...] = ()
    if kind == "Split":
        inputs, sizes = inputs[:1], tuple(map(int, constants[inputs[1]]))
    elif kind == "DepthToSpace" and attributes["mode"][4][0] == b"CRD":
        kind, sizes = "shuffle", (attributes["blocksize"][3][0],)
    elif kind not in ("Conv", "Relu", "Add", "Sub", "Concat"):
        raise _unknown(kind, path.name)
    graph.nodes.append(Node(kind.lower(), inputs, outputs, sizes))


def _constant(
    fields: Mapping[int, list[Any]], folder: Path, stored: dict[str, NDArray[np.uint8]]
) -> tuple[str, NDArray[Any]]:
    """(name, values) of a TensorProto: in its own bytes, or at an offset of a file beside the graph."""
    kind = np.dtype(_TYPES[fields[2][0]]).newbyteorder("<")
    shape, name = tuple(fields.get(1, ())), fields[8][0].decode()
    place = {each[1][0].decode(): each[2][0].decode() for each in map(_fields, fields.get(13, ()))}
    if not place:
        return name, np.frombuffer(fields[9][0], kind).reshape(shape)
    if place["location"] not in stored:
        stored[place["location"]] = np.memmap(folder / place["location"], np.uint8, "r")
    begin = int(place["offset"])
    return name, stored[place["location"]][begin : begin + int(place["length"])].view(kind).reshape(shape)


def _fields(content: bytes) -> dict[int, list[Any]]:
    """Field number → values of a message, in order: ints, or the bytes of texts, messages and packed numbers."""
    found: dict[int, list[Any]] = {}
    for number, value in _walk(content):
        found.setdefault(number, []).append(value)
    return found


def _walk(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(content):
        key = varint()
        length = {1: 8, 5: 4}.get(key & 7)
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        length = varint() if length is None else length
        yield key >> 3, content[at : at + length]
        at += length


def _unknown(kind: str, where: str) -> EngineError:
    return EngineError(f"engine 'native' does not know the operation {kind} in {where}: choose another engine")
