"""Learn from real runs how fast this machine is, and keep it, so that a dry run predicts without computing."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from superfine.atomic import replace_file
from superfine.cores import cores
from superfine.engines import Engine
from superfine.upscaling.tiled import TiledUpscaler

_MOST = 400
"""Kinds of work that are kept; the ones that were measured longest ago go first."""
_FORM = 1
"""Number of the file's form: a file of another form is not read."""


class Rates:
    """Seconds that kinds of work take on this machine, by the number of pixels that are worked on at once.

    A kind of work is a text such as "write .png". Small pieces take longer a pixel than large ones, so each power of
    two of pixels has a rate of its own; a later measurement counts half, all earlier ones the other half.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Read what is kept. path: the file; by default `rates.json` in the user's cache folder. A missing or damaged
        file is an empty one.
        """
        self.path = user_cache_path("superfine", appauthor=False) / "rates.json" if path is None else path
        self._new: list[tuple[str, int, float]] = []
        self._rates = _read(self.path)

    def note(self, work: str, pixels: int, seconds: float) -> None:
        """Add a measurement: some work on `pixels` pixels took so long."""
        if pixels > 0 and math.isfinite(seconds) and seconds >= 0:
            self._new.append((work, pixels, seconds))
            _add(self._rates, work, pixels, seconds)

    def seconds(self, work: str, pixels: int) -> float | None:
        """Predict the seconds for some work on `pixels` pixels at once; None where it was never measured."""
        known = self._rates.get(work)
        if not known:
            return None
        size = _size_class(pixels)
        nearest = min(known, key=lambda each: (abs(int(each) - size), -int(each)))
        return known[nearest] * pixels

    def note_windows(self, tiled: TiledUpscaler, digest: str) -> None:
        """Add what the windows of a network took since the last call. digest: SHA-256 of its weights."""
        work = network_pass(tiled.engine, digest)
        for pixels, seconds in tiled.times.take():
            self.note(work, pixels, seconds)
        for pixels, seconds in tiled.times.take_first():
            usual = self.seconds(work, pixels)
            if usual is None:  # the only window so far: better than nothing, and too much by what comes once
                self.note(work, pixels, seconds)
            else:
                self.note(first_window(work), pixels, max(0.0, seconds - usual))

    def save(self) -> None:
        """Write what was added, beside what other processes wrote meanwhile. A disk that takes no file is no error."""
        if not self._new:
            return
        rates = _read(self.path)
        for work, pixels, seconds in self._new:
            _add(rates, work, pixels, seconds)
        self._new.clear()
        kept = dict(list(rates.items())[-_MOST:])
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, json.dumps({"form": _FORM, "seconds_per_pixel": kept}, indent=1).encode())


def network_pass(engine: Engine, digest: str) -> str:
    """Name the work of a network's pass: everything that decides how long a window takes.

    digest: SHA-256 of the weights.
    """
    parts = (digest[:12] or "none", engine.name, engine.precision, engine.device, f"x{engine.scale}")
    return " ".join(("pass", *parts, f"{cores()} cores"))


def first_window(work: str) -> str:
    """Name the work that a network's first window of a size needs beside its own: compiling, above all."""
    return f"first {work}"


def _size_class(pixels: int) -> int:
    return max(1, pixels).bit_length()


def _add(rates: dict[str, dict[str, float]], work: str, pixels: int, seconds: float) -> None:
    known = rates.pop(work, {})
    size, rate = str(_size_class(pixels)), seconds / pixels
    known[size] = (known[size] + rate) / 2 if size in known else rate
    rates[work] = known  # at the end: the newest


def _read(path: Path) -> dict[str, dict[str, float]]:
    """Read a file of rates; an empty table where there is none, or a damaged one."""
    try:
        found: Any = json.loads(path.read_bytes())
        if found["form"] != _FORM:
            return {}
        return {
            str(work): {str(int(size)): float(rate) for size, rate in known.items()}
            for work, known in found["seconds_per_pixel"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
