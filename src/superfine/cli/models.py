"""`superfine models`: which networks come along, and what they measure."""

from __future__ import annotations

SET, PROTOCOL = "Set5", "standard"


def models() -> None:
    """List the networks that come along: scales, parameters and measured PSNR.

    Their names are what --model takes; it takes a weights file as well.
    """
    from rich.console import Console
    from rich.table import Table

    from superfine.errors import ModelError
    from superfine.weights import list_models

    entries = list_models()
    if not entries:
        raise ModelError("this installation holds no weights: install superfine again, or pass -m FILE")
    table = Table(caption=f"PSNR in dB on {SET}, protocol '{PROTOCOL}'", caption_justify="left")
    table.add_column("model")
    table.add_column("network")
    table.add_column("scales")
    table.add_column("parameters", justify="right")
    scales = sorted({scale for entry in entries for scale in entry.scales})
    for scale in scales:
        table.add_column(f"x{scale}", justify="right")
    for entry in entries:
        figures = [entry.psnr(SET, scale, PROTOCOL) for scale in scales]
        table.add_row(
            entry.name,
            entry.title,
            " ".join(f"x{scale}" for scale in entry.scales),
            f"{entry.parameters:,}",
            *("" if figure is None else f"{figure:.2f}" for figure in figures),
        )
    Console().print(table)
