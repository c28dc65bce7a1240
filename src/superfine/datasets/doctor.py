"""Examine a data set: sizes, broken and gray pictures, pairs and how their LR was made, duplicates, overlaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from superfine.benchmark import sets
from superfine.cores import in_order
from superfine.datasets.looks import Look, how_made, look
from superfine.errors import DataError, ImageError
from superfine.images import SUFFIXES

NEAR = 0.9
"""Product of fingerprints from which two pictures count as one; of two of B100's photographs it is 0.37 at most."""
SMALL = 192
"""Pixels of a side below which no patch of 48 LR pixels at x4 fits."""
PAIRS_COMPARED = 12
"""Pairs of a scale whose LR is made anew in every known way; evenly spread over the set."""
_BLOCK = 2048


@dataclass(frozen=True)
class Twins:
    """Two pictures that are the same, or nearly."""

    one: str
    other: str
    likeness: float
    """Product of the fingerprints, up to 1; exactly 1 where all pixels are equal."""


@dataclass(frozen=True)
class Pairs:
    """The pairs of one scale."""

    scale: int
    count: int
    made: dict[str, int]
    """A way to make LR → number of pairs, of those compared."""


@dataclass
class DataReport:
    """The findings of `examine_folder`."""

    folder: Path
    layout: str
    """As in benchmark.sets; "folder" for pictures without pairs."""
    pictures: int = 0
    """Originals; LR files are not counted."""
    megapixels: float = 0.0
    bytes: int = 0
    suffixes: dict[str, int] = field(default_factory=dict)
    smallest: tuple[int, int] = (0, 0)
    median: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    """Width, height, ordered by area."""
    small: list[str] = field(default_factory=list)
    """Pictures with a side below SMALL."""
    gray: list[str] = field(default_factory=list)
    gray_as_rgb: list[str] = field(default_factory=list)
    deep: list[str] = field(default_factory=list)
    """Pictures of more than 8 bits."""
    transparent: list[str] = field(default_factory=list)
    pairs: list[Pairs] = field(default_factory=list)
    duplicates: list[Twins] = field(default_factory=list)
    near: list[Twins] = field(default_factory=list)
    overlaps: list[Twins] = field(default_factory=list)
    """Pictures that a benchmark set holds as well."""
    compared_with: int = 0
    """Pictures of benchmark sets that all were compared with."""
    faults: list[str] = field(default_factory=list)
    """Files that cannot be read, and pairs that are none, one line each."""

    @property
    def healthy(self) -> bool:
        """True without faults and overlaps."""
        return not self.faults and not self.overlaps


def examine_folder(
    folder: Path, against: Sequence[Path] = (), progress: Callable[[int, int], None] | None = None
) -> DataReport:
    """Examine a benchmark set, or a folder of training pictures with all folders inside it.

    against: folders of benchmark sets, or of several, to look for overlaps with.
    progress: called with (pictures done, pictures in all).
    Raises DataError for a folder that is missing or holds no pictures.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; give a folder of pictures")
    faults: list[str] = []
    chosen = _sets_of(folder, faults)
    paths = [case.hr for case in chosen[0].cases] if chosen else _all_pictures(folder)
    others = [path for place in against for path in _originals(place)]
    looks: list[Look] = []
    for each in in_order(look, [*paths, *others]):
        looks.append(each)
        if progress:
            progress(len(looks), len(paths) + len(others))
    own, theirs = looks[: len(paths)], looks[len(paths) :]
    report = _summary(folder, chosen[0].layout if chosen else "folder", own)
    report.faults = [*faults, *(each.broken for each in looks if each.broken), *report.faults]
    report.pairs = [_compare_pairs(each, report.faults) for each in chosen]
    same = list(_alike(own, own, folder))
    report.duplicates = [each for each in same if each.likeness == 1]
    report.near = [each for each in same if each.likeness < 1]
    report.overlaps = list(_alike(own, theirs, folder))
    report.compared_with = len(theirs)
    return report


def _sets_of(folder: Path, faults: list[str]) -> list[sets.BenchmarkSet]:
    """Return the set at each scale it has; none for pictures without pairs. Files that do not pair up are a fault."""
    chosen = []
    for scale in sets.layout_of(folder)[1]:
        try:
            chosen.append(sets.find_set(folder, scale))
        except DataError as error:
            faults.append(str(error))
    return chosen


def _all_pictures(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise DataError(f"{folder} holds no pictures; expected {', '.join(SUFFIXES)} files")
    return found


def _originals(folder: Path) -> Iterator[Path]:
    """Yield the originals of every benchmark set in a folder."""
    for place in sets.expand([folder]):
        chosen = _sets_of(place, [])
        yield from [case.hr for case in chosen[0].cases] if chosen else _all_pictures(place)


def _summary(folder: Path, layout: str, looks: Sequence[Look]) -> DataReport:
    good = sorted((each for each in looks if not each.broken), key=lambda each: each.size[0] * each.size[1])

    def names(wanted: Callable[[Look], bool]) -> list[str]:
        return sorted(_name(each.path, folder) for each in good if wanted(each))

    return DataReport(
        folder=folder,
        layout=layout,
        pictures=len(looks),
        megapixels=sum(each.size[0] * each.size[1] for each in good) / 1e6,
        bytes=sum(each.path.stat().st_size for each in looks),
        suffixes=dict(Counter(each.path.suffix.lower() for each in looks)),
        smallest=good[0].size if good else (0, 0),
        median=good[len(good) // 2].size if good else (0, 0),
        largest=good[-1].size if good else (0, 0),
        small=names(lambda each: min(each.size) < SMALL),
        gray=names(lambda each: each.gray == "gray"),
        gray_as_rgb=names(lambda each: each.gray == "gray as RGB"),
        deep=names(lambda each: each.bits > 8),
        transparent=names(lambda each: each.alpha),
    )


def _compare_pairs(chosen: sets.BenchmarkSet, faults: list[str]) -> Pairs:
    """Make the LR of some pairs anew; a pair that is none becomes a fault."""
    made: Counter[str] = Counter()
    step = max(1, len(chosen.cases) // PAIRS_COMPARED)
    for case in chosen.cases[::step][:PAIRS_COMPARED]:
        try:
            pair = sets.load(case, chosen.scale, chosen.layout)
        except (DataError, ImageError) as error:
            faults.append(str(error))
            continue
        made[how_made(pair.hr, pair.lr, chosen.scale)] += 1
    return Pairs(chosen.scale, len(chosen.cases), dict(made.most_common()))


def _alike(own: Iterable[Look], others: Iterable[Look], folder: Path) -> Iterator[Twins]:
    """Yield the pairs that are one picture; where both lists are one, each pair once."""
    one = [each for each in own if each.fingerprint is not None]
    two = one if others is own else [each for each in others if each.fingerprint is not None]
    if not one or not two:
        return
    theirs = np.stack([each.fingerprint for each in two if each.fingerprint is not None])
    for start in range(0, len(one), _BLOCK):
        block = one[start : start + _BLOCK]
        likeness = np.stack([each.fingerprint for each in block if each.fingerprint is not None]) @ theirs.T
        equal = np.array([each.digest for each in block])[:, None] == np.array([each.digest for each in two])[None]
        for i, j in np.argwhere((likeness >= NEAR) | equal):
            if two is one and j <= start + i:
                continue
            value = 1.0 if equal[i, j] else min(float(likeness[i, j]), 0.9999)
            yield Twins(_name(block[i].path, folder), _name(two[j].path, folder), value)


def _name(path: Path, folder: Path) -> str:
    """Return the path from the data set's folder, or as it is where it lies elsewhere."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
