"""From a recipe's [data] to an open pack: opened, unpacked from a portable one, or made from folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from superfine.errors import DataError
from superfine.training.data.pack import Pack, PackOptions, write_pack
from superfine.training.data.pictures import PictureSource, ZippedPicture, find_pictures
from superfine.training.data.portable import is_portable, read_portable
from superfine.training.recipe import Recipe
from superfine.training.recipe.degradation import MARGIN


@dataclass(frozen=True)
class UnpackedData:
    """The pictures a recipe trains on, before they are packed."""

    pictures: Sequence[PictureSource]
    options: PackOptions

    def key(self) -> str:
        """Hash every picture's name, size and age, and the options: the name of the pack made of them."""
        archives = {s.archive for s in self.pictures if isinstance(s, ZippedPicture)}
        files = sorted(archives) if archives else [s for s in self.pictures if isinstance(s, Path)]
        listing = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        names = [s.name for s in self.pictures]
        return hashlib.sha256(json.dumps([listing, names, self.options.__dict__]).encode()).hexdigest()[:16]


def find_data(recipe: Recipe) -> Pack | UnpackedData:
    """Find what the recipe trains on: a native pack, opened, or pictures to pack.

    Raises DataError if folders or pack are missing, hold no pictures, or do not fit the recipe.
    """
    data = recipe.data
    if data.pack and not is_portable(Path(data.pack)):
        pack = Pack(Path(data.pack))
        _check_fits(pack, recipe)
        return pack
    pictures: Sequence[PictureSource]
    if data.pack:
        pictures = [member for member in read_portable(Path(data.pack)) if member.name not in data.exclude]
    else:
        pictures = find_pictures([Path(folder) for folder in data.folders], data.exclude)
    margin = 2 * MARGIN if recipe.degradation.active else 0
    smallest = (min(stage.patch for stage in recipe.stages()) + margin) * max(recipe.network.scales)
    return UnpackedData(pictures, PackOptions(recipe.network.scales, data.extra_downscales, smallest))


def open_pack(
    recipe: Recipe,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    left_out: Callable[[str], None] | None = None,
) -> Pack:
    """Open the recipe's pack; pictures are packed into `folder` the first time, and found there afterwards.

    progress: called with (pictures done, in all) while packing, with (0, in all) before the first; left_out: called
        with a line for every unusable file.
    Raises DataError.
    """
    found = find_data(recipe)
    if isinstance(found, Pack):
        return found
    target = folder / f"{found.key()}.pack"
    if not target.exists():
        if progress:
            progress(0, len(found.pictures))
        report = write_pack(target, found.pictures, found.options, progress=progress)
        if left_out:
            for line in report.left_out:
                left_out(line)
    return Pack(target)


def _check_fits(pack: Pack, recipe: Recipe) -> None:
    """Raise DataError if a ready pack was made otherwise than the recipe's [data] says."""
    if forbidden := {picture.name.split("@")[0] for picture in pack} & set(recipe.data.exclude):
        raise DataError(f"the pack {pack.path} holds {min(forbidden)}, which data.exclude forbids: make it without")
    if recipe.data.extra_downscales and recipe.data.extra_downscales != pack.options.extra_downscales:
        raise DataError(
            f"the pack {pack.path} was made with extra downscales {list(pack.options.extra_downscales)}, "
            f"the recipe wants {list(recipe.data.extra_downscales)}: make it again, or leave the field out"
        )
