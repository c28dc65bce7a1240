"""`superfine complexity`: count what networks cost, beside what their papers print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superfine.cli.benchmark import listed, scale_of
from superfine.cli.tables import show_table


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
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the counts as JSON.")] = None,
) -> None:
    """Count a network's parameters and operations.

    - superfine complexity esrgcnn cfsrcnn -s 2,3,4

    How long they take here: superfine bench.
    """
    from superfine.benchmark import check_writable, save
    from superfine.benchmark.complexity import compare_with_paper, count, parse_size, to_json
    from superfine.weights import find

    check_writable([as_json])
    width, height = parse_size(size)
    names, scales = listed(models, "esrgcnn,cfsrcnn"), [scale_of(text) for text in listed(scale, "2")]
    costs = [count(find(name), s, -(-height // s), -(-width // s)) for name in names for s in scales]
    title = f"multiply-adds and activations for an HR picture of {width}x{height}"
    rows = [
        (
            each.model,
            f"x{each.scale}",
            f"{each.parameters:,}",
            f"{each.multiply_adds / 1e9:,.2f} G",
            f"{each.activations / 1e6:,.1f} M",
            f"{each.context} each side",
        )
        for each in costs
    ]
    headings = ("model", "scale", "parameters", "multiply-adds", "activations", "receptive field, LR pixels")
    show_table(headings, rows, title=title)
    for cost in costs:
        for line in compare_with_paper(cost):
            print(line)
    if as_json is not None:
        save(to_json(costs), as_json)
