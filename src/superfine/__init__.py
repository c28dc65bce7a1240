"""Fast, exact single-image super-resolution with CFSRCNN and ESRGCNN.

    import superfine

    superfine.upscale("photo.jpg", scale=4).save("photo-x4.png")

The names below are resolved on first use: importing superfine imports neither PyTorch nor OpenVINO.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from superfine.version import __version__

if TYPE_CHECKING:
    from superfine.upscaling import Upscaler, upscale
    from superfine.weights import load

_HOMES = {
    "Upscaler": "superfine.upscaling",
    "load": "superfine.weights",
    "upscale": "superfine.upscaling",
}

__all__ = ["Upscaler", "__version__", "load", "upscale"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'superfine' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
