"""Which pictures of a run are kept for sheets and pages: those asked for, or those where methods differ most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine.errors import DataError
from superfine.quality.benchmark.pictures import Shot
from superfine.quality.benchmark.run import figures_of
from superfine.quality.benchmark.sets import Pair
from superfine.quality.protocols import Protocol, quantise


class Gallery:
    """Collects while a benchmark runs: pass `keep` to the Request.

    Args:
        protocol: how pictures are rounded and captioned.
        names: pictures to keep; empty keeps the `most` of each set and scale in which methods differ most.
        most: how many pictures to keep of each set and scale.
        folder: where to write every super-resolved picture as SET/xS/NAME_MODEL.png; None writes none.
    """

    def __init__(
        self, protocol: Protocol, names: Sequence[str] = (), most: int = 4, folder: Path | None = None
    ) -> None:
        self.protocol, self.names, self.most, self.folder = protocol, tuple(names), most, folder
        self._kept: dict[tuple[str, int], list[tuple[float, Shot]]] = {}

    def keep(self, set: str, scale: int, pair: Pair, made: dict[str, NDArray[Any]]) -> None:
        """Take in one picture and what every method made of it."""
        pictures = {name: quantise(sr, self.protocol) for name, sr in made.items()}
        if self.folder is not None:
            _write(self.folder / set / f"x{scale}", pair.name, pictures)
        if self.names and pair.name not in self.names:
            return
        names = ("psnr", "ssim")
        figures = {name: figures_of(sr, pair, scale, self.protocol, names) for name, sr in pictures.items()}
        captions = {name: f"{each['psnr']:.2f} / {each['ssim']:.4f}" for name, each in figures.items()}
        levels = [min(each["psnr"], 100.0) for each in figures.values()]
        hr = np.ascontiguousarray(pair.hr)
        kept = self._kept.setdefault((set, scale), [])
        kept.append((max(levels) - min(levels), Shot(set, scale, pair.name, hr, pictures, captions)))
        kept.sort(key=lambda each: -each[0])
        if not self.names:
            del kept[self.most :]

    def shots(self) -> list[Shot]:
        """The pictures kept, set by set; raises DataError for a picture asked for that no set holds."""
        shots = [shot for kept in self._kept.values() for _, shot in kept]
        if missing := [name for name in self.names if name not in {shot.name for shot in shots}]:
            raise DataError(f"no measured set holds a picture called {missing[0]}")
        return shots


def _write(folder: Path, name: str, pictures: dict[str, NDArray[np.uint8]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for model, picture in pictures.items():
            Image.fromarray(picture).save(folder / f"{name}_{Path(model).stem}.png")
    except OSError as error:
        raise DataError(f"cannot write into {folder}: {error.strerror or error}; choose another folder") from error
