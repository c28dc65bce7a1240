"""Read weights files of any origin into one flat dict of tensors. Nothing in a file is ever executed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from superfine.errors import CheckpointError
from superfine.weights.detect import listing
from superfine.weights.header import first_bytes, looks_like_safetensors, read_header

WRAPPERS = ("params_ema", "ema", "params", "state_dict", "model_state_dict", "model", "net", "network")
"""Entries that training programs keep weights under; averaged ones (EMA) first, because they are the better ones."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "generator.")
"""Words that DataParallel, torch.compile and training modules put in front of every key."""


@dataclass(frozen=True)
class StateFile:
    """The content of a weights file."""

    state: dict[str, Tensor]
    """Its key (wrappers and prefixes taken off) → tensor on the CPU, type as stored."""
    metadata: dict[str, str]
    """The safetensors header; empty for pickles."""
    wrappers: tuple[str, ...]
    """The entries the weights were kept under, outermost first."""
    prefix: str
    """The words taken off the front of every key."""
    kind: str
    """"safetensors" or "PyTorch"."""


def read_state(path: str | Path) -> StateFile:
    """Read the tensors of a .safetensors file or a PyTorch checkpoint (.pth, .pt, .ckpt, ...), told apart by content.

    Pickles are read with `weights_only`: a file that wants to run code is refused.
    Raises CheckpointError if there is no such file, or it is empty, cut short or not a weights file.
    """
    path = Path(path)
    start = first_bytes(path)
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


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    metadata = read_header(path).metadata  # complains of a file cut short more clearly than the library
    try:
        return load_file(path), metadata
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is a damaged safetensors file ({error}): copy or download it again") from error


def _read_pickle(path: Path, start: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is said below, in one line
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file, AttributeError and struct.error among them
        blocked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if blocked or (start[:1] == b"\x80" and start[:2] != b"\x80\x02"):
            objects = f"the Python object {blocked.group(1)}" if blocked else "Python objects"
            raise CheckpointError(
                f"{path} was refused: it holds {objects}, and opening it could run a stranger's code; "
                "wanted tensors only: save it with torch.save(network.state_dict(), path)"
            ) from error
        if "TorchScript" in str(error):
            raise CheckpointError(
                f"{path} is a TorchScript program: wanted weights, from torch.save(network.state_dict(), path)"
            ) from error
        damaged = start[:2] in (b"PK", b"\x80\x02")
        found = (
            "a PyTorch file that is damaged or cut short" if damaged else f"no weights file (it begins {start[:8]!r})"
        )
        raise CheckpointError(
            f"{path} is {found}: wanted a .safetensors file or a PyTorch .pth of ESRGCNN or CFSRCNN"
        ) from error


def _unwrap(path: Path, content: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Find the dict of tensors inside, and the names of the wrappers around it."""
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
    """Join the prefixes that every key carries."""
    prefix = ""
    while found := next((p for p in PREFIXES if all(key.startswith(prefix + p) for key in tensors)), None):
        prefix += found
    return prefix
