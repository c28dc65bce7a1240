"""`superfine parity`: compares all engines and precisions of this machine with one reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superfine.cli.progress import ProgressBar
from superfine.cli.tables import show_table
from superfine.errors import DataError, PlanError

BEGIN, END = "<!-- parity: written by `superfine parity --page`; do not edit -->", "<!-- /parity -->"


def parity(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models or weights files; otherwise both networks.")
    ] = None,
    scale: Annotated[int, typer.Option("--scale", "-s", metavar="2|3|4", help="How many times as large.")] = 2,
    engine: Annotated[
        list[str] | None, typer.Option("--engine", metavar="NAME", help="Only this engine. Several: repeat.")
    ] = None,
    repeat: Annotated[int, typer.Option(metavar="N", help="Timed runs; the median counts.", min=1)] = 3,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the cards as JSON.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write the cards into a page, between its two markers.")] = None,
) -> int:
    """Compare what the engines compute, value by value.

    - superfine parity
    - superfine parity esrgcnn -s 4 --engine openvino --json card.json

    Every engine and precision enlarges the same five pictures in a process of its own. A line for each: the largest
    difference from PyTorch in fp32 (from OpenVINO in fp32 without PyTorch) in levels of 255, the share of 8-bit values
    that change, PSNR on a photograph and the lowest on drawn pictures, time and memory. Exit code 1 if an engine in
    fp32 differs by more than rounding explains.
    """
    from superfine.benchmark import check_writable, save
    from superfine.benchmark.parity import HEADINGS, cells, compare_engines, not_run, to_json, to_markdown
    from superfine.demo import PHOTOGRAPH
    from superfine.engines import ENGINES, PRECISIONS

    check_writable([as_json])
    around = _around(page)
    known = [name for name in ENGINES if name not in ("auto", "nearest")]
    if unknown := [name for name in engine or [] if name not in known]:
        raise PlanError(f"unknown engine {unknown[0]!r}: choose one of {', '.join(known)}")
    choices = [(name, precision) for name in engine or known for precision in PRECISIONS[1:]]
    cards = []
    for model in models or ["esrgcnn", "cfsrcnn"]:
        with ProgressBar() as bar:
            card = compare_engines(model, scale, choices, PHOTOGRAPH, repeat=repeat, progress=bar.update)
        cards.append(card)
        title = f"{model} x{scale}, differences in levels of 255 from {card.reference}"
        show_table(HEADINGS, list(cells(card)), title=title)
        for line in not_run(card):
            print(line)
        for row in card.strayed:
            print(f"NOT THE SAME: {row.engine} {row.precision} is up to {row.largest:.2f} levels off")
    if as_json is not None:
        save(to_json(cards), as_json)
    if page is not None:
        save(f"{around[0]}{BEGIN}\n{to_markdown(cards)}{END}{around[1]}", page)
    return 1 if any(card.strayed for card in cards) else 0


def _around(page: Path | None) -> tuple[str, str]:
    """Return the text before and after the cards of a page. Raises DataError if it lacks the markers."""
    if page is None:
        return "", ""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"{page} lacks the lines {BEGIN} and {END}: add them where the cards shall stand")
    return before, after
