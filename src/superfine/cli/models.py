"""`superfine models`: lists the networks that come along, and what they measure."""

from __future__ import annotations

from superfine.cli.tables import show_table

SET, PROTOCOL = "Set5", "standard"


def models() -> None:
    """List the networks that come along.

    Their names are what --model takes; it takes the path of a weights file as well.
    """
    from superfine.errors import ModelError
    from superfine.weights import list_models

    entries = list_models()
    if not entries:
        raise ModelError("this installation holds no weights: install superfine again, or pass -m FILE")
    scales = sorted({scale for entry in entries for scale in entry.scales})
    rows = []
    for entry in entries:
        figures = [entry.psnr(SET, scale, PROTOCOL) for scale in scales]
        rows.append(
            (
                entry.name,
                entry.title,
                " ".join(f"x{scale}" for scale in entry.scales),
                f"{entry.parameters:,}",
                *("" if figure is None else f"{figure:.2f}" for figure in figures),
            )
        )
    headings = ("model", "network", "scales", "parameters", *(f"x{scale}" for scale in scales))
    show_table(headings, rows, caption=f"PSNR in dB on {SET}, protocol '{PROTOCOL}'")
