"""`superfine results`: the results page and the README's table, from result files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superfine.errors import DataError


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
    from superfine.benchmark import load, results_page, save

    folder = Path("docs/results")
    chosen = files or sorted(folder.glob("benchmark*.json"))
    loaded = [load(path) for path in chosen]
    found = costs or (folder / "complexity.json" if (folder / "complexity.json").is_file() else None)
    wanted = {page: results_page.page(loaded, results_page.load_costs(found) if found else None)}
    if readme is not None:
        if not readme.is_file():
            raise DataError(f"no file {readme} to put the table into")
        text = readme.read_text(encoding="utf-8")
        wanted[readme] = results_page.put_block(text, results_page.readme_block(loaded), str(readme))
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if check:
        if stale:
            raise DataError(f"{', '.join(map(str, stale))} would change; run superfine results without --check")
        return
    for path in stale:
        save(wanted[path], path)
        typer.echo(f"wrote {path}")
    if not stale:
        typer.echo("nothing to change")
