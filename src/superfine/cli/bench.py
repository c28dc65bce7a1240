"""`superfine bench`: measure how fast this machine is, and say what `auto` takes."""

from __future__ import annotations

from typing import Annotated

import typer

from superfine.cli import options as shared


def bench(
    model: shared.Model = "esrgcnn",
    scale: Annotated[int, typer.Option("--scale", "-s", metavar="2|3|4", help="How many times as large.")] = 2,
    size: Annotated[int, typer.Option(metavar="PIXELS", help="Side of the square picture.", min=16, max=4096)] = 256,
    repeat: Annotated[int, typer.Option(metavar="N", help="Runs; the median counts.", min=1)] = 5,
) -> None:
    """Measure this machine: megapixels a second of every engine and precision, and what auto takes.

    - superfine bench -m cfsrcnn -s 4

    The share of peak compares the network's arithmetic with a large matrix product of the same precision on the
    CPU. Takes about a minute; other programs that run meanwhile slow it down.
    """
    from rich.console import Console
    from rich.table import Table

    from superfine.benchmark.speed import available_engines, matmul_rate, measure_all, reason_for
    from superfine.engines import open_engine
    from superfine.weights import find

    chosen = open_engine(find(model), scale)  # first: an unknown model or scale is refused before anything is measured
    speeds, missing = measure_all(model, scale, available_engines(), size, repeat)
    peaks = {
        each: matmul_rate(each) for each in sorted({s.precision for s in speeds if s.engine == "openvino"} - {"int8"})
    }

    table = Table(title=f"{model}, {size}x{size} pixels to x{scale}", title_justify="left")
    for column in ("engine", "precision", "seconds", "megapixels/s", "GFLOP/s", "of peak", ""):
        table.add_column(column, justify="left" if column in ("engine", "precision", "") else "right")
    for each in speeds:
        peak = peaks.get(each.precision) if each.engine == "openvino" else None
        auto = (each.engine, each.precision, each.device) == (chosen.name, chosen.precision, chosen.device)
        table.add_row(
            each.engine if each.device == "cpu" else f"{each.engine} on {each.device}",
            each.precision,
            f"{each.seconds:.3f}",
            f"{each.megapixels:.2f}",
            f"{each.gigaflops:.0f}" if each.gigaflops else "",
            f"{each.gigaflops / peak:.0%}" if peak and each.gigaflops else "",
            "auto" if auto else "",
        )
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
    for line in missing:
        print(f"not measured: {line}")
    print(f"auto takes {chosen.name} {chosen.precision} on {chosen.device}: {reason_for(chosen)}")
