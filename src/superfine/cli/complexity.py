"""`superfine complexity`: what a network costs, counted and measured, beside what its paper prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli.benchmark import listed, refuse_unwritable, scale_of
from superfine.errors import DataError, EngineError

if TYPE_CHECKING:
    from rich.table import Table

    from superfine.benchmark.complexity import Cost, Timing


def complexity(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models or weights files; otherwise both networks.")
    ] = None,
    scale: Annotated[
        list[str] | None, typer.Option("-s", "--scale", metavar="N", help="2, 3 or 4. Several: 2,3,4 or repeat.")
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="The HR picture multiply-adds are counted for.")
    ] = "1280x720",
    time: Annotated[bool, typer.Option(help="Also measure run time and memory.")] = True,
    side: Annotated[
        list[str] | None, typer.Option(metavar="PIXELS", help="HR sides to time; otherwise the papers', 256,512,1024.")
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="openvino, onnxruntime, pytorch. Several: a,b or repeat.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="auto, fp32, bf16, fp16, int8. Several: a,b or repeat.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs a timing is the median of, after one to warm up.")] = 5,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write everything as JSON.")] = None,
) -> None:
    """Count a network's parameters and operations.

    - superfine complexity esrgcnn cfsrcnn -s 2,3,4
    - superfine complexity esrgcnn --engine openvino,pytorch --precision fp32,bf16

    An engine that cannot do one of the precisions is left out there, and named.
    """
    from superfine.benchmark import save
    from superfine.benchmark.complexity import against_papers, count, record
    from superfine.weights import find

    refuse_unwritable([as_json])
    width, height = _size(size)
    names, scales = listed(models, "esrgcnn,cfsrcnn"), [scale_of(text) for text in listed(scale, "2")]
    sides = [_side(text) for text in listed(side, "256,512,1024")]
    ways = _ways(listed(engine, "openvino"), listed(precision, "auto"))
    costs = [count(find(name), s, -(-height // s), -(-width // s)) for name in names for s in scales]
    _show_costs(costs, f"{width}x{height}")
    for cost in costs:
        for line in against_papers(cost):
            typer.echo(line)
    timings, missing = _time([(name, s, *way) for name in names for s in scales for way in ways if time], sides, runs)
    if timings:
        _show_timings(timings, sides)
    for line in missing:
        typer.echo(f"not measured: {line}")
    if as_json is not None:
        save(json.dumps(record(costs, timings), indent=1) + "\n", as_json)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise DataError(f"no size {text!r}; write WIDTHxHEIGHT in pixels, as in 1280x720")
    return int(width), int(height)


def _side(text: str) -> int:
    if not text.isdigit() or not 16 <= int(text) <= 8192:
        raise DataError(f"no side {text!r}; give pixels from 16 to 8192")
    return int(text)


def _ways(engines: list[str], precisions: list[str]) -> list[tuple[str, str]]:
    """Every engine with every precision; raises EngineError for a name that is neither."""
    from superfine.engines.open import ENGINES, PRECISIONS

    for kind, names, have in (("engine", engines, ENGINES), ("precision", precisions, PRECISIONS)):
        if wrong := [name for name in names if name.partition(":")[0] not in have]:
            raise EngineError(f"unknown {kind} {wrong[0]!r}: choose one of {', '.join(have)}")
    return [(engine, precision) for engine in engines for precision in precisions]


def _time(wanted: list[tuple[str, int, str, str]], sides: list[int], runs: int) -> tuple[list[Timing], list[str]]:
    """Timings of every (model, scale, engine, precision), and a line for each that does not run here.

    Raises EngineError if none does.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from superfine.benchmark.complexity import time_runs

    timings: list[Timing] = []
    missing: list[str] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(wanted))
        for name, scale, engine, precision in wanted:
            bar.update(task, description=f"{name} x{scale} {engine} {precision}")
            try:
                timings += time_runs(name, scale, engine, precision, sides, runs)
            except EngineError as error:
                missing.append(str(error))
            bar.advance(task)
    if wanted and not timings:
        raise EngineError(missing[0])
    return timings, missing


def _show_costs(costs: list[Cost], size: str) -> None:
    from rich.table import Table

    table = Table(title=f"multiply-adds and activations for an HR picture of {size}", title_justify="left")
    for head in ("model", "scale", "parameters", "multiply-adds", "activations", "receptive field, LR pixels"):
        table.add_column(head, justify="left" if head == "model" else "right")
    for each in costs:
        row = (f"{each.parameters:,}", f"{each.multiply_adds / 1e9:,.2f} G", f"{each.activations / 1e6:,.1f} M")
        table.add_row(each.model, f"x{each.scale}", *row, f"{each.context} each side")
    _print(table)


def _show_timings(timings: list[Timing], sides: list[int]) -> None:
    from rich.table import Table

    from superfine.benchmark.published import costs

    table = Table(title=f"seconds (peak MiB), median of {timings[0].runs}, by HR side in pixels", title_justify="left")
    for head in ("model", "scale", "engine", "precision", *(f"{side}²" for side in sides)):
        table.add_column(head, justify="right" if head.endswith("²") else "left")
    rows: dict[tuple[str, int, str, str], list[Timing]] = {}
    for each in timings:
        rows.setdefault((each.model, each.scale, each.engine, each.precision), []).append(each)
    for (model, scale, engine, precision), found in rows.items():
        cells = [f"{t.seconds:.3f}" + (f" ({t.peak_mib:.0f})" if t.peak_mib else "") for t in found]
        table.add_row(model, f"x{scale}", engine, precision, *cells)
    table.add_section()
    for cost in costs() if any(t.scale == 2 for t in timings) else ():
        if cost.method.lower() in {t.model for t in timings}:
            cells = [f"{cost.seconds[side]:.4f}" if side in cost.seconds else "–" for side in sides]
            table.add_row(f"{cost.method} (printed)", "x2", "the paper's GPU", "", *cells, style="dim")
    _print(table)


def _print(table: Table) -> None:
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
