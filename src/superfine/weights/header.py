"""The header of a safetensors file, read without PyTorch: eight bytes of length, JSON, then the values.

Format: https://huggingface.co/docs/safetensors (little-endian; offsets count from the end of the JSON).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from superfine.errors import CheckpointError

DTYPES = {"fp16": "float16", "fp32": "float32"}
"""Types that weights may be stored in: the user's word → PyTorch's name."""

FORMAT = "superfine-1"
"""The word that our own headers have under "format"."""

_MOST_HEADER = 100_000_000
"""Longest header believed, in bytes: the limit of the safetensors library itself."""


class UnknownNetworkError(CheckpointError):
    """A weights file is sound, but holds neither of our networks."""


def first_bytes(path: Path) -> bytes:
    """Read the first 16 bytes of a file of weights. Raises CheckpointError if it is missing, a folder or empty."""
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder: name a weights file in it")
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if not start:
        raise CheckpointError(f"{path} is empty (0 bytes): copy or download it again")
    return start


def looks_like_safetensors(start: bytes) -> bool:
    """Say if a file's first 16 bytes are a safetensors header: eight bytes of length, then JSON."""
    return len(start) > 8 and start[8:9] == b"{"


@dataclass(frozen=True)
class StoredTensor:
    """The place of one tensor in its file."""

    dtype: str
    """The format's name of the type: "F16", "F32", ..."""
    shape: tuple[int, ...]
    offset: int
    """First byte, counted from the start of the file."""
    length: int
    """Bytes."""


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file."""

    metadata: dict[str, str]
    tensors: dict[str, StoredTensor]

    @property
    def is_ours(self) -> bool:
        return self.metadata.get("format", "").startswith("superfine-")

    def layout(self) -> str:
        """Hash (SHA-256) the place of every tensor: an ONNX graph for one layout reads wrong numbers from another."""
        rows = sorted((key, t.dtype, t.shape, t.offset, t.length) for key, t in self.tensors.items())
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def read_header(path: Path) -> Header:
    """Read the header of a safetensors file.

    Raises CheckpointError if there is no such file, or it is not safetensors, or is cut short.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            text = file.read(length) if len(start) == 8 and length <= _MOST_HEADER else b""
            size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if not start:
        raise CheckpointError(f"{path} is empty (0 bytes): copy or download it again")
    if not text.startswith(b"{"):
        raise CheckpointError(f"{path} is not a safetensors file (it begins {start!r})")
    if len(text) < length:
        raise CheckpointError(f"{path} is cut short inside its header: copy or download it again")
    try:
        fields = json.loads(text)
        metadata = {str(key): str(value) for key, value in fields.pop("__metadata__", {}).items()}
        tensors = {key: _tensor(value, 8 + length) for key, value in fields.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged safetensors header: copy or download it again") from error
    end = max((t.offset + t.length for t in tensors.values()), default=8 + length)
    if size != end:
        found = "cut short" if size < end else "too long"
        raise CheckpointError(f"{path} is {found}: {size:,} bytes, its header says {end:,}; copy or download it again")
    return Header(metadata, tensors)


def _tensor(fields: dict[str, object], start: int) -> StoredTensor:
    shape, offsets = fields["shape"], fields["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list):
        raise TypeError("shape and data_offsets are lists")
    begin, end = (int(value) for value in offsets)
    return StoredTensor(str(fields["dtype"]), tuple(int(value) for value in shape), start + begin, end - begin)
