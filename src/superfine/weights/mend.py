"""Mend a checkpoint: write what is good in it as a weights file of superfine's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from superfine.errors import CheckpointError
from superfine.nets import build
from superfine.weights import network_file
from superfine.weights.detect import Recognised, listing
from superfine.weights.doctor import LARGEST_FLOAT16, likely_renames
from superfine.weights.key_names import shapes_of
from superfine.weights.network_file import check_values, identify
from superfine.weights.state_dict import StateFile, read_state


@dataclass
class Mended:
    """A weights file that was written, and how it differs from the one it was made of."""

    path: Path
    changes: list[str] = field(default_factory=list)
    """One line each."""


def mend(source: str | Path, target: str | Path) -> Mended:
    """Write the network in `source` to `target` as a superfine safetensors file, float16 where its values fit.

    Wrappers, prefixes and keys of no network are taken off; keys with a slip in their names are renamed where one
    missing key of the same shape resembles them; what the header has to say is computed.
    Raises CheckpointError, one line, for what cannot be mended (tensors that are missing, misshapen or not finite), and
    where `target` exists or is not a .safetensors name. Nothing is written then.
    """
    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise CheckpointError(f"cannot write {target}: wanted a name that ends in .safetensors")
    if target.exists():
        raise CheckpointError(f"{target} exists already: choose another name, or remove it")
    file = read_state(source)
    try:
        changes, file, found = _fitting(file)
        check_values(file, found)
    except CheckpointError as error:
        raise CheckpointError(f"{source} cannot be mended: {error}") from error
    network = build(found.config)
    network.load_state_dict({ours: file.state[theirs].float() for theirs, ours in found.table.items()}, strict=False)
    dtype = _smallest_type(file, found)
    network_file.save(network, target, dtype=dtype, metadata=file.metadata)
    kinds = {str(file.state[key].dtype).removeprefix("torch.") for key in found.table}
    kept = str(dtype).removeprefix("torch.")
    if kinds != {kept}:
        changes.append(f"values in {kept}, no longer {' and '.join(sorted(kinds))}")
    if found.names == "upstream":
        changes.append("keys under superfine's names")
    wanted = network_file.header_of(network)
    if new := [key for key, value in wanted.items() if file.metadata.get(key) != value]:
        changes.append(f"header: {', '.join(new)}")
    return Mended(target, changes)


def _fitting(file: StateFile) -> tuple[list[str], StateFile, Recognised]:
    """Return the changes that make a file fit, the file with them, and what it is then. Raises CheckpointError."""
    changes = []
    if file.wrappers or file.prefix:
        where = " / ".join(file.wrappers)
        behind = f"{file.prefix!r} in front of every key" if file.prefix else ""
        changes.append("taken off: " + ", ".join(filter(None, [where, behind])))
    found = identify(file)
    state = dict(file.state)
    for theirs, wanted in _sure_renames(state, found).items():
        state[wanted] = state.pop(theirs)
        changes.append(f"renamed: {listing([theirs])} to {wanted}")
    if foreign := [key for key in found.unexpected if key in state]:
        for key in foreign:
            del state[key]
        changes.append(f"left out, of no network: {listing(foreign)}")
    file = StateFile(state, file.metadata, file.wrappers, file.prefix, file.kind)
    found = identify(file)
    if not found.fits:
        raise CheckpointError(found.complaint())
    return changes, file, found


def _sure_renames(state: dict[str, Tensor], found: Recognised) -> dict[str, str]:
    """Return unexpected key → missing key, where shapes agree and no two keys claim one."""
    shapes = shapes_of(found.config)
    close = likely_renames(found.unexpected, found.missing)
    fitting = {a: b for a, b in close.items() if tuple(state[a].shape) == shapes[found.table[b]]}
    claimed = list(fitting.values())
    return {a: b for a, b in fitting.items() if claimed.count(b) == 1}


def _smallest_type(file: StateFile, found: Recognised) -> torch.dtype:
    largest = max(float(file.state[key].abs().max()) for key in found.table)
    return torch.float16 if largest <= LARGEST_FLOAT16 else torch.float32
