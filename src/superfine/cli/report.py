"""`superfine report`: write a run's report again, or before its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.")]) -> None:
    """Write the report of a training run: curves, crops against bicubic, figures, recipe, data and machine.

    It is one HTML file that needs nothing else. **superfine train** writes it at the end; this writes it again, or
    before the end:

        superfine report runs/my-photos

    The newest best weights are the ones shown.
    """
    from superfine.training.report.page import write_report

    print(write_report(run))
