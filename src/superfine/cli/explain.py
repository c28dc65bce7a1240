"""`superfine explain`: say why two results of `superfine benchmark --json` differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from superfine.errors import DataError, ModelError


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
    from superfine.benchmark.explain import explain
    from superfine.benchmark.explain_steps import SetupMeasurer, write_explanation

    a, b = load(first), load(second)
    for folder in data or []:
        if not folder.is_dir():
            raise DataError(f"no folder {folder}; give the folder of a benchmark set, or of several")
    for name in weights or []:
        if not Path(name).is_file():
            raise ModelError(f"no weights file {name}")
    measurer = SetupMeasurer(data, weights or []) if data else None
    comparable = explain(a, b)
    chosen = [each for each in comparable if set in (None, each.first.set) and scale in (None, each.first.scale)]
    if not chosen:
        have = ", ".join(dict.fromkeys(f"{each.first.set} x{each.first.scale}" for each in comparable))
        raise DataError(f"the two results share nothing of that set and scale; they share {have}")
    complete = [write_explanation(each, measurer, typer.echo) for each in chosen]
    if a.versions != b.versions:
        typer.echo(f"Versions: {_differing(a.versions, b.versions)}")
    if a.machine != b.machine:
        typer.echo(f"Machines: {_differing(a.machine, b.machine)}")
    if measurer is None:
        typer.echo("Give the pictures with --data to measure what each difference is worth.")
    if not all(complete):
        raise typer.Exit(1)


def _differing(a: Mapping[str, object], b: Mapping[str, object]) -> str:
    keys = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
    return ", ".join(f"{key} {a.get(key, '–')} → {b.get(key, '–')}" for key in keys)
