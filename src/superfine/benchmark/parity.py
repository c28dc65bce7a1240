"""Compare every engine and precision of this machine with one reference, on fixed pictures: the parity card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.atomic import sha256_of
from superfine.benchmark.result import machine, now, versions
from superfine.benchmark.sets import read_rgb
from superfine.errors import EngineError
from superfine.images.resize import downscale
from superfine.quality.metrics import psnr

SIDE = 96
"""LR pixels a side of the drawn pictures."""
PHOTOGRAPH = "photograph"
SAME = 0.25
"""Levels of 255 by which an fp32 engine may differ from the reference. Orders of summation differ by hundredths."""

Pictures = dict[str, NDArray[np.uint8]]
"""Name → HWC uint8 RGB."""


@dataclass(frozen=True)
class Row:
    """One engine at one precision, compared with the reference."""

    engine: str
    precision: str
    device: str
    largest: float
    """Largest difference of a value before rounding, in levels of 255."""
    worst: str
    """The picture it is in."""
    changed: float
    """Share of the values, rounded to 8 bits, that differ at all; 0..1."""
    psnr: dict[str, float]
    """Picture → dB against the reference, before rounding; infinite where all values are equal."""
    seconds: float
    """Median for the photograph, uint8 to uint8, after a warm-up."""
    memory: int
    """Largest memory of its process, bytes: interpreter, libraries and weights with it."""


@dataclass(frozen=True)
class Card:
    """All comparisons of one model at one scale."""

    model: str
    weights_sha256: str
    scale: int
    reference: str
    """ "pytorch fp32" or "openvino fp32"."""
    pictures: dict[str, str]
    """Name → width x height, LR."""
    rows: tuple[Row, ...]
    missing: dict[str, str]
    """ "engine precision" → why it does not run here, one line."""

    @property
    def strayed(self) -> list[Row]:
        """The fp32 rows that are further from the reference than rounding explains."""
        return [row for row in self.rows if row.precision == "fp32" and not row.largest <= SAME]


def fixed_pictures(photograph: Path) -> Pictures:
    """Return the pictures that every card is made with: four that formulas draw, and a third of a photograph."""
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = ((x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2) / SIDE
    rings = np.stack([np.cos(np.pi * distance * f) for f in (1.0, 0.8, 0.6)], axis=-1)
    ramps = np.stack([x * 255 / (SIDE - 1), y * 255 / (SIDE - 1), (x + y) % 64 * 4], axis=-1)
    board = np.repeat((((x // 3 + y // 5) % 2) * 255)[..., None], 3, axis=-1)
    drawn = {
        "rings": 127.5 + 127.5 * rings,
        "ramps": ramps,
        "board": board,
        "noise": np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)),
    }
    pixels, _ = read_rgb(photograph)
    return {name: np.rint(each).astype(np.uint8) for name, each in drawn.items()} | {PHOTOGRAPH: downscale(pixels, 3)}


def compare_engines(
    model: str,
    scale: int,
    choices: Sequence[tuple[str, str]],
    photograph: Path,
    *,
    repeat: int = 3,
    progress: Callable[[float, str], None] | None = None,
) -> Card:
    """Run every (engine, precision) in a process of its own, and compare it with the reference.

    The reference is PyTorch in fp32, or OpenVINO in fp32 where PyTorch is not installed. progress: called with the
    share that is done and what runs next. Raises ModelError for an unknown model or scale, EngineError if the
    reference fails.
    """
    from superfine.engines import open_engine
    from superfine.weights import find

    open_engine(find(model), scale, "openvino", "fp32")  # an unknown model or scale is refused before anything runs
    reference = ("pytorch" if find_spec("torch") is not None else "openvino", "fp32")
    pictures = fixed_pictures(photograph)
    rows: list[Row] = []
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wanted: dict[str, NDArray[np.float32]] = {}
        order = [reference, *(each for each in choices if each != reference)]
        for done, choice in enumerate(order):
            if progress:
                progress(done / len(order), f"{model} in {' '.join(choice)}")
            facts = _run_apart(model, scale, choice, pictures, repeat, place)
            if "refused" in facts:
                if choice == reference:
                    raise EngineError(f"the reference {' '.join(choice)} does not run: {facts['refused']}")
                missing[" ".join(choice)] = str(facts["refused"])
                continue
            found = dict(np.load(place / "found.npz"))
            wanted = wanted or found
            rows.append(Row(**facts, **_difference(found, wanted)))
    return Card(
        model=model,
        weights_sha256=sha256_of(find(model).weights),
        scale=scale,
        reference=" ".join(reference),
        pictures={name: f"{each.shape[1]}x{each.shape[0]}" for name, each in pictures.items()},
        rows=tuple(rows),
        missing=missing,
    )


def _difference(found: dict[str, NDArray[np.float32]], wanted: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Compare results, name → NCHW about 0..1, not clamped; a Row's largest, worst, changed and psnr."""
    apart = {name: np.abs(found[name].astype(np.float64) - wanted[name]) * 255 for name in wanted}
    worst = max(apart, key=lambda name: float(apart[name].max()))
    changed = [_levels(found[name]) != _levels(wanted[name]) for name in wanted]
    return {
        "largest": float(apart[worst].max()),
        "worst": worst,
        "changed": float(np.concatenate([each.ravel() for each in changed]).mean()),
        "psnr": {name: _psnr(found[name], wanted[name]) for name in wanted},
    }


def _psnr(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    planes = [255 * each[0].reshape(1, -1).astype(np.float64) for each in (found, wanted)]
    return float(psnr(planes[0], planes[1]))


def _levels(sr: NDArray[np.float32]) -> NDArray[np.float32]:
    levels: NDArray[np.float32] = np.rint(np.clip(sr, 0, 1) * 255)
    return levels


def _run_apart(
    model: str, scale: int, choice: tuple[str, str], pictures: Pictures, repeat: int, folder: Path
) -> dict[str, Any]:
    """Run one engine in a process of its own; return the facts of its Row, or {"refused": reason}."""
    (folder / "facts.json").unlink(missing_ok=True)
    # Spawned: a process that begins anew holds none of this one's memory.
    process = get_context("spawn").Process(target=_work, args=(model, scale, *choice, pictures, repeat, folder))
    process.start()
    process.join()
    try:
        facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"refused": f"its process died (exit code {process.exitcode})"}
    return facts


def _work(model: str, scale: int, engine: str, precision: str, pictures: Pictures, repeat: int, folder: Path) -> None:
    """Enlarge the pictures, and leave results in found.npz and facts in facts.json."""
    from superfine.benchmark.speed import median_seconds
    from superfine.engines import open_engine
    from superfine.engines.base import widen
    from superfine.upscaling.memory import peak_memory
    from superfine.weights import find

    try:
        opened = open_engine(find(model), scale, engine, precision)
        np.savez(folder / "found.npz", **{name: opened.run(widen(each)) for name, each in pictures.items()})  # type: ignore[arg-type]
        seconds = median_seconds(lambda: opened.run_uint8(pictures[PHOTOGRAPH]), repeat)
    except Exception as error:  # an engine may fail in any way; this is where it is told
        lines = str(error).strip().splitlines() or [type(error).__name__]
        facts: dict[str, Any] = {"refused": lines[0]}
    else:
        facts = {"engine": opened.name, "precision": opened.precision, "device": opened.device}
        facts |= {"seconds": seconds, "memory": peak_memory()}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def to_json(cards: Sequence[Card]) -> str:
    """Write cards as JSON, with versions and machine; an infinite PSNR as "inf"."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return "inf" if value == np.inf else value

    about = {
        "format": "superfine-parity-1",
        "versions": versions("onnxruntime"),
        "machine": machine(),
        "created": now(),
    }
    return json.dumps({**about, "cards": [plain(asdict(card)) for card in cards]}, indent=1, allow_nan=False) + "\n"


HEADINGS = ("engine", "precision", "device", "largest", "in", "changed", "photograph", "drawn", "seconds", "memory")


def cells(card: Card) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a card's table, under HEADINGS."""
    for row in card.rows:
        compared = ("reference", "", "", "", "")
        if f"{row.engine} {row.precision}" != card.reference:
            drawn = min(value for name, value in row.psnr.items() if name != PHOTOGRAPH)
            compared = (
                f"{row.largest:.4f}" if row.largest < 0.1 else f"{row.largest:.2f}",
                row.worst if row.largest else "",
                f"{row.changed:.2%}",
                _decibels(row.psnr[PHOTOGRAPH]),
                _decibels(drawn),
            )
        yield (row.engine, row.precision, row.device, *compared, f"{row.seconds:.3f}", f"{row.memory / 2**20:.0f} MiB")


def _decibels(value: float) -> str:
    return "equal" if value == np.inf else f"{value:.1f} dB"


def not_run(card: Card) -> list[str]:
    """Return a line for each engine that does not run here, and one for each that lacks precisions."""
    able = {row.engine for row in card.rows}
    lacking: dict[str, list[str]] = {}
    for choice in card.missing:
        engine, precision = choice.split()
        lacking.setdefault(engine, []).append(precision)
    return [
        f"{engine} has no {', '.join(precisions)} here"
        if engine in able
        else f"{engine} does not run: {card.missing[f'{engine} {precisions[0]}']}"
        for engine, precisions in lacking.items()
    ]


def to_markdown(cards: Sequence[Card]) -> str:
    """Write cards as tables for the documentation."""
    facts = ", ".join(f"{key} {value}" for key, value in machine().items())
    packages = ", ".join(f"{name} {version}" for name, version in versions("onnxruntime").items())
    lines = [f"Made {now()}. {packages}. Machine: {facts}.", ""]
    for card in cards:
        lines += [f"**{card.model} x{card.scale}**, compared with {card.reference}", ""]
        lines += ["| " + " | ".join(HEADINGS) + " |", "|---|---|---|---:|---|---:|---:|---:|---:|---:|"]
        lines += ["| " + " | ".join(row) + " |" for row in cells(card)]
        lines += ["", "; ".join(not_run(card)) + "." if card.missing else "", ""]
    return "\n".join(lines).strip() + "\n"
