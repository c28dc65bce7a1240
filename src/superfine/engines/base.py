"""The protocol every engine keeps.

An engine runs one network at one scale on one window of pixels. It knows nothing of files, tiles
or pictures.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Window = NDArray[Any]
"""What `run` or what `run_uint8` takes, or its result."""


@runtime_checkable
class Engine(Protocol):
    """One network at one scale, ready to run.

    `halo` is how many LR pixels of context a window needs on each side that is not a border of the
    picture, for the rest of it to come out exactly as it would from the whole picture. `window` is how
    many LR pixels the largest window has that the engine runs well, within the memory it plans for.
    """

    name: str
    precision: str
    device: str
    scale: int
    halo: int
    window: int
    pixel_bytes: int
    """Working memory a window takes for each of its LR pixels, about."""
    grid: int
    """Windows begin at multiples of so many LR pixels; `halo` is a multiple of it."""

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32, RGB 0..1, (1, 3, h, w) → (1, 3, h·scale, w·scale), about 0..1, not clamped."""
        ...

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """HWC uint8 RGB 0..255, (h, w, 3) → (h·scale, w·scale, 3), clamped and rounded half to even.

        The same numbers as `run` of `widen(tile)`; an engine may fuse the conversions into its graph.
        """
        ...

    def limit(self, window: int) -> None:
        """Plan for windows of at most so many LR pixels from now on; the memory of larger ones is given back."""
        ...

    def release(self) -> None:
        """Give back the working memory; the engine stays usable and takes it again when it runs."""
        ...


@runtime_checkable
class AheadEngine(Engine, Protocol):
    """An engine that may take several windows at once and begin the next while a result is used.

    Its memory for each pixel (`pixel_bytes`) covers the windows that are under way together.
    """

    ahead: int
    """Batches begun beside the one that is waited for; 0: none, and `run_ahead` gains nothing."""

    def run_ahead(self, windows: Iterable[Window]) -> Generator[Window]:
        """Yield the results of windows as `run` (float32) and `run_uint8` (uint8) take them, in order.

        Results of windows that ran as one batch come stacked: (n, 1, 3, h·scale, w·scale) or (n, h·scale, w·scale, 3).
        An error comes after the results of all windows before.
        """
        ...


def runs_ahead(engine: Engine) -> TypeGuard[AheadEngine]:
    """Say if an engine gains by being given windows before the last result is used."""
    return isinstance(engine, AheadEngine) and engine.ahead > 0


def run_windows(engine: Engine, windows: Iterable[Window]) -> Generator[Window]:
    """Yield the results of windows in order, stacked: (n, ...) for n that ran as one batch.

    An engine that does not run ahead takes a window when the last result has been used.
    """
    if runs_ahead(engine):
        yield from engine.run_ahead(windows)
        return
    for window in windows:
        yield (engine.run_uint8(window) if window.dtype == np.uint8 else engine.run(window))[None]


def is_out_of_memory(error: BaseException) -> bool:
    """Say if an engine failed for want of memory: Python's own error, or a RuntimeError of a runtime that says so."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(sign in text for sign in ("bad_alloc", "out of memory", "can't allocate memory", "not enough memory"))
    )


def widen(tile: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn HWC uint8 0..255 into NCHW float32 0..1, (1, 3, h, w).

    By the reciprocal, as graph compilers divide: it is within one step in the last place of the quotient.
    """
    return np.ascontiguousarray(tile.transpose(2, 0, 1)[None]) * np.float32(1 / 255)


def round_to_uint8(sr: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn NCHW float32, about 0..1, (1, 3, h, w) into HWC uint8 0..255, clamped and rounded half to even."""
    levels: NDArray[np.float32] = np.clip(sr[0].transpose(1, 2, 0), 0, 1) * np.float32(255)
    return np.rint(levels).astype(np.uint8)
