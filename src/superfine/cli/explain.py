"""`superfine explain`: explains why two results of `superfine benchmark --json` differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.errors import DataError, ModelError, SuperfineError

if TYPE_CHECKING:
    from superfine.benchmark.explain import Explained, Laboratory


def explain(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="A result of superfine benchmark --json.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Another.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="The pictures, to measure what each difference is worth. Several: repeat."),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="A weights file that is not known by name. Several: repeat.")
    ] = None,
    set: Annotated[str | None, typer.Option("--set", help="Only this set.")] = None,
    scale: Annotated[int | None, typer.Option("-s", "--scale", help="Only this scale.")] = None,
) -> None:
    """Explain why two results of a benchmark differ.

    - superfine explain paper.json standard.json --data Set5

    Compares pictures, LR, weights, engine, precision, rounding, colour, gray pictures and border. With --data, one
    result is turned into the other a factor at a time, and each step is measured.
    """
    from superfine.benchmark import load
    from superfine.benchmark.explain import Laboratory, explain

    a, b = load(first), load(second)
    _refuse_missing(data or [], weights or [])
    laboratory = Laboratory(data, weights or []) if data else None
    comparable = explain(a, b)
    chosen = [each for each in comparable if set in (None, each.first.set) and scale in (None, each.first.scale)]
    if not chosen:
        have = ", ".join(dict.fromkeys(f"{each.first.set} x{each.first.scale}" for each in comparable))
        raise DataError(f"the two results share nothing of that set and scale; they share {have}")
    complete = [_show(each, laboratory) for each in chosen]
    if a.versions != b.versions:
        typer.echo(f"Versions: {_differing(a.versions, b.versions)}")
    if a.machine != b.machine:
        typer.echo(f"Machines: {_differing(a.machine, b.machine)}")
    if laboratory is None:
        typer.echo("Give the pictures with --data to measure what each difference is worth.")
    if not all(complete):
        raise typer.Exit(1)


def _refuse_missing(folders: Sequence[Path], weights: Sequence[str]) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"no folder {folder}; give the folder of a benchmark set, or of several")
    for name in weights:
        if not Path(name).is_file():
            raise ModelError(f"no weights file {name}")


def _show(each: Explained, laboratory: Laboratory | None) -> bool:
    """Print one comparison; return False if something that was to be measured could not be."""
    one, other = each.first, each.second
    metrics = [name for name in one.figures if name in other.figures]
    typer.echo(f"{one.set} x{one.scale}: {one.model}, {one.protocol} against {other.model}, {other.protocol}")
    for name in metrics:
        typer.echo(f"  {name}: {_signed(one.figures[name], other.figures[name], name)}")
    complete = True
    if laboratory is None or not each.factors:
        for factor in each.factors:
            typer.echo(f"  differs: {factor.name}: {factor.before} → {factor.after}")
    else:
        complete = _show_steps(each, laboratory, metrics)
    if not each.factors:
        equal = all(_close(one.figures[name], other.figures[name]) for name in metrics)
        typer.echo("  nothing differs" if equal else "  nothing recorded differs; compare the versions and machines")
    elif each.same:
        typer.echo(f"  same: {', '.join(each.same)}")
    return complete


def _show_steps(each: Explained, laboratory: Laboratory, metrics: list[str]) -> bool:
    from superfine.benchmark.explain import measure_steps

    shown = 0
    last = None
    try:
        for step in measure_steps(each, laboratory, metrics):
            if not shown and (again := [n for n in metrics if not _close(step.before[n], each.first.figures[n])]):
                old = each.first.figures
                gaps = ", ".join(f"{name} {_signed(old[name], step.before[name], name)}" for name in again)
                typer.echo(f"  the first, measured again here: {gaps} (versions or machine)")
            worth = ", ".join(f"{name} {_signed(step.before[name], step.after[name], name)}" for name in metrics)
            typer.echo(f"  {step.factor.name}: {step.factor.before} → {step.factor.after}: {worth}")
            shown, last = shown + 1, step.after
    except SuperfineError as error:
        for factor in each.factors[shown:]:
            typer.echo(f"  differs, not measured: {factor.name}: {factor.before} → {factor.after}")
        typer.echo(f"  cannot measure further here: {error}")
        return False
    rest = [name for name in metrics if last and not _close(last[name], each.second.figures[name])]
    for name in rest:
        if last:
            gap = _signed(last[name], each.second.figures[name], name)
            typer.echo(f"  left over, {name}: {gap} (versions or machine)")
    return True


def _close(a: float, b: float) -> bool:
    return a == b or abs(a - b) < 5e-5


def _signed(before: float, after: float, name: str) -> str:
    digits, unit = (3, " dB") if name in ("psnr", "consistency") else (4, "")
    if math.isinf(before) or math.isinf(after):
        return f"{before:.{digits}f} → {after:.{digits}f}"
    return f"{before:.{digits}f} → {after:.{digits}f} ({after - before:+.{digits}f}{unit})"


def _differing(a: dict[str, object] | dict[str, str], b: dict[str, object] | dict[str, str]) -> str:
    keys = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
    return ", ".join(f"{key} {a.get(key, '–')} → {b.get(key, '–')}" for key in keys)
