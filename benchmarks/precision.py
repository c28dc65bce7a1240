"""Measure what int16, bf16 and int8 cost in PSNR, on whole sets of pictures, at every scale.

    python benchmarks/precision.py Set5 Set14 B100 --json docs/results/precision.json --page docs/speed.md

Luma PSNR, protocol `standard`, of each network at each precision, and the difference from the widest measured.
`--json` keeps the figures (cells of other sets, models and precisions in that file stay, those of other weights
go), `--page` writes the table of everything kept between two markers of a page, `--known` takes figures that
`superfine benchmark --json` has measured already. Without sets nothing is measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from superfine.atomic import sha256_of
from superfine.benchmark import Request, run
from superfine.benchmark.result import Result, load, machine, now, save, versions
from superfine.weights import find

BEGIN, END = "<!-- precision: written by benchmarks/precision.py; do not edit -->", "<!-- /precision -->"
WIDTHS = ("fp32", "int16", "bf16", "int8")
"""Precisions, the widest first."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what int16, bf16 and int8 cost in PSNR.")
    parser.add_argument("sets", nargs="*", type=Path, help="folders of benchmark sets")
    parser.add_argument("--models", nargs="+", default=["esrgcnn", "cfsrcnn"])
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 3, 4])
    parser.add_argument("--precisions", nargs="+", choices=WIDTHS, default=list(WIDTHS))
    parser.add_argument("--known", nargs="+", type=Path, default=[], help="results of superfine benchmark --json")
    parser.add_argument("--json", type=Path, help="file to keep the figures in")
    parser.add_argument("--page", type=Path, help="page with the two markers the table goes between")
    options = parser.parse_args()
    cells = read(options.json)
    for path in options.known:
        cells |= cells_of(load(path), options.models)
    keep(cells, options.json)
    for model in options.models if options.sets else ():
        for precision in options.precisions:
            engine = "native" if precision == "int16" else "openvino"
            request = Request(
                options.sets, [model], options.scales, metrics=["psnr"], engine=engine, precision=precision
            )
            cells |= cells_of(run(request), [model])
            keep(cells, options.json)
    text = table(cells)
    print(text)
    if options.page:
        before, _, rest = options.page.read_text(encoding="utf-8").partition(BEGIN)
        if not rest:
            parser.error(f"{options.page} lacks the line {BEGIN}")
        save(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", options.page)


Key = tuple[str, str, int, str]


def read(path: Path | None) -> dict[Key, dict[str, Any]]:
    """Read the cells kept in a file, (model, set, scale, precision) → cell, of the weights as they are now."""
    if path is None or not path.is_file():
        return {}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    hashes = {model: sha256_of(find(model).weights) for model in {each["model"] for each in cells}}
    return {
        (each["model"], each["set"], each["scale"], each["precision"]): each
        for each in cells
        if each["weights_sha256"] == hashes[each["model"]]
    }


def keep(cells: dict[Key, dict[str, Any]], path: Path | None) -> None:
    """Write all cells into a file, if one was named."""
    if path is not None:
        about = {"protocol": "standard", "versions": versions(), "machine": machine(), "created": now()}
        save(json.dumps({**about, "cells": [cells[key] for key in sorted(cells)]}, indent=1) + "\n", path)


def cells_of(result: Result, models: list[str]) -> dict[Key, dict[str, Any]]:
    """Collect the mean PSNR over each set at each scale, of `models` as they are now."""
    infos = {(each["name"], each["scale"]): each for each in result.models}
    cells = {}
    for row in result.rows:
        info = infos[row.model, row.scale]
        if row.protocol != "standard" or row.model not in models:
            continue
        if info["weights_sha256"] != sha256_of(find(row.model).weights):
            continue
        cells[row.model, row.set, row.scale, info["precision"]] = {
            "model": row.model,
            "set": row.set,
            "scale": row.scale,
            "precision": info["precision"],
            "psnr": round(row.figures["psnr"], 4),
            "pictures": len(row.pictures),
            "weights_sha256": info["weights_sha256"],
        }
    return cells


def table(cells: dict[Key, dict[str, Any]]) -> str:
    """Write Markdown: a line a model, set and precision; PSNR, in brackets the difference from the first of the set."""
    scales = sorted({scale for _, _, scale, _ in cells})
    lines = [
        "| model | set | precision |" + "".join(f" x{scale} |" for scale in scales),
        "|---|---|---|" + "---|" * len(scales),
    ]
    order = {name: place for place, name in enumerate(["Set5", "Set14", "B100"])}
    rows = {(model, set, precision) for model, set, _, precision in cells}
    for model, set, precision in sorted(
        rows, key=lambda row: (row[0], order.get(row[1], 9), row[1], WIDTHS.index(row[2]))
    ):
        shown = [_cell(cells, model, set, scale, precision) for scale in scales]
        lines.append(f"| {model} | {set} | {precision} |" + "".join(f" {each} |" for each in shown))
    return "\n".join(lines)


def _cell(cells: dict[Key, dict[str, Any]], model: str, set: str, scale: int, precision: str) -> str:
    here = cells.get((model, set, scale, precision))
    if here is None:
        return ""
    wide = next(cells[key] for each in WIDTHS if (key := (model, set, scale, each)) in cells)
    change = "" if wide is here else f" ({here['psnr'] - wide['psnr']:+.3f})"
    return f"{here['psnr']:.3f}{change}"


if __name__ == "__main__":
    main()
