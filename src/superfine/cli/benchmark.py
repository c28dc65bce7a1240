"""`superfine benchmark`: PSNR and SSIM of models on sets of pictures, under protocols that say what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.errors import DataError, ModelError

if TYPE_CHECKING:
    from superfine.quality.benchmark import Request, Result


def benchmark(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            show_default=False,
            help="Benchmark sets, or a folder of them: xS/*_HR.png with *_LR.png, BasicSR, DIV2K, or originals only.",
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m", "--model", help="A model, a weights file, bicubic, lanczos or nearest. Several: a,b or repeat."
        ),
    ] = None,
    scale: Annotated[
        list[str] | None, typer.Option("-s", "--scale", help="2, 3 or 4. Several: 2,3,4 or repeat.")
    ] = None,
    protocol: Annotated[
        list[str] | None, typer.Option("-p", "--protocol", help="paper, standard or rgb. Several: a,b or repeat.")
    ] = None,
    bicubic: Annotated[bool, typer.Option(help="Measure bicubic beside the models.")] = True,
    engine: Annotated[str, typer.Option(help="auto, openvino or pytorch.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    tile: Annotated[int | None, typer.Option(help="LR pixels a tile keeps; the figures do not depend on it.")] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Measure without pictures that cannot be used.")
    ] = False,
    all_printed: Annotated[
        bool, typer.Option("--all-printed", help="Show every method the papers print (protocol paper only).")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write everything, down to each picture, to a JSON file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file, one line a picture.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
) -> None:
    """Measure models on sets of pictures, with bicubic beside them.

    Each table names its protocol, because the same weights give other figures under another:

      [bold]paper[/bold]      SR truncated to 8 bits, luma rounded to 8 bits: as the CFSRCNN and ESRGCNN papers measured
      [bold]standard[/bold]   SR rounded to 8 bits, luma not rounded: as most of the field reports
      [bold]rgb[/bold]        SR rounded to 8 bits, all three channels

    Examples:

      superfine benchmark Set5 -m esrgcnn -s 2
      superfine benchmark Set5 Set14 -m esrgcnn,cfsrcnn -s 2,3,4 -p paper,standard --json result.json
    """
    from superfine.quality.benchmark import Request

    models = _listed(model, "esrgcnn")
    if bicubic and "bicubic" not in models:
        models = ["bicubic", *models]
    request = Request(
        folders=folders,
        models=models,
        scales=[_scale(text) for text in _listed(scale, "4")],
        protocols=_listed(protocol, "standard"),
        engine=engine,
        precision=precision,
        tile=tile,
        skip_broken=skip_broken,
    )
    for path in (json, csv, markdown):
        if path is not None and not path.absolute().parent.is_dir():
            raise DataError(f"cannot write {path}: there is no folder {path.parent}")
    result = _run(request)
    _write(result, json, csv, markdown, all_printed)
    _show(result, all_printed)


def _listed(values: list[str] | None, default: str) -> list[str]:
    """Every value of an option given several times, or once with commas; each once, in order."""
    parts = [part.strip() for value in values or [default] for part in value.split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def _scale(text: str) -> int:
    if text not in ("2", "3", "4"):
        raise ModelError(f"no scale {text}; choose 2, 3 or 4")
    return int(text)


def _run(request: Request) -> Result:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from superfine.quality.benchmark import run

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("opening models", total=None)
        return run(request, lambda done, total, what: bar.update(task, completed=done, total=total, description=what))


def _write(result: Result, json: Path | None, csv: Path | None, markdown: Path | None, all_printed: bool) -> None:
    from superfine.quality.benchmark import save, tables, to_json

    if json is not None:
        save(to_json(result), json)
    if csv is not None:
        save(tables.csv_text(result), csv)
    if markdown is not None:
        save(tables.markdown(result, all_printed=all_printed), markdown)


def _show(result: Result, all_printed: bool) -> None:
    from rich.console import Console

    from superfine.quality.benchmark import tables

    console = Console()
    # A pipe has no width of its own; cells cut short there would be figures lost.
    console = console if console.is_terminal else Console(width=400)
    shown = tables.grids(result, all_printed=all_printed)
    for grid in shown:
        console.print(tables.rich_table(grid))
    if any(cell.mark for grid in shown for _, cells in grid.ours for cell in cells):
        console.print(tables.LEGEND)
    for record in result.sets:
        for reason in record.left_out:
            console.print(f"left out of {record.name} x{record.scale}: {reason}")
