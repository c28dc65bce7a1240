"""`superfine benchmark`: measures models on sets of pictures, under named protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli.messages import one_line
from superfine.cli.progress import ProgressBar
from superfine.cli.tables import show_table
from superfine.errors import DataError, ModelError

if TYPE_CHECKING:
    from superfine.benchmark import Request, Result
    from superfine.benchmark.pictures import Box, Gallery

_OUTPUT = "What to write"
_PICTURES = "Pictures"
_TRUST = "How sure"


@dataclass(frozen=True)
class _Files:
    """The files to write; None writes none."""

    json: Path | None
    csv: Path | None
    markdown: Path | None
    html: Path | None
    sheet: Path | None


_Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="FOLDER",
        show_default=False,
        help="Benchmark sets, or a folder of them: xS/*_HR.png with *_LR.png, BasicSR, DIV2K, or originals only.",
    ),
]
_Models = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--model",
        metavar="NAME",
        help="A model (otherwise esrgcnn), a file, bicubic, lanczos, nearest. Several: a,b or repeat.",
    ),
]
_Scales = Annotated[
    list[str] | None,
    typer.Option("-s", "--scale", metavar="N", help="2, 3 or 4 (otherwise 4). Several: 2,3,4 or repeat."),
]
_Protocols = Annotated[
    list[str] | None,
    typer.Option(
        "-p", "--protocol", metavar="NAME", help="paper, standard (otherwise), matlab, rgb. Several: a,b or repeat."
    ),
]
_Metrics = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="psnr, ssim, ms-ssim, fsim, consistency, lpips, dists; several: a,b."),
]
_Bicubic = Annotated[bool, typer.Option(help="Measure bicubic beside the models.")]
_Engine = Annotated[str, typer.Option(help="auto, openvino, onnxruntime or pytorch.")]
_Precision = Annotated[str, typer.Option(help="auto, fp32, tf32, int16, bf16, fp16 or int8.")]
_Device = Annotated[str, typer.Option(help="auto, cpu, gpu, gpu:1, cuda, mps or vulkan.")]
_Tile = Annotated[int | None, typer.Option(help="LR pixels a tile keeps; the figures do not depend on it.")]
_SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Measure without pictures that cannot be used.")]
_AllPrinted = Annotated[
    bool, typer.Option("--all-printed", help="Show every method the papers print (protocol paper only).")
]
_Json = Annotated[Path | None, typer.Option(help="Everything, down to each picture, as JSON.", rich_help_panel=_OUTPUT)]
_Csv = Annotated[Path | None, typer.Option(help="One line a picture, as CSV.", rich_help_panel=_OUTPUT)]
_Markdown = Annotated[Path | None, typer.Option(help="The tables, as Markdown.", rich_help_panel=_OUTPUT)]
_Html = Annotated[
    Path | None, typer.Option(help="Tables, crops and sliders in one HTML file.", rich_help_panel=_OUTPUT)
]
_Save = Annotated[Path | None, typer.Option(help="A folder for every upscaled picture.", rich_help_panel=_OUTPUT)]
_Sheet = Annotated[
    Path | None, typer.Option(help="Crops of each method side by side, as PNG.", rich_help_panel=_PICTURES)
]
_Shown = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Pictures to show, by name; otherwise those that differ most.",
        rich_help_panel=_PICTURES,
    ),
]
_Crop = Annotated[
    str | None,
    typer.Option(
        metavar="LEFT,TOP,WIDTH,HEIGHT",
        help="What to crop, in pixels of the original; otherwise where methods differ most.",
        rich_help_panel=_PICTURES,
    ),
]
_Interval = Annotated[
    bool, typer.Option("--interval", help="Bootstrap intervals (95 %) over the pictures.", rich_help_panel=_TRUST)
]
_Compare = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Does model A beat model B? A paired test.", rich_help_panel=_TRUST),
]
_Degrade = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOW", help="Degrade LR first: jpeg:40, noise:15, blur:1.0. Several, in order: a,b or repeat."
    ),
]


def benchmark(
    folders: _Folders,
    model: _Models = None,
    scale: _Scales = None,
    protocol: _Protocols = None,
    metric: _Metrics = None,
    bicubic: _Bicubic = True,
    engine: _Engine = "auto",
    precision: _Precision = "auto",
    device: _Device = "auto",
    tile: _Tile = None,
    degrade: _Degrade = None,
    skip_broken: _SkipBroken = False,
    all_printed: _AllPrinted = False,
    json: _Json = None,
    csv: _Csv = None,
    markdown: _Markdown = None,
    html: _Html = None,
    save: _Save = None,
    sheet: _Sheet = None,
    picture: _Shown = None,
    box: _Crop = None,
    interval: _Interval = False,
    compare: _Compare = None,
) -> None:
    """Measure models on sets of pictures, bicubic beside them.

    - superfine benchmark Set5 -m esrgcnn -s 2
    - superfine benchmark Set5 Set14 -m esrgcnn,cfsrcnn -s 2,3,4 -p paper,standard --json all.json --html all.html

    Each table names its protocol, because the same weights give other figures under another:

    - paper: SR truncated to 8 bits, luma rounded to 8 bits, as the CFSRCNN and ESRGCNN papers measured
    - standard: SR rounded to 8 bits, luma not rounded, as most of the field reports
    - matlab: SR and luma rounded to 8 bits, gray pictures taken as gray, as MATLAB programs do
    - rgb: SR rounded to 8 bits, all three channels
    """
    from superfine.benchmark import Request, check_writable
    from superfine.benchmark.degrade import parse_degradations
    from superfine.benchmark.pictures import open_gallery, parse_box
    from superfine.benchmark.significance import parse_pair

    files = _Files(json, csv, markdown, html, sheet)
    check_writable([json, csv, markdown, html, sheet, save])
    models = listed(model, "esrgcnn")
    if bicubic and "bicubic" not in models:
        models = ["bicubic", *models]
    request = Request(
        folders=folders,
        models=models,
        scales=[scale_of(text) for text in listed(scale, "4")],
        protocols=listed(protocol, "standard"),
        metrics=listed(metric, "psnr,ssim"),
        engine=engine,
        precision=precision,
        device=device,
        tile=tile,
        degradations=parse_degradations(",".join(degrade)) if degrade else (),
        skip_broken=skip_broken,
    )
    pair = parse_pair(compare, models) if compare else None
    crop = parse_box(box) if box else None
    gallery = open_gallery(request, picture or (), save) if html or sheet or save else None
    result = _run(request)
    # Nothing below may cost what was measured: the table first, then each file, JSON before the others.
    _show(result, all_printed)
    _write(result, files, gallery, crop, all_printed)
    _show_trust(result, interval, pair)


def listed(values: list[str] | None, default: str) -> list[str]:
    """List every value of an option given several times, or once with commas; each once, in order."""
    parts = [part.strip() for value in values or [default] for part in value.split(",")]
    found = list(dict.fromkeys(part for part in parts if part))
    if not found:
        raise DataError(f"an option names nothing ({','.join(values or [])!r}); leave it out, or name something")
    return found


def scale_of(text: str) -> int:
    """Read a scale, 2, 3 or 4; raise ModelError for anything else."""
    if text not in ("2", "3", "4"):
        raise ModelError(f"no scale {text}; choose 2, 3 or 4")
    return int(text)


def _run(request: Request) -> Result:
    from superfine.benchmark import run

    with ProgressBar() as bar:
        return run(request, bar.count)


def _write(result: Result, files: _Files, gallery: Gallery | None, box: Box | None, all_printed: bool) -> None:
    from superfine.benchmark import save, tables, to_json
    from superfine.benchmark.page import html

    if files.json is not None:
        save(to_json(result), files.json)
    if files.csv is not None:
        save(tables.csv_text(result), files.csv)
    if files.markdown is not None:
        save(tables.markdown(result, all_printed=all_printed), files.markdown)
    pictures = gallery.pictures() if gallery else []
    if files.html is not None:
        save(html(result, pictures, box=box, all_printed=all_printed), files.html)
    if files.sheet is not None:
        from superfine.benchmark.pictures import stacked_sheet

        stacked_sheet(pictures, box, files.sheet)


def _show(result: Result, all_printed: bool) -> None:
    from superfine.benchmark import tables

    grids = tables.grids(result, all_printed=all_printed)
    for grid in grids:
        title = f"{tables.heading(grid.metrics)}, protocol {grid.title}"
        show_table(("method", *grid.columns), grid.text_rows(), title=title)
        print()
    if any(cell.mark for grid in grids for _, cells in grid.ours for cell in cells):
        print(tables.LEGEND)
    for line in tables.notes(result):
        print(one_line(line))


def _show_trust(result: Result, interval: bool, pair: tuple[str, str] | None) -> None:
    from superfine.benchmark import significance

    if interval:
        for line in significance.intervals(result):
            typer.echo(line)
    if pair:
        for line in significance.comparison(result, *pair):
            typer.echo(line)
