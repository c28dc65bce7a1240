"""Write a result as one HTML file that needs nothing else: sortable tables, crop sheets, sliders between methods."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine.benchmark import tables
from superfine.benchmark.pictures import Box, ComparedPicture, crop_sheet, where_methods_differ
from superfine.benchmark.result import Result
from superfine.quality.metrics import psnr

_CLASSES = {tables.BETTER: "better", tables.WORSE: "worse"}


def html(
    result: Result, pictures: Sequence[ComparedPicture] = (), *, box: Box | None = None, all_printed: bool = False
) -> str:
    """Compose the page.

    Args:
        result: what was measured.
        pictures: pictures to show, each with a crop sheet and a slider.
        box: what the sheets crop, HR pixels; None takes the place where the methods differ most.
        all_printed: every method the papers print, beside ours.
    """
    parts = [_facts(result)]
    parts += [_grid(grid) for grid in tables.grids(result, all_printed=all_printed)]
    parts.append(f"<p>{escape(tables.LEGEND)}.</p>")
    if pictures:
        parts.append("<h2>Pictures</h2>")
        parts += [_comparison(compared, box or where_methods_differ(compared)) for compared in pictures]
    parts.append("<h2>Each picture</h2>" + _each(result))
    frame = (resources.files("superfine.benchmark") / "page.html").read_text(encoding="utf-8")
    return frame.replace("<!-- body -->", "\n".join(parts))


def _facts(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    machine = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    lines = [f"Measured {result.created}. {versions}.", f"Machine: {machine}."]
    for model in result.models:
        if model["kind"] == "network":
            about = f"{model['engine']}, {model['precision']}, {model['device']}"
            lines.append(f"{model['name']} x{model['scale']}: {about}, weights SHA-256 {model['weights_sha256'][:16]}…")
    for record in result.sets:
        lr = "" if record.lr == "file" else ", LR made by the bit-exact bicubic"
        about = f"{len(record.pictures)} pictures{lr}, SHA-256 {record.sha256[:16]}…"
        lines.append(f"{record.name} x{record.scale}: {about}")
    lines += tables.notes(result)
    return "<p>" + "<br>".join(escape(line) for line in lines) + "</p>"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join(rows)
    return f'<table class="sortable"><thead><tr>{names}</tr></thead><tbody>\n{body}\n</tbody></table>'


def _row(cells: Sequence[tuple[str, str]]) -> str:
    """Write a table row of (text, CSS class) cells."""
    marked = (f' class="{kind}"' if kind else "" for _, kind in cells)
    return "<tr>" + "".join(f"<td{m}>{escape(text)}</td>" for m, (text, _) in zip(marked, cells, strict=True)) + "</tr>"


def _grid(grid: tables.Grid) -> str:
    rows = []
    for name, cells in grid.ours:
        rows.append(_row([(name, ""), *((f"{c.text} {c.mark}".strip(), _CLASSES.get(c.mark, "")) for c in cells)]))
    for name, cells in grid.printed:
        rows.append(_row([(name, "printed"), *((cell.text, "printed") for cell in cells)]))
    title = f"<h2>{escape(tables.heading(grid.metrics))}</h2><p>{escape(grid.title)}</p>"
    return title + _table(["method", *grid.columns], rows)


def _each(result: Result) -> str:
    metrics = list(result.rows[0].figures)
    rows = [
        _row(
            [
                *((text, "") for text in (picture.name, f"{row.set} x{row.scale}", row.model, row.protocol)),
                *((tables.format_figure(metric, picture.figures[metric]), "") for metric in metrics),
            ]
        )
        for row in result.rows
        for picture in row.pictures
    ]
    return _table(["picture", "set", "method", "protocol", *metrics], rows)


def _data_address(picture: NDArray[np.uint8] | Image.Image) -> str:
    """Write a picture as a data: address, losslessly."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _comparison(compared: ComparedPicture, box: Box) -> str:
    title = escape(f"{compared.name} ({compared.set} x{compared.scale})")
    sheet = f'<img class="sheet" alt="crops of {title}" src="{_data_address(crop_sheet(compared, box, errors=True))}">'
    sources = {**compared.enlarged, "original": compared.hr}
    names = list(sources)
    stored = "".join(f'<img data-name="{escape(name)}" src="{_data_address(sources[name])}">' for name in names)
    best = max(compared.enlarged, key=lambda name: psnr(compared.enlarged[name], compared.hr))
    left, right = _select(compared, names, best), _select(compared, names, names[0])
    slider = (
        '<div class="slider"><img alt=""><div class="over"><img alt=""></div>'
        '<input type="range" min="0" max="100" value="50" aria-label="how much of the left picture to show"></div>'
    )
    caption = f"<figcaption><b>{title}</b> left {left} right {right}</figcaption>"
    return f'{sheet}<figure class="compare">{caption}{slider}<template>{stored}</template></figure>'


def _select(compared: ComparedPicture, names: Sequence[str], chosen: str) -> str:
    options = []
    for name in names:
        figures = f" ({compared.captions[name]})" if name in compared.captions else ""
        mark = " selected" if name == chosen else ""
        options.append(f'<option value="{escape(name)}"{mark}>{escape(name + figures)}</option>')
    return f"<select>{''.join(options)}</select>"
