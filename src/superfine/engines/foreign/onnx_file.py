"""Check that a file is a whole ONNX model, by the outermost fields of its protobuf message; needs no onnx.

OpenVINO tries all its readers on a file that is none, and one of them writes lines of its own onto the terminal.
"""

from __future__ import annotations

from pathlib import Path

from superfine.errors import CheckpointError
from superfine.weights.header import first_bytes

_GRAPH = 7
"""Field of a ModelProto that holds the graph (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)."""

_FIELDS = {1, 2, 3, 4, 5, 6, _GRAPH, 8, 14, 20, 25, 26}


def check_onnx(path: Path) -> None:
    """Raise CheckpointError unless the file is an ONNX model, and whole."""
    first_bytes(path)  # complains of one that is missing, a folder or empty
    size, place, fields = path.stat().st_size, 0, set()
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            head = file.read(20)
            field, at = _varint(head, 0)
            value, after = _varint(head, at)
            kind, number = field & 7, field >> 3
            if number not in _FIELDS or kind not in (0, 2) or (number == _GRAPH and kind != 2):
                raise CheckpointError(f"{path} is no ONNX model (it begins {head[:8]!r}): export it again")
            fields.add(number)
            place += after + (value if kind == 2 else 0)
    if place > size:
        raise CheckpointError(
            f"{path} is cut short: {size:,} bytes, its fields say {place:,}; copy or download it again"
        )
    if _GRAPH not in fields:
        raise CheckpointError(f"{path} is no ONNX model, it has no graph: export or copy it again")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; return it, and the place behind it."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at
