"""Why two results differ: what was done differently, and, with the pictures at hand, what each of it is worth.

One result is turned into the other a factor at a time; each step is measured, so that the steps add up
to the whole difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.benchmark import sets
from superfine.benchmark.methods import INTERPOLATIONS, open_method
from superfine.benchmark.result import Result, Row, SetRecord
from superfine.benchmark.run import figures_of
from superfine.errors import DataError, ModelError
from superfine.images.resize import downscale
from superfine.quality.protocols import Protocol

_PROTOCOL_FACTORS = {
    "rounding": "rounding of SR to 8 bits",
    "colour": "colour",
    "y_rounding": "rounding of luma",
    "gray": "gray pictures",
    "crop": "border, in multiples of the scale",
}


@dataclass(frozen=True)
class Picture:
    """What a result says one figure was measured on."""

    name: str
    hr: str  # pixel hash
    lr: str
    gray: bool


@dataclass(frozen=True)
class Setup:
    """Everything one figure depends on: change a field, and the figure may change."""

    set: str
    scale: int
    pictures: tuple[Picture, ...]
    lr_origin: str  # "file" or "made"
    model: str
    weights: str  # SHA-256; empty for interpolation
    engine: str
    precision: str
    protocol: Protocol


@dataclass(frozen=True)
class Factor:
    """One difference: what it is called, how it was in the first result and how it is in the second."""

    name: str
    before: str
    after: str
    change: Setup = field(repr=False, compare=False)  # the first setup with this and all earlier factors changed


@dataclass(frozen=True)
class Step:
    """One factor, measured: the mean figures with it as before and as after."""

    factor: Factor
    before: dict[str, float]
    after: dict[str, float]


@dataclass(frozen=True)
class Explained:
    """One pair of rows."""

    first: Row
    second: Row
    same: list[str]  # what was checked and does not differ
    factors: list[Factor]
    start: Setup


def _setup(result: Result, row: Row) -> Setup:
    try:
        protocol = Protocol(**result.protocols[row.protocol])
    except (KeyError, TypeError) as error:
        raise DataError(f"the result does not say what its protocol {row.protocol!r} is ({error})") from error
    try:
        record = _record(result, row)
        info = next(m for m in result.models if m["name"] == row.model and m["scale"] == row.scale)
        pictures = tuple(Picture(name, p["hr"], p["lr"], bool(p["gray"])) for name, p in record.pictures.items())
        weights, engine, precision = info["weights_sha256"], info["engine"], info["precision"]
    except (StopIteration, KeyError, TypeError) as error:
        what = f"{row.model} on {row.set} x{row.scale}"
        raise DataError(f"the result does not say what {what} was measured with; measure it again") from error
    return Setup(row.set, row.scale, pictures, record.lr, row.model, weights, engine, precision, protocol)


def _record(result: Result, row: Row) -> SetRecord:
    return next(record for record in result.sets if (record.name, record.scale) == (row.set, row.scale))


def pairs_of_rows(a: Result, b: Result) -> Iterator[tuple[Row, Row]]:
    """Rows to compare: same set and scale; same model and protocol, or the one of each that the other lacks."""
    for place in dict.fromkeys((row.set, row.scale) for row in a.rows):
        rows_a = [row for row in a.rows if (row.set, row.scale) == place]
        rows_b = [row for row in b.rows if (row.set, row.scale) == place]
        models = _matched([row.model for row in rows_a], [row.model for row in rows_b])
        protocols = _matched([row.protocol for row in rows_a], [row.protocol for row in rows_b])
        for row in rows_a:
            for other in rows_b:
                if models.get(row.model) == other.model and protocols.get(row.protocol) == other.protocol:
                    yield row, other


def _matched(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """Name → its counterpart: the same name; and if one name is left on each side, those two."""
    names, others = list(dict.fromkeys(first)), list(dict.fromkeys(second))
    found = {name: name for name in names if name in others}
    rest, rest_others = [n for n in names if n not in found], [n for n in others if n not in found]
    if len(rest) == len(rest_others) == 1:
        found[rest[0]] = rest_others[0]
    return found


def explain(a: Result, b: Result) -> list[Explained]:
    """What differs between two results, for every pair of rows that can be compared.

    Raises:
        DataError: results that have no set and scale in common, or no models and protocols to pair.
    """
    found = []
    for first, second in pairs_of_rows(a, b):
        start, end = _setup(a, first), _setup(b, second)
        factors, same = _factors(start, end)
        found.append(Explained(first, second, same, factors, start))
    if not found:
        have = [", ".join(sorted({f"{row.set} x{row.scale} {row.model}" for row in each.rows})) for each in (a, b)]
        raise DataError(f"the two results have nothing to compare: {have[0]} against {have[1]}")
    return found


def _factors(start: Setup, end: Setup) -> tuple[list[Factor], list[str]]:
    factors: list[Factor] = []
    same: list[str] = []
    now = start

    def differ(name: str, before: str, after: str, is_same: bool, **changes: Any) -> None:
        nonlocal now
        if is_same:
            same.append(name)
            return
        now = replace(now, **changes)
        factors.append(Factor(name, before, after, now))

    hr_a, hr_b = _hashes(start, "hr"), _hashes(end, "hr")
    lr_a, lr_b = _hashes(start, "lr"), _hashes(end, "lr")
    if hr_a != hr_b:
        about = _data_difference(hr_a, hr_b)
        differ("pictures", *about, False, pictures=end.pictures, lr_origin=end.lr_origin)
    else:
        same.append("pictures")
        texts = f"{start.lr_origin} {_short(lr_a)}", f"{end.lr_origin} {_short(lr_b)}"
        differ("LR pictures", *texts, lr_a == lr_b, pictures=end.pictures, lr_origin=end.lr_origin)
    before, after = (f"{each.model} {each.weights[:12]}".strip() for each in (start, end))
    alike = start.weights == end.weights and (bool(start.weights) or start.model == end.model)
    differ("model and weights", before, after, alike, model=end.model, weights=end.weights)
    differ("engine", start.engine or "–", end.engine or "–", start.engine == end.engine, engine=end.engine)
    precisions = start.precision or "–", end.precision or "–"
    differ("precision", *precisions, precisions[0] == precisions[1], precision=end.precision)
    for key, name in _PROTOCOL_FACTORS.items():
        before, after = getattr(start.protocol, key), getattr(end.protocol, key)
        # Rounding luma means nothing where luma is not looked at, and gray nothing where no picture is gray.
        idle = (key == "y_rounding" and end.protocol.colour == "rgb") or (
            key == "gray" and not any(picture.gray for picture in end.pictures)
        )
        protocol = replace(now.protocol, **{key: after})
        differ(name, str(before), str(after), before == after or idle, protocol=protocol)
    return factors, same


def _hashes(setup: Setup, which: str) -> dict[str, str]:
    return {picture.name: getattr(picture, which) for picture in setup.pictures}


def _short(hashes: Mapping[str, str]) -> str:
    """A few letters that stand for many hashes, so that a reader sees them differ."""
    return format(sum(int(digest[:8], 16) for digest in hashes.values()) & 0xFFFFFFFF, "08x")


def _data_difference(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[str, str]:
    changed = [name for name in first if name in second and first[name] != second[name]]
    only = [[n for n in first if n not in second], [n for n in second if n not in first]]
    texts = []
    for count, names in zip((len(first), len(second)), only, strict=True):
        extra = f", {len(names)} of them only here ({', '.join(names[:3])}{'…' if len(names) > 3 else ''})"
        texts.append(f"{count} pictures{extra if names else ''}")
    if changed:
        texts[1] += f", {len(changed)} with other pixels ({', '.join(changed[:3])}{'…' if len(changed) > 3 else ''})"
    return texts[0], texts[1]


class Pixels:
    """Pictures found by the hash of their pixels, in whatever folders are at hand.

    Args:
        folders: benchmark sets in any layout; small pictures are also made on the fly.
        scale: of the small pictures.
    """

    def __init__(self, folders: Sequence[Path], scale: int) -> None:
        self._found: dict[str, NDArray[np.uint8]] = {}
        for folder in sets.expand(folders):
            try:
                chosen = sets.find_set(folder, scale)
            except DataError:
                continue
            for pair in sets.pairs(chosen, skip_broken=True):
                for pixels in (pair.hr, pair.lr, downscale(pair.hr, scale)):
                    self._found.setdefault(sets.pixel_hash(pixels), pixels)

    def pair(self, picture: Picture) -> sets.Pair:
        """The pair a result was measured on; raises DataError if its pixels are in none of the folders."""
        for digest, what in ((picture.hr, "original"), (picture.lr, "small picture")):
            if digest not in self._found:
                raise DataError(f"the {what} of {picture.name} ({digest[:12]}…) is in none of the folders given")
        return sets.Pair(picture.name, self._found[picture.hr], self._found[picture.lr], picture.gray)


class Laboratory:
    """Measures setups again; a picture is upscaled once for all setups that only look at it differently."""

    def __init__(self, folders: Sequence[Path], weights: Sequence[str] = ()) -> None:
        self._folders, self._weights = folders, weights
        self._pixels: dict[int, Pixels] = {}
        self._made: dict[tuple[Any, ...], NDArray[Any]] = {}

    def figures(self, setup: Setup, metrics: Sequence[str]) -> dict[str, float]:
        """The mean of each metric; raises DataError, ModelError or EngineError for what is not at hand here."""
        if setup.scale not in self._pixels:
            self._pixels[setup.scale] = Pixels(self._folders, setup.scale)
        pixels = self._pixels[setup.scale]
        found = []
        key = (setup.scale, setup.model, setup.weights, setup.engine, setup.precision)
        for pair in [pixels.pair(picture) for picture in setup.pictures]:
            each = (*key, sets.pixel_hash(pair.lr))
            if each not in self._made:
                method = self._method(setup)
                self._made |= {(*key, sets.pixel_hash(p.lr)): method(p.lr) for p in map(pixels.pair, setup.pictures)}
            found.append(figures_of(self._made[each], pair, setup.scale, setup.protocol, metrics))
        return {name: float(np.mean([figures[name] for figures in found])) for name in metrics}

    def _method(self, setup: Setup) -> Any:
        if setup.model in INTERPOLATIONS and not setup.weights:
            return open_method(setup.model, setup.scale)
        for name in [*self._weights, setup.model]:
            try:
                method = open_method(name, setup.scale, setup.engine or "auto", setup.precision or "auto")
            except ModelError:
                continue
            if method.info.weights_sha256 == setup.weights:
                return method
        raise ModelError(
            f"the weights {setup.weights[:12]}… of {setup.model} are not here; name their file with --weights"
        )


def measure_steps(explained: Explained, laboratory: Laboratory, metrics: Sequence[str]) -> Iterator[Step]:
    """Each factor's worth, in order; the first step begins at the first row, the last ends at the second."""
    before = laboratory.figures(explained.start, metrics)
    for factor in explained.factors:
        after = laboratory.figures(factor.change, metrics)
        yield Step(factor, before, after)
        before = after
