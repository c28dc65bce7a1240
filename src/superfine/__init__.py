"""Fast, exact single-image super-resolution with CFSRCNN and ESRGCNN.

    import superfine

    superfine.upscale("photo.jpg", scale=4).save("photo-x4.png")

Public are the names in `__all__`. They are resolved on first use: importing superfine imports neither PyTorch nor
OpenVINO, and `load_network` alone needs PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from superfine.errors import (
    CheckpointError,
    DataError,
    EngineError,
    FleetError,
    ImageError,
    ModelError,
    PlanError,
    RecipeError,
    SuperfineError,
    TrainingError,
    VideoError,
)
from superfine.version import __version__

if TYPE_CHECKING:
    from superfine.images import Picture, read, write
    from superfine.upscaling import Upscaler, compare, upscale
    from superfine.weights import list_models, load_network

_MODULES = {
    "Picture": "superfine.images",
    "Upscaler": "superfine.upscaling",
    "compare": "superfine.upscaling",
    "list_models": "superfine.weights",
    "load_network": "superfine.weights",
    "read": "superfine.images",
    "upscale": "superfine.upscaling",
    "write": "superfine.images",
}

__all__ = [
    "CheckpointError",
    "DataError",
    "EngineError",
    "FleetError",
    "ImageError",
    "ModelError",
    "Picture",
    "PlanError",
    "RecipeError",
    "SuperfineError",
    "TrainingError",
    "Upscaler",
    "VideoError",
    "__version__",
    "compare",
    "list_models",
    "load_network",
    "read",
    "upscale",
    "write",
]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'superfine' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return list(__all__)
