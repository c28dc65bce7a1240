"""Make the ONNX graph of a network at one scale; its weights stay in the safetensors file beside it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import onnx
import torch
from onnx import ModelProto, TensorProto
from onnx.helper import make_node
from torch import Tensor, nn
from torch.func import functional_call

from superfine.nets import Network, NetworkConfig, build
from superfine.weights.header import Header, StoredTensor

_TYPES = {"F16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16, "F32": TensorProto.FLOAT}

OPSET = 20
"""ONNX operator set. Every operator used (Conv, Relu, Add, Sub, Mul, Concat, Split, DepthToSpace, Cast) is older."""


def make_graph(network: Network, scale: int, weights_file: str, header: Header) -> ModelProto:
    """Make the graph of `network` at `scale`: "lr" (n, 3, h, w) float32 0..1 → "sr" (n, 3, h·scale, w·scale).

    It takes any n, h and w. Each weight is ONNX external data at its byte offset in `weights_file` (a name, looked up
    beside the graph), whose `header` names our keys; a Cast widens it to float32. The graph names the header's layout,
    because it would read nonsense from a file laid out differently.
    """
    keys = _used_keys(network, scale)
    model = ModelProto()
    model.CopyFrom(_traced(network.config, scale))
    graph = model.graph
    for key in keys:
        name = _input_name(key)
        graph.initializer.append(_stored(key, header.tensors[key], weights_file))
        graph.node.insert(0, make_node("Cast", [key], [name], name=f"widen {key}", to=TensorProto.FLOAT))
    inputs = [value for value in graph.input if value.name == "lr"]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.name = f"{network.name} x{scale}"
    model.producer_name, model.producer_version = "superfine", ""
    onnx.helper.set_model_props(model, {"network": network.name, "scale": str(scale), "layout": header.layout()})
    return model


class _AtScale(nn.Module):
    """A network at one scale whose weights are inputs, so that the exporter cannot fold them into constants."""

    def __init__(self, network: Network, scale: int, keys: list[str]) -> None:
        super().__init__()
        # Not registered as a submodule: its parameters are not this module's.
        self._call = (network, scale, keys)

    def forward(self, lr: Tensor, weights: list[Tensor]) -> Tensor:
        network, scale, keys = self._call
        sr: Tensor = functional_call(network, dict(zip(keys, weights, strict=True)), (lr, scale))
        return sr


@lru_cache(maxsize=16)
def _traced(config: NetworkConfig, scale: int) -> ModelProto:
    """Trace what networks of this configuration compute, weights as inputs. It is kept, as tracing takes seconds."""
    network = build(config)
    state, keys = network.state_dict(), _used_keys(network, scale)
    n, h, w = (torch.export.Dim(name) for name in ("n", "h", "w"))
    with quiet():
        program = torch.onnx.export(
            _AtScale(network, scale, keys).eval(),
            (torch.rand(2, 3, 24, 20), [state[key] for key in keys]),
            dynamo=True,
            opset_version=OPSET,
            input_names=["lr", *map(_input_name, keys)],
            output_names=["sr"],
            dynamic_shapes=({0: n, 2: h, 3: w}, [None for _ in keys]),
            verbose=False,
        )
    assert program is not None
    model: ModelProto = program.model_proto
    _strip(model)
    return model


def _used_keys(network: Network, scale: int) -> list[str]:
    """List every weight but those of the other scales' upsamplers, in the order of the state."""
    others = tuple(f"upsampler.branches.x{s}." for s in network.config.scales if s != scale)
    return [key for key in network.state_dict() if not key.startswith(others)]


def _input_name(key: str) -> str:
    return f"{key} float32"


def _stored(key: str, stored: StoredTensor, weights_file: str) -> TensorProto:
    """Make an initializer that lies in another file."""
    tensor = TensorProto(
        name=key, data_type=_TYPES[stored.dtype], dims=stored.shape, data_location=TensorProto.EXTERNAL
    )
    for field, value in (("location", weights_file), ("offset", stored.offset), ("length", stored.length)):
        tensor.external_data.add(key=field, value=str(value))
    return tensor


def _strip(model: ModelProto) -> None:
    """Drop the exporter's notes for debugging: source lines, module names, shapes of every step."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:], model.functions[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter's remarks about packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
