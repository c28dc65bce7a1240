"""`superfine data`: fetches, lists and checks public data sets, and makes LR pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli.app import Command, Group
from superfine.cli.messages import size_of
from superfine.cli.progress import ProgressBar
from superfine.errors import DataError

if TYPE_CHECKING:
    from superfine.datasets import DataSet

data = typer.Typer(
    cls=Group,
    add_completion=False,
    invoke_without_command=True,
    help="Fetch, list and check data sets; make LR pictures.",
)


@data.callback()
def show_help(context: typer.Context) -> None:
    """Print the help where no command is named."""
    if context.invoked_subcommand is None:
        print(context.get_help())


_Folder = Annotated[Path, typer.Option("-o", "--out", help="The folder that data sets lie in.")]
_Catalogue = Annotated[Path | None, typer.Option(help="A catalogue of your own (TOML), for other addresses.")]


@data.command("list", cls=Command)
def list_sets(out: _Folder = Path("data"), catalogue: _Catalogue = None) -> None:
    """Show the data sets that can be fetched, where they live, and on what terms."""
    from superfine import datasets
    from superfine.datasets.fetch import read_manifest

    for each in datasets.catalogue(catalogue):
        parts = read_manifest(out / each.name)["parts"] if (out / each.name).is_dir() else {}
        here = f"here: {', '.join(parts)}" if parts else "not fetched"
        if each.on_request:
            here = "on request only"
        typer.echo(f"{each.name}  ({here})")
        typer.echo(f"  {each.title}\n  {each.homepage}\n  terms: {each.terms}")
        for file in each.files:
            size = f", {file.bytes / 1e6:,.0f} MB" if file.bytes else ""
            asked = ", fetched when asked for with --part" if file.optional else ""
            typer.echo(f"  {file.part}: {file.url}{size}{asked}")


@data.command(cls=Command)
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="As superfine data list shows them.")],
    out: _Folder = Path("data"),
    part: Annotated[list[str] | None, typer.Option(help="Only this part, as in valid-hr. Several: repeat.")] = None,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Keep the zip files.")] = False,
    catalogue: _Catalogue = None,
) -> None:
    """Download data sets from their official addresses. A download that broke off is gone on with.

    - superfine data fetch Set5 Set14 B100 Urban100
    - superfine data fetch DIV2K --part valid-hr
    """
    from superfine import datasets

    chosen = [datasets.dataset_named(name, catalogue) for name in names]
    for each in chosen:
        each.chosen(part or [])
    for each in chosen:
        typer.echo(f"{each.title}\n  {each.homepage}\n  terms: {each.terms}")
        typer.echo(f"  in {_fetch_with_bar(each, out, part or [], keep_archives)}")


def _fetch_with_bar(each: DataSet, out: Path, parts: list[str], keep_archives: bool) -> Path:
    from superfine import datasets

    with ProgressBar() as bar:

        def show(name: str, done: int, total: int | None) -> None:
            of = f" of {size_of(total)}" if total else ""
            bar.update(done / total if total else 0.0, f"{size_of(done)}{of}  {name}")

        return datasets.fetch(each, out, parts, keep_archives=keep_archives, progress=show)


@data.command(cls=Command)
def verify(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Folders of one data set each.")],
    catalogue: _Catalogue = None,
) -> None:
    """Check data sets against what was fetched, and against the pixels that published figures stand on."""
    from superfine import datasets

    bad = 0
    known = {each.name.lower(): each for each in datasets.catalogue(catalogue)}
    for folder in folders:
        for finding in datasets.verify(folder, known.get(folder.resolve().name.lower())):
            bad += not finding.good
            typer.echo(f"{folder.name}: {'ok' if finding.good else 'BAD'}: {finding.text}")
    if bad:
        raise DataError(f"{bad} checks failed; fetch the data set again into an empty folder")


@data.command(cls=Command)
def prepare(
    folder: Annotated[Path, typer.Argument(help="A folder of large pictures.")],
    more: Annotated[list[str] | None, typer.Argument(metavar=" ", hidden=True)] = None,
    scales: Annotated[
        list[str] | None, typer.Option("--scales", metavar="N", help="2, 3 or 4; several: 2 3 4, or 2,3,4.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Where they go; otherwise FOLDER_LR_bicubic, beside it.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Pictures at a time; otherwise one a core.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make those again that are there.")] = False,
) -> None:
    """Make the LR pictures of a folder, in DIV2K's layout.

    - superfine data prepare DIV2K_train_HR --scales 2 3 4

    By MATLAB's bicubic, on which published figures rest.
    """
    from superfine import datasets

    # `--scales 2 3 4` reaches us as an option with 2, and 3 and 4 as arguments after the folder.
    texts = [part for value in [*(scales or ["2,3,4"]), *(more or [])] for part in value.split(",") if part.strip()]
    if wrong := [text for text in texts if text.strip() not in ("2", "3", "4")]:
        raise DataError(f"no scale {wrong[0]}; choose from 2, 3 and 4")
    with ProgressBar() as bar:
        done = datasets.prepare(
            folder,
            sorted({int(text) for text in texts}),
            out,
            workers=workers,
            overwrite=overwrite,
            progress=lambda count, total: bar.count(count, total, "pictures"),
        )
    kept = f", {done.kept} were there" if done.kept else ""
    typer.echo(f"{done.written} pictures written into {done.folder}{kept}")
    if done.failed:
        for reason in done.failed:
            typer.echo(f"superfine: {reason}", err=True)
        raise DataError(f"{len(done.failed)} pictures could not be used")
