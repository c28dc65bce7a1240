"""Run a benchmark: every set, scale and method, each picture enlarged once and measured under every protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.benchmark import sets
from superfine.benchmark.degrade import Degradation, degrade_pair, name_of
from superfine.benchmark.methods import Method, open_method, run_timed
from superfine.benchmark.result import PictureFigures, Result, Row, SetRecord, machine, now, versions
from superfine.errors import DataError
from superfine.quality.perceptual import DISTANCES, open_distance
from superfine.quality.protocols import METRICS, Protocol, consistency, measure, protocol_named

_KNOWN = (*METRICS, *DISTANCES, "consistency")

OnPicture = Callable[[int, int, str], None]
"""Called after each picture with (pictures done, pictures in all, what is being measured)."""


@dataclass
class Request:
    """The sets, scales, models, protocols and metrics to measure."""

    folders: Sequence[Path]
    models: Sequence[str]
    scales: Sequence[int]
    protocols: Sequence[str] = ("standard",)
    metrics: Sequence[str] = ("psnr", "ssim")  # keys of METRICS, DISTANCES, or "consistency"
    engine: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    tile: int | None = None
    degradations: Sequence[Degradation] = ()  # applied to every LR picture, in order
    skip_broken: bool = False  # measure without a picture that cannot be used, and say so
    keep: Callable[[str, int, sets.Pair, dict[str, NDArray[Any]]], None] | None = field(default=None, repr=False)
    """Called with (set, scale, pair, model → super-resolved picture), for whoever wants the pixels."""


def run(request: Request, on_picture: OnPicture | None = None) -> Result:
    """Measure every set at every scale with every model under every protocol.

    Raises:
        DataError: a set, scale or picture that cannot be used; an unknown protocol or metric, or one not installed.
        ModelError, CheckpointError, EngineError: a model that cannot be opened.
    """
    protocols = [protocol_named(name) for name in request.protocols]
    _open_metrics(request.metrics)
    chosen = [sets.find_set(folder, scale) for folder in sets.expand(request.folders) for scale in request.scales]
    _refuse_same_names(chosen)
    total = sum(len(each.cases) for each in chosen) * len(request.models)
    rows: list[Row] = []
    records: list[SetRecord] = []
    done = 0

    def tick(what: str) -> None:
        nonlocal done
        done += 1
        if on_picture:
            on_picture(done, total, what)

    opened = {scale: _open_methods(request, scale) for scale in dict.fromkeys(request.scales)}
    for each in chosen:
        set_rows, record = _measure_set(each, opened[each.scale], protocols, request, tick)
        # Three scales with a few compiled sizes each would hold gigabytes.
        for method in opened[each.scale]:
            method.release()
        rows += set_rows
        records.append(record)
    return Result(
        rows=rows,
        sets=records,
        models=[{**asdict(each.info), "scale": scale} for scale, methods in opened.items() for each in methods],
        protocols={protocol.name: asdict(protocol) for protocol in protocols},
        versions=versions("torchmetrics", "torchvision") if set(request.metrics) & set(DISTANCES) else versions(),
        machine=machine(),
        created=now(),
    )


def _open_methods(request: Request, scale: int) -> list[Method]:
    """Open the methods asked for, each under its own name: two files of one stem are named by their paths."""
    how = request.engine, request.precision, request.tile, request.device
    methods = [open_method(name, scale, *how) for name in request.models]
    names = [method.info.name for method in methods]
    for given, method in zip(request.models, methods, strict=True):
        if names.count(method.info.name) > 1:
            method.info = replace(method.info, name=given)
    return methods


def _refuse_same_names(chosen: Iterable[sets.BenchmarkSet]) -> None:
    seen: dict[tuple[str, int], Path] = {}
    for each in chosen:
        other = seen.setdefault((each.name, each.scale), each.folder)
        if other is not each.folder:
            raise DataError(f"{other} and {each.folder} are both called {each.name}; measure them in two runs")


def _measure_set(
    chosen: sets.BenchmarkSet,
    methods: Sequence[Method],
    protocols: Sequence[Protocol],
    request: Request,
    tick: Callable[[str], None],
) -> tuple[list[Row], SetRecord]:
    degraded = name_of(request.degradations)
    # A set with degraded LR pictures is another set: its figures must never stand in for those of the clean one.
    set_name = f"{chosen.name} {degraded}".strip()
    figures: dict[tuple[str, str], list[PictureFigures]] = {
        (m.info.name, p.name): [] for m in methods for p in protocols
    }
    seconds = dict.fromkeys((m.info.name for m in methods), 0.0)
    left_out: list[str] = []
    facts: dict[str, dict[str, Any]] = {}
    for clean in sets.pairs(chosen, skip_broken=request.skip_broken, left_out=left_out):
        pair = degrade_pair(clean, request.degradations)
        facts[pair.name] = {
            "hr": sets.pixel_hash(pair.hr),
            "lr": sets.pixel_hash(pair.lr),
            "gray": pair.gray,
            "size": [pair.hr.shape[1], pair.hr.shape[0]],
        }
        enlarged: dict[str, NDArray[Any]] = {}
        for method in methods:
            sr, spent = run_timed(method, pair.lr)
            seconds[method.info.name] += spent
            for protocol in protocols:
                values = figures_of(sr, pair, chosen.scale, protocol, request.metrics)
                figures[method.info.name, protocol.name].append(PictureFigures(pair.name, values))
            if request.keep:
                enlarged[method.info.name] = sr
            tick(f"{set_name} x{chosen.scale} {method.info.name}")
        if request.keep:
            request.keep(set_name, chosen.scale, pair, enlarged)
    if not facts:
        raise DataError(f"no picture of {chosen.name} x{chosen.scale} could be used: {left_out[0]}")
    rows = [
        Row(set_name, chosen.scale, model, protocol, _means(pictures), pictures, seconds[model])
        for (model, protocol), pictures in figures.items()
    ]
    listing = "".join(f"{name} {fact['hr']} {fact['lr']}\n" for name, fact in facts.items())
    origin = "file" if all(case.lr for case in chosen.cases) else "made"
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return rows, SetRecord(set_name, chosen.scale, chosen.layout, origin, digest, facts, left_out, degraded)


def figures_of(
    sr: NDArray[Any], pair: sets.Pair, scale: int, protocol: Protocol, names: Sequence[str]
) -> dict[str, float]:
    """Measure one picture by the metrics `names`; raise DataError, which names the picture, where one cannot be had."""
    hr = pair.hr
    if pair.gray and protocol.gray == "as-gray":
        # The network made three channels of a gray picture; they differ by its errors only.
        hr, sr = hr[..., :1], _as_gray(sr)
    try:
        values = measure(sr, hr, scale, protocol, [name for name in names if name != "consistency"])
        if "consistency" in names:
            lr = pair.lr if sr.shape[-1] == 3 else pair.lr[..., :1]
            values["consistency"] = consistency(sr, lr, scale, protocol)
    except DataError as error:
        raise DataError(f"{pair.name}: {error}") from error
    return {name: values[name] for name in names}


def _as_gray(sr: NDArray[Any]) -> NDArray[Any]:
    mean = sr.mean(axis=2, keepdims=True)
    return np.asarray(np.rint(mean).astype(np.uint8) if sr.dtype == np.uint8 else mean.astype(np.float32))


def _open_metrics(names: Sequence[str]) -> None:
    """Refuse unknown metrics and load the networks of those that have one, before the hour of measuring."""
    for name in names:
        if name not in _KNOWN:
            raise DataError(f"unknown metric {name!r}; choose from {', '.join(_KNOWN)}")
    for name in names:
        if name in DISTANCES:
            open_distance(name)


def _means(pictures: Sequence[PictureFigures]) -> dict[str, float]:
    return {name: float(np.mean([each.figures[name] for each in pictures])) for name in pictures[0].figures}
