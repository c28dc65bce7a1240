"""`superfine report`: a run's report, written again or before its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="The folder of a training run.")]) -> None:
    """Write the report of a training run: curves, crops against bicubic, figures, recipe, data and machine.

        superfine report runs/my-photos

    It is one HTML file that needs nothing else; **superfine train** writes it too, at the end.
    """
    from superfine.training.report import write_report

    print(write_report(run))
