"""The command line: one file a command, each read only when it is asked for.

`superfine upscale` must not pay for what `superfine train` needs, so the table below holds names, not
functions. A new command is a file in this folder and a line in the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from time import perf_counter
from typing import Annotated

import typer

BEGUN = perf_counter()
"""When this process began its work, but for a few hundredths of a second."""

COMMANDS: dict[str, str] = {
    "upscale": "superfine.cli.upscale:upscale",
    "demo": "superfine.cli.demo:demo",
    "models": "superfine.cli.models:models",
    "benchmark": "superfine.cli.benchmark:benchmark",
    "pack": "superfine.cli.pack:pack",
    "recipe": "superfine.cli.recipe:recipe",
    "train": "superfine.cli.train:train",
    "report": "superfine.cli.report:report",
    "data": "superfine.cli.data:data",
    "export": "superfine.cli.export:export",
    "quantize": "superfine.cli.quantize:quantize",
    "doctor": "superfine.cli.doctor:doctor",
    "inspect": "superfine.cli.inspect:inspect",
    "video": "superfine.cli.video:video",
    "explain": "superfine.cli.explain:explain",
    "complexity": "superfine.cli.complexity:complexity",
    "bench": "superfine.cli.bench:bench",
    "results": "superfine.cli.results:results",
}
"""command → "module:function", or "module:app" where the command has commands of its own (a typer.Typer)."""

HELP = """Fast, exact super-resolution with CFSRCNN and ESRGCNN: pictures 2, 3 or 4 times as large.

    superfine upscale photo.jpg -o photo-x4.png

Every command explains itself: superfine COMMAND --help."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from superfine.version import __version__

        print(f"superfine {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def create_app(names: Sequence[str]) -> typer.Typer:
    """A typer app that knows the commands `names`, keys of COMMANDS, and imports no other."""
    app = typer.Typer(name="superfine", add_completion=False, rich_markup_mode="markdown")
    app.callback(help=HELP)(_root)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def names_wanted(arguments: Sequence[str]) -> list[str]:
    """The commands to import so as to obey `arguments`: the one it names, or all (for help, or a typing error)."""
    first = next((argument for argument in arguments if not argument.startswith("-")), "")
    return [first] if first in COMMANDS else list(COMMANDS)
