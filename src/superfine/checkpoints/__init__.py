"""Weights of any origin → one of our networks, and back into one safetensors file.

`load` and `save` need PyTorch and are imported on first use: `header`, which reads our own files' headers, does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superfine.checkpoints.files import halo, load, save

__all__ = ["DTYPES", "halo", "load", "save"]

DTYPES = {"fp16": "float16", "fp32": "float32"}
"""How weights may be stored: what a user says → PyTorch's name."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from superfine.checkpoints import files

    return getattr(files, name)
