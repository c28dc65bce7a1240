"""Weights files of any origin → one flat dict of tensors. Nothing in a file is ever executed."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from superfine.checkpoints.recognise import listing
from superfine.errors import CheckpointError

WRAPPERS = ("params_ema", "ema", "params", "state_dict", "model_state_dict", "model", "net", "network")
"""Entries that training programs keep weights under; averaged ones (EMA) first, because they are the better ones."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "generator.")
"""What DataParallel, torch.compile and training modules put in front of every key."""


@dataclass(frozen=True)
class StateFile:
    """What a weights file holds."""

    state: dict[str, Tensor]
    """Its key (wrappers and prefixes taken off) → tensor on the CPU, type as stored."""
    metadata: dict[str, str]
    """The safetensors header; empty for pickles."""
    wrappers: tuple[str, ...]
    """The entries the weights were kept under, outermost first."""
    prefix: str
    """What was taken off the front of every key."""
    kind: str
    """"safetensors" or "PyTorch"."""


def read_state(path: str | Path) -> StateFile:
    """The tensors of a .safetensors file or a PyTorch checkpoint (.pth, .pt, .ckpt, ...), told apart by content.

    Pickles are read with `weights_only`: a file that wants to run code is refused.
    Raises CheckpointError if there is no such file, or it is empty, cut short or not a weights file.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder: name a weights file in it")
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if not start:
        raise CheckpointError(f"{path} is empty (0 bytes): copy or download it again")
    metadata: dict[str, str] = {}
    if looks_like_safetensors(start):
        content, metadata = _read_safetensors(path)
        kind = "safetensors"
    else:
        content = _read_pickle(path, start)
        kind = "PyTorch"
    tensors, wrappers = _unwrap(path, content)
    prefix = _common_prefix(tensors)
    state = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return StateFile(state, metadata, wrappers, prefix, kind)


def looks_like_safetensors(start: bytes) -> bool:
    """Whether a file's first 16 bytes are a safetensors header: eight bytes of length, then JSON."""
    return len(start) > 8 and start[8:9] == b"{"


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is a damaged or cut-short safetensors file ({_first_line(error)}): copy or download it again"
        ) from error


def _read_pickle(path: Path, start: bytes) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() or "unsupported" in str(error).lower():
            wanted = "it holds Python objects, not only tensors, and opening it could run a stranger's code"
            raise CheckpointError(
                f"{path} was refused: {wanted}; save it again with torch.save(network.state_dict(), path)"
            ) from error
        raise _not_weights(path, start, error) from error
    except Exception as error:  # torch raises many kinds for a damaged file, AttributeError and struct.error among them
        raise _not_weights(path, start, error) from error


def _not_weights(path: Path, start: bytes, error: Exception) -> CheckpointError:
    damaged = start[:2] in (b"PK", b"\x80\x02") or zipfile.is_zipfile(path)
    found = "a PyTorch file that is damaged or cut short" if damaged else f"no weights file (it begins {start[:8]!r})"
    return CheckpointError(f"{path} is {found}: wanted a .safetensors file or a PyTorch .pth of ESRGCNN or CFSRCNN")


def _unwrap(path: Path, content: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The dict of tensors inside, and the names of the wrappers around it."""
    wrappers: list[str] = []
    for _ in range(4):
        if not isinstance(content, Mapping):
            raise CheckpointError(f"{path} holds a {type(content).__name__}: wanted a state dict (key → tensor)")
        inner = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        wrappers.append(inner)
        content = content[inner]
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        entries = [str(key) for key in content]
        found = f"the entries {listing(entries)}" if entries else "nothing"
        raise CheckpointError(
            f"{path} holds {found} and no tensors: wanted a state dict, or one under {listing(WRAPPERS, 8)}"
        )
    return tensors, tuple(wrappers)


def _common_prefix(tensors: dict[str, Tensor]) -> str:
    """The prefixes that every key carries, joined."""
    prefix = ""
    while found := next((p for p in PREFIXES if all(key.startswith(prefix + p) for key in tensors)), None):
        prefix += found
    return prefix


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
