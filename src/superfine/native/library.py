"""The library that was compiled when superfine was installed: opened, its functions typed; none without a compiler."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any


class MapSpec(Structure):
    """One layer's maps, as network.cpp reads them."""

    _fields_ = (("channels", c_int32), ("scale", c_int32))


class LayerSpec(Structure):
    """One layer, as network.cpp reads it."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "outputs", "relu_from", "step")),
        *((name, c_int32 * 2) for name in ("maps", "offset", "inputs")),
        *((name, c_int32) for name in ("plus", "after", "sum_with", "sum", "out", "shift")),
        ("weights", c_void_p),
        ("scales", c_void_p),
        ("bias", c_void_p),
    )


_INTERFACE = 2
"""The answer of `native_interface` in a library that takes what this file hands it."""

_TENSOR = (c_void_p, c_int64)  # where it begins, floats between two pixels

_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "native_interface": (c_int, ()),
    "native_instructions": (c_char_p, (c_int,)),
    "native_matrix_units": (c_int, ()),
    "native_panel": (c_int, (c_int,)),
    "native_network": (
        c_void_p, (POINTER(MapSpec), c_int, POINTER(LayerSpec), c_int, POINTER(c_float), *[c_int] * 3)
    ),
    "native_column_bytes": (c_int64, (c_void_p,)),
    "native_run": (c_int, (c_void_p, c_void_p, c_void_p, *[c_int] * 6, c_int64)),
    "native_release": (None, (c_void_p,)),
    "native_free": (None, (c_void_p,)),
    "winograd_kernels": (None, (c_void_p, c_int, c_int, c_void_p, c_int)),
    "winograd_conv": (
        c_int,
        (*[c_int] * 3, *_TENSOR, c_int, c_void_p, c_int, c_void_p, *_TENSOR, *_TENSOR, c_int, *_TENSOR, c_int),
    ),
    "winograd_to_kernels": (c_int, (*[c_int] * 3, *_TENSOR, c_int, *_TENSOR, c_int, c_void_p, c_int)),
}  # fmt: skip


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where they were not compiled, do not load, or are another version's."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_native{suffix}")
        if path.is_file():
            try:
                found = ctypes.CDLL(str(path))
                for name, (result, arguments) in _SIGNATURES.items():
                    function = getattr(found, name)
                    function.restype, function.argtypes = result, arguments
            except (OSError, AttributeError):
                continue
            if found.native_interface() == _INTERFACE:
                return found
    return None


def instructions(int16: bool = False) -> str | None:
    """ "AVX2", "AVX-512" or "NEON", for float32 or for 16-bit integers; None where there are no kernels to run."""
    found = library()
    name = None if found is None else found.native_instructions(int16)
    return None if name is None else str(name.decode())


def fast_int16() -> bool:
    """Say if this CPU multiplies 16-bit numbers faster than float32; AVX-512 does from Ice Lake and Zen 4 on (VNNI)."""
    return instructions() is not None and instructions() == instructions(int16=True)


def absence() -> str:
    """Say why there are no kernels to run; an empty text where there are."""
    if library() is None:
        return "superfine's own kernels were not compiled when it was installed"
    return "" if instructions() else "superfine's own kernels need AVX2, AVX-512 or NEON, which this CPU lacks"


def matrix_units() -> bool:
    """Say if this CPU multiplies matrices of bfloat16 (AMX)."""
    found = library()
    return found is not None and bool(found.native_matrix_units())
