"""Find out why two results differ: in pictures, weights, engine, precision or protocol.

`explain_steps` measures what each difference is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from superfine.benchmark.result import Result, Row, SetRecord
from superfine.errors import DataError
from superfine.quality.protocols import Protocol

_PROTOCOL_FACTORS = {
    "rounding": "rounding of SR to 8 bits",
    "colour": "colour",
    "y_rounding": "rounding of luma",
    "gray": "gray pictures",
    "crop": "border, in multiples of the scale",
}


@dataclass(frozen=True)
class MeasuredPicture:
    """A picture that a figure was measured on, as the result names it."""

    name: str
    hr: str  # pixel hash
    lr: str
    gray: bool


@dataclass(frozen=True)
class Setup:
    """Everything that one figure depends on: change a field, and the figure may change."""

    set: str
    scale: int
    pictures: tuple[MeasuredPicture, ...]
    lr_origin: str  # "file" or "made"
    degraded: str  # what degraded the LR pictures: "jpeg:40"
    model: str
    weights: str  # SHA-256; empty for interpolation
    engine: str
    precision: str
    protocol: Protocol


@dataclass(frozen=True)
class Factor:
    """One difference: its name, and how it is in the first result and in the second."""

    name: str
    before: str
    after: str
    change: Setup = field(repr=False, compare=False)  # the first setup with this and all earlier factors changed


@dataclass(frozen=True)
class Explained:
    """The differences between one row of the first result and its counterpart in the second."""

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
        pictures = tuple(
            MeasuredPicture(name, p["hr"], p["lr"], bool(p["gray"])) for name, p in record.pictures.items()
        )
        weights, engine, precision = info["weights_sha256"], info["engine"], info["precision"]
    except (StopIteration, KeyError, TypeError) as error:
        what = f"{row.model} on {row.set} x{row.scale}"
        raise DataError(f"the result does not say what {what} was measured with; measure it again") from error
    origin = record.lr, record.degraded
    return Setup(row.set, row.scale, pictures, *origin, row.model, weights, engine, precision, protocol)


def _record(result: Result, row: Row) -> SetRecord:
    return next(record for record in result.sets if (record.name, record.scale) == (row.set, row.scale))


def pairs_of_rows(a: Result, b: Result) -> Iterator[tuple[Row, Row]]:
    """Pair rows of one set (degraded or not) and scale: of one model and protocol, or of the only ones unpaired."""
    places_a, places_b = _places(a), _places(b)
    for place in dict.fromkeys(places_a):
        rows_a = [row for row, where in zip(a.rows, places_a, strict=True) if where == place]
        rows_b = [row for row, where in zip(b.rows, places_b, strict=True) if where == place]
        models = _matched([row.model for row in rows_a], [row.model for row in rows_b])
        protocols = _matched([row.protocol for row in rows_a], [row.protocol for row in rows_b])
        for row in rows_a:
            for other in rows_b:
                if models.get(row.model) == other.model and protocols.get(row.protocol) == other.protocol:
                    yield row, other


def _places(result: Result) -> list[tuple[str, int]]:
    """Name the set and scale of each row, the set without what degraded it."""
    clean = {each.name: each.name.removesuffix(f" {each.degraded}") for each in result.sets if each.degraded}
    return [(clean.get(row.set, row.set), row.scale) for row in result.rows]


def _matched(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """Map each name to its counterpart: the same name; and if one name is left on each side, those two."""
    names, others = list(dict.fromkeys(first)), list(dict.fromkeys(second))
    found = {name: name for name in names if name in others}
    rest, rest_others = [n for n in names if n not in found], [n for n in others if n not in found]
    if len(rest) == len(rest_others) == 1:
        found[rest[0]] = rest_others[0]
    return found


def explain(a: Result, b: Result) -> list[Explained]:
    """List what differs between two results, for every pair of rows that can be compared.

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
        data: dict[str, Any] = {"pictures": end.pictures, "lr_origin": end.lr_origin, "degraded": end.degraded}
        differ("pictures", *about, False, **data)
    elif start.degraded != end.degraded:
        same.append("pictures")
        texts = start.degraded or "none", end.degraded or "none"
        differ("degradation of LR", *texts, False, pictures=end.pictures, degraded=end.degraded)
    else:
        same.append("pictures")
        texts = f"{start.lr_origin} {_fingerprint(lr_a)}", f"{end.lr_origin} {_fingerprint(lr_b)}"
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


def _fingerprint(hashes: Mapping[str, str]) -> str:
    """Write a few letters that stand for many hashes, so that a reader sees them differ."""
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
