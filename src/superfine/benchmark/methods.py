"""Open what can be measured: a network at one scale, or plain interpolation to compare it with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from superfine.atomic import sha256_of
from superfine.engines import Engine, find_model, open_engine
from superfine.images.resize import resize
from superfine.upscaling import TiledUpscaler
from superfine.weights import Model

INTERPOLATIONS = ("bicubic", "lanczos", "nearest")


@dataclass(frozen=True)
class MethodInfo:
    """The facts about a method that a result records; the last fields are empty for interpolation."""

    name: str
    kind: str  # "network" or "interpolation"
    network: str = ""  # "esrgcnn", "cfsrcnn"
    weights_sha256: str = ""
    engine: str = ""
    precision: str = ""
    device: str = ""


class Method(Protocol):
    """A way to enlarge small pictures at one scale."""

    info: MethodInfo

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[Any]:
        """Enlarge (h, w, 3) uint8 RGB to (h·scale, w·scale, 3): uint8, or float32 on 0..1, not clamped."""
        ...

    def release(self) -> None:
        """Free working memory; the method stays usable."""
        ...


@dataclass
class Interpolation:
    """MATLAB's `imresize` with one of its kernels; its results are whole levels, as in MATLAB."""

    kernel: str
    scale: int
    info: MethodInfo = field(init=False)

    def __post_init__(self) -> None:
        self.info = MethodInfo(self.kernel, "interpolation")

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[Any]:
        return resize(lr, (lr.shape[0] * self.scale, lr.shape[1] * self.scale), self.kernel)

    def release(self) -> None:
        """Do nothing: interpolation keeps no memory."""


class NetworkMethod:
    """A network run in tiles, exactly as users get it, except that its output is not rounded yet."""

    def __init__(self, model: Model, engine: Engine, tile: int | None = None) -> None:
        self._tiled = TiledUpscaler(engine, tile)
        digest = sha256_of(model.weights)
        about = engine.name, engine.precision, engine.device
        self.info = MethodInfo(model.name, "network", model.network, digest, *about)

    def __call__(self, lr: NDArray[np.uint8]) -> NDArray[Any]:
        return self._tiled.upscale_float(lr)

    def release(self) -> None:
        """Drop what the engine compiled for the sizes of pictures it met."""
        self._tiled.engine.release()


def open_method(
    name: str,
    scale: int,
    engine: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    device: str = "auto",
) -> Method:
    """Open the method called `name`: one of INTERPOLATIONS, a shipped model, or a weights file.

    Raises:
        ModelError, CheckpointError, EngineError: as `weights.find` and `engines.open_engine` do.
    """
    if name in INTERPOLATIONS:
        return Interpolation(name, scale)
    model = find_model(name)
    return NetworkMethod(model, open_engine(model, scale, engine, precision, device), tile)


def run_timed(method: Method, lr: NDArray[np.uint8]) -> tuple[NDArray[Any], float]:
    """Enlarge one picture; return the result and the wall-clock seconds it took."""
    start = time.perf_counter()
    sr = method(lr)
    return sr, time.perf_counter() - start
