"""Write a result as people read it: tables for the terminal, Markdown and CSV. Every table names its protocol."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from superfine.benchmark import published
from superfine.benchmark.degrade import parse_degradations
from superfine.benchmark.methods import INTERPOLATIONS
from superfine.benchmark.result import Result, Row
from superfine.quality.protocols import LOWER_IS_BETTER

BETTER, WORSE, SAME = "▲", "▼", "="

LEGEND = f"{BETTER} better, {WORSE} worse, {SAME} equal: against the PSNR printed for the same network"

DIGITS = {"psnr": 2, "consistency": 2}
"""metric → digits behind the point; the others are similarities on 0..1 and get four"""


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and how it compares with the printed figure of the same network."""

    text: str
    mark: str = ""  # BETTER, WORSE, SAME, or nothing to compare with


@dataclass(frozen=True)
class Grid:
    """A table of one protocol: a row a method, a column a set and scale."""

    title: str
    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    ours: tuple[tuple[str, tuple[Cell, ...]], ...]
    printed: tuple[tuple[str, tuple[Cell, ...]], ...]  # the papers' rows; only under their own protocol

    def text_rows(self) -> list[list[str]]:
        """Write every row as text, ours first: the method's name, then its cells with their marks."""
        return [[name, *(f"{c.text} {c.mark}".strip() for c in cells)] for name, cells in (*self.ours, *self.printed)]


def format_figure(metric: str, value: float) -> str:
    """Format a figure with the digits it is usually given."""
    return "inf" if math.isinf(value) else f"{value:.{DIGITS.get(metric, 4)}f}"


def heading(metrics: Sequence[str]) -> str:
    """Write the heading of a table: "PSNR / SSIM", with an arrow at metrics that are better the lower they are."""
    return " / ".join(f"{name.upper()} ↓" if name in LOWER_IS_BETTER else name.upper() for name in metrics)


def _paper_name(result: Result, model: str) -> str | None:
    info = next((each for each in result.models if each["name"] == model), None)
    return published.NETWORKS.get((info["network"] or model) if info else model)


def _mark(result: Result, row: Row) -> str:
    """Compare a row with the printed figure of the same network, at the printed precision.

    Interpolation gets no mark: the papers took its figures over from older ones, measured otherwise.
    """
    name = _paper_name(result, row.model) if row.model not in INTERPOLATIONS else None
    printed = published.find(name, row.set, row.scale) if name else None
    if printed is None or row.protocol != published.PROTOCOL or "psnr" not in row.figures:
        return ""
    ours = round(row.figures["psnr"], 2)
    return SAME if ours == printed.psnr else BETTER if ours > printed.psnr else WORSE


def grids(result: Result, *, all_printed: bool = False) -> list[Grid]:
    """Arrange a result in tables, one a protocol.

    Args:
        result: what was measured.
        all_printed: show every method the papers print, and not only those that were measured here.
    """
    places = list(dict.fromkeys((row.set, row.scale) for row in result.rows))
    models = list(dict.fromkeys(row.model for row in result.rows))
    metrics = tuple(result.rows[0].figures)
    tables = []
    for protocol, fields in result.protocols.items():
        ours = []
        for model in models:
            rows = [result.row(set, scale, model, protocol) for set, scale in places]
            ours.append((model, tuple(_our_cell(result, row, metrics) for row in rows)))
        shown = published.methods() if all_printed else [n for m in models if (n := _paper_name(result, m))]
        printed: list[tuple[str, tuple[Cell, ...]]] = []
        if protocol == published.PROTOCOL:
            for method in dict.fromkeys(shown):
                cells = tuple(_printed_cell(method, set, scale, metrics) for set, scale in places)
                if any(cell.text != "–" for cell in cells):
                    printed.append((f"{method} (printed)", cells))
        columns = tuple(f"{set} x{scale}" for set, scale in places)
        tables.append(Grid(f"{protocol}: {describe(fields)}", metrics, columns, tuple(ours), tuple(printed)))
    return tables


def describe(fields: dict[str, object]) -> str:
    """Describe a protocol in a few words, from its fields."""
    colour = "RGB" if fields["colour"] == "rgb" else f"Y ({fields['y_rounding']})"
    verb = "truncated" if fields["rounding"] == "truncate" else "rounded"
    crop = fields["crop"]
    border = "scale" if crop == 1 else f"{crop} x scale"
    return f"SR {verb} to 8 bits, {colour}, border of {border} pixels cut"


def notes(result: Result) -> list[str]:
    """List what a reader must know beside the figures: how LR pictures were degraded, and pictures left out."""
    degraded = {each.name: parse_degradations(each.degraded) for each in result.sets if each.degraded}
    lines = [
        f"{name}: LR degraded by {', then '.join(d.describe() for d in parts)}" for name, parts in degraded.items()
    ]
    return lines + [f"left out of {each.name} x{each.scale}: {why}" for each in result.sets for why in each.left_out]


def _our_cell(result: Result, row: Row | None, metrics: Sequence[str]) -> Cell:
    if row is None:
        return Cell("–")
    return Cell(
        " / ".join(format_figure(name, row.figures[name]) if name in row.figures else "–" for name in metrics),
        _mark(result, row),
    )


def _printed_cell(method: str, set: str, scale: int, metrics: Sequence[str]) -> Cell:
    found = published.find(method, set, scale)
    if found is None:
        return Cell("–")
    values = {"psnr": found.psnr, "ssim": found.ssim}
    return Cell(" / ".join(format_figure(name, values[name]) if name in values else "–" for name in metrics))


def markdown(result: Result, *, all_printed: bool = False) -> str:
    """Write every table as GitHub Markdown, and under them what was degraded and left out."""
    parts = []
    for grid in grids(result, all_printed=all_printed):
        lines = [f"**{heading(grid.metrics)}**, protocol `{grid.title}`", ""]
        lines.append(f"| method | {' | '.join(grid.columns)} |")
        lines.append(f"|---|{'---:|' * len(grid.columns)}")
        lines += [f"| {' | '.join(row)} |" for row in grid.text_rows()]
        if any(cell.mark for _, cells in grid.ours for cell in cells):
            lines += ["", f"{LEGEND}."]
        parts.append("\n".join(lines))
    if lines := notes(result):
        parts.append("\n".join(f"- {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def csv_text(result: Result) -> str:
    """Write one line a picture and one a mean (picture "mean"), every figure at full precision."""
    metrics = list(result.rows[0].figures)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["set", "scale", "model", "protocol", "picture", *metrics])
    for row in result.rows:
        key = [row.set, row.scale, row.model, row.protocol]
        for each in row.pictures:
            writer.writerow([*key, each.name, *(each.figures[name] for name in metrics)])
        writer.writerow([*key, "mean", *(row.figures[name] for name in metrics)])
    return out.getvalue()
