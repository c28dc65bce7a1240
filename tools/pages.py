"""Write the pages of the documentation that programs write: `python tools/pages.py`.

docs/commands.md, the help of every command; docs/networks/*.svg, both networks drawn from their code. A test holds that
the files are what this program writes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from commands import exit_code
from drawing import draw, steps_of
from superfine.atomic import replace_file
from superfine.cli import COMMANDS, help
from superfine.cli.app import Program, create_app
from superfine.nets import build
from superfine.nets.cfsrcnn import CFSRCNNConfig
from superfine.nets.esrgcnn import ESRGCNNConfig, GroupEnhancementBlock

DOCS = Path(__file__).resolve().parents[1] / "docs"
COLUMNS = "100"
"""The width that help is laid out for."""


def commands_page() -> str:
    """Return the page of all commands: what `superfine COMMAND --help` prints."""
    program = typer.main.get_command(create_app())
    assert isinstance(program, Program)
    context = typer.Context(program, info_name="superfine")
    lines = [
        "# Commands",
        "",
        "Written by `tools/pages.py` from the program: what `superfine COMMAND --help` prints.",
        "",
    ]
    lines += ["```text", _plain(help.program_help()), "```", ""]
    for name in COMMANDS:
        command = program.get_command(context, name)
        assert command is not None
        inner = typer.Context(command, info_name=name, parent=context)
        lines += [f"## superfine {name}", "", "```text", _plain(command.get_help(inner)), "```", ""]
        for below in getattr(command, "commands", {}):
            found = command.get_command(inner, below)  # type: ignore[attr-defined]
            text = found.get_help(typer.Context(found, info_name=below, parent=inner))
            lines += [f"### superfine {name} {below}", "", "```text", _plain(text), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text).strip("\n")


def pictures() -> dict[str, str]:
    """Return the drawings: file name → SVG."""
    esrgcnn = build(ESRGCNNConfig(scales=(2,)))
    cfsrcnn = build(CFSRCNNConfig(scales=(2,), units=3, enhance=2, refine=2))
    block = next(each for each in esrgcnn.modules() if isinstance(each, GroupEnhancementBlock))
    return {
        "esrgcnn.svg": draw(steps_of(esrgcnn, 3), "ESRGCNN at x2"),
        "esrgcnn-block.svg": draw(steps_of(block, 64), "Group enhancement block"),
        "cfsrcnn.svg": draw(steps_of(cfsrcnn, 3), "CFSRCNN at x2, 3 of 16 units drawn"),
    }


def files() -> dict[Path, str]:
    """Return everything this program writes: path → content."""
    drawn = {DOCS / "networks" / name: svg for name, svg in pictures().items()}
    return {DOCS / "commands.md": commands_page(), **drawn}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="python tools/pages.py", description=__doc__.splitlines()[0])
    parser.parse_args(arguments)

    def work() -> None:
        for path, text in files().items():
            path.parent.mkdir(exist_ok=True)
            replace_file(path, text.encode())
            print(f"wrote {path}")

    return exit_code(work, OSError)


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = COLUMNS
    sys.exit(main())
