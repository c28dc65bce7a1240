"""Read a network from any supported file; write it as ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import ceil
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from superfine.atomic import replace_file
from superfine.errors import CheckpointError
from superfine.nets import NETWORKS, Network, NetworkConfig, build, multiply_adds
from superfine.nets.layers import RGB_MEAN
from superfine.weights.detect import Recognised, listing, recognise
from superfine.weights.header import FORMAT
from superfine.weights.key_names import MEAN_KEYS
from superfine.weights.state_dict import StateFile, read_state


def load(path: str | Path) -> Network:
    """Load the network in a weights file: float32, on the CPU, in evaluation mode.

    Reads our safetensors, and what the authors' programs write for both networks: PyTorch checkpoints of one scale or
    all, bare or wrapped, with or without `module.`, or safetensors. Network, scales, width and depth are detected.

    Raises CheckpointError, one line, for a file that is missing, damaged, foreign or does not fit.
    """
    file = read_state(path)
    try:
        return from_state(file)
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from error


def from_state(file: StateFile) -> Network:
    """Build the network whose tensors a file held. Raises CheckpointError, one line, where they do not fit."""
    found = identify(file)
    if not found.fits:
        raise CheckpointError(found.complaint())
    check_values(file, found)
    network = build(found.config)
    network.load_state_dict({ours: file.state[theirs].float() for theirs, ours in found.table.items()}, strict=False)
    return network.eval()


def identify(file: StateFile) -> Recognised:
    """Which network a file holds and how well it fits; our own header, where there is one, must agree.

    Raises CheckpointError if it is no network known here, or the header is of a version or network not known here.
    """
    version = file.metadata.get("format", "")
    if version.startswith("superfine-") and version != FORMAT:
        raise CheckpointError(f"its format is {version}, this superfine reads {FORMAT}: upgrade superfine")
    found = recognise({key: value.shape for key, value in file.state.items()})
    if version == FORMAT:
        declared = config_from_json(file.metadata.get("network", ""), file.metadata.get("config", ""))
        if declared != found.config:
            raise CheckpointError(
                f"its header says {declared}, its tensors make {found.config}: the file was altered; get it again"
            )
    return found


def save(
    network: Network,
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `network` as a superfine safetensors file, whole or not at all.

    `metadata` adds text fields to the header (training step, recipe, ...); those that `header_of` writes are taken.
    Raises CheckpointError if a value is not finite, does not fit into `dtype`, or the file cannot be written.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        tensors[key] = value.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(tensors[key]).all():
            raise CheckpointError(f"not saving {path}: {key} holds values that are not finite in {_name(dtype)}")
    header = dict(metadata or {}) | header_of(network)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, _in_order(to_bytes(tensors, header)))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


def _in_order(content: bytes) -> bytes:
    """Sort a safetensors file's metadata and put its values on a boundary of 64 bytes.

    The library writes metadata in random order: the same weights would have another SHA-256 each time.
    """
    length = int.from_bytes(content[:8], "little")
    fields = json.loads(content[8 : 8 + length])
    fields["__metadata__"] = dict(sorted(fields["__metadata__"].items()))
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def header_of(network: Network) -> dict[str, str]:
    """Give the header fields that say what a file is."""
    return {
        "format": FORMAT,
        "network": network.name,
        "config": json.dumps(asdict(network.config)),
        "halo": json.dumps({str(scale): halo(network, scale) for scale in network.config.scales}),
        "multiply_adds": json.dumps({str(scale): multiply_adds(network, scale) for scale in network.config.scales}),
        "feature_maps": str(network.feature_maps),
    }


def halo(network: Network, scale: int) -> int:
    """Count the whole LR pixels of context that a tile needs on each side for its result to be exact."""
    return ceil(network.receptive_radius(scale))


def config_from_json(name: str, text: str) -> NetworkConfig:
    """Read the configuration in a header. Raises CheckpointError if it is not one."""
    if name not in NETWORKS:
        raise CheckpointError(f"its header names the network {name!r}: known are {', '.join(NETWORKS)}")
    try:
        fields = json.loads(text)
        config: NetworkConfig = NETWORKS[name].Config(**fields | {"scales": tuple(fields["scales"])})
        return config
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"its header's {name} configuration {text!r} is not one: {error}") from error


def check_values(file: StateFile, found: Recognised) -> None:
    """Raise CheckpointError unless every tensor is floating point and finite, and the mean is the one we know."""
    for key in found.table:
        value = file.state[key]
        if not value.is_floating_point() or value.layout != torch.strided:
            raise CheckpointError(f"{key} holds {_name(value.dtype)} values: wanted floating point weights")
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{key} holds values that are not finite: the training run had diverged")
    for key in MEAN_KEYS & file.state.keys():
        sign = -1 if key.startswith("sub_mean") else 1
        wanted = torch.eye(3).view(3, 3, 1, 1) if key.endswith("weight") else sign * torch.tensor(RGB_MEAN)
        value = file.state[key].float()
        if value.shape != wanted.shape or not torch.allclose(value, wanted, atol=1e-3):
            values = listing([f"{v:g}" for v in value.flatten().tolist()])
            raise CheckpointError(f"{key} is {values}: wanted the mean {RGB_MEAN} that both networks take off")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
