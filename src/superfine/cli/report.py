"""`superfine report`: writes a run's report again, or before its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.")]) -> None:
    """Write the report of a training run.

    - superfine report runs/my-photos

    One HTML file with curves, crops against bicubic, figures, recipe, data and machine. superfine train writes it at
    the end; this command writes it again, or before the end, with the best weights so far.
    """
    from superfine.training.report.page import write_report

    print(write_report(run))
