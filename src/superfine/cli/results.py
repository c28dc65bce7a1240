"""`superfine results`: write the results page and the README's table from result files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def results(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RESULT", help="Result files; otherwise docs/results/benchmark*.json."),
    ] = None,
    costs: Annotated[
        Path | None, typer.Option(help="A file of superfine complexity --json; otherwise docs/results/complexity.json.")
    ] = None,
    page: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/results.md"),
    readme: Annotated[Path | None, typer.Option(help="A file with the markers of the results table.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if anything would change.")] = False,
) -> None:
    """Write the page of results from files of results.

    - superfine results --readme README.md

    Also the table between the markers of a README.
    """
    from superfine.benchmark.results_page import write_pages

    changed = write_pages(files or [], costs, page, readme, check=check)
    if not check:
        print("\n".join(f"wrote {path}" for path in changed) or "nothing to change")
