"""`superfine bench`: measure how fast this machine is, and say what `auto` takes."""

from __future__ import annotations

from dataclasses import asdict
from math import isinf
from typing import Annotated, Any

import typer

from superfine.cli import options as shared
from superfine.cli.tables import show_table


def bench(
    model: shared.Model = "esrgcnn",
    scale: Annotated[int, typer.Option("--scale", "-s", metavar="2|3|4", help="How many times as large.")] = 2,
    size: Annotated[int, typer.Option(metavar="PIXELS", help="Side of the square picture.", min=16, max=4096)] = 256,
    repeat: Annotated[int, typer.Option(metavar="N", help="Runs; the median counts.", min=1)] = 5,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write the figures to a file as well.")] = None,
) -> None:
    """Measure how fast this machine is, engine by engine.

    - superfine bench -m cfsrcnn -s 4

    A line for every engine and precision, and the one that auto chooses. The share of peak compares the network with
    a large matrix product of the same precision on the CPU; Winograd needs fewer products, so it may pass 100 %. Levels
    off is the largest difference from the first fp32 engine, of 255. Takes about a minute; other programs slow it down.
    """
    from superfine.benchmark.speed import available_engines, matmul_rate, measure_all, memory_rate, reason_for
    from superfine.engines import find_model, open_engine

    chosen = open_engine(
        find_model(model), scale
    )  # first: an unknown model or scale is refused before anything is measured
    speeds, missing = measure_all(model, scale, available_engines(), size, repeat)
    peaks = {
        each: matmul_rate(each) for each in sorted({s.precision for s in speeds if s.engine == "openvino"} - {"int8"})
    }

    rows = []
    for each in speeds:
        peak = peaks.get(each.precision) if each.device == "cpu" else None
        auto = (each.engine, each.precision, each.device) == (chosen.name, chosen.precision, chosen.device)
        rows.append(
            (
                each.engine if each.device == "cpu" else f"{each.engine} on {each.device}",
                each.precision,
                f"{each.seconds:.3f}",
                f"{each.megapixels:.2f}",
                f"{each.gigaflops:.0f}" if each.gigaflops else "",
                f"{each.gigaflops / peak:.0%}" if peak and each.gigaflops else "",
                "reference" if isinf(each.psnr) else f"{each.difference:.2f}",
                "" if isinf(each.psnr) else f"{each.psnr:.0f}",
                "auto" if auto else "",
            )
        )
    headings = ("engine", "precision", "seconds", "megapixels/s", "GFLOP/s", "of peak", "levels off", "PSNR", "")
    show_table(headings, rows, title=f"{model}, {size}x{size} pixels to x{scale}")
    bandwidth = memory_rate()
    rates = ", ".join(f"{peak:.0f} GFLOP/s in {precision}" for precision, peak in peaks.items())
    print(f"this CPU: {rates}; one core copies {bandwidth:.0f} GB/s in memory")
    if json is not None:
        figures = {"model": model, "scale": scale, "size": size, "peaks": peaks, "memory": bandwidth}
        engines = [asdict(each) | {"psnr": None if isinf(each.psnr) else each.psnr} for each in speeds]
        write_json(json, figures | {"engines": engines, "missing": missing})
    for line in missing:
        print(f"not measured: {line}")
    print(f"auto chooses {chosen.name} {chosen.precision} on {chosen.device}: {reason_for(chosen)}")


def write_json(path: str, figures: dict[str, Any]) -> None:
    """Write figures into a file. Raises PlanError where that fails."""
    from json import dumps
    from pathlib import Path

    from superfine.atomic import replace_file
    from superfine.errors import PlanError

    try:
        replace_file(Path(path), (dumps(figures, indent=1) + "\n").encode())
    except OSError as error:
        raise PlanError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
