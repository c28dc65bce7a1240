"""The help of the program and of its commands: plain lines that fit the terminal, however narrow, without frames.

typer's own help imports rich and a Markdown parser, which takes longer than all else `superfine --help` does.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from superfine.cli import COMMANDS, EXAMPLES
from superfine.cli.messages import bold

NARROW = 60
"""Columns. In a terminal with fewer, an explanation stands below its option, not beside it."""
WIDEST = 100
"""Columns. Longer lines are hard to read."""
INDENT = "  "

Row = tuple[str, str]
"""A name, such as an option's, and its explanation."""


def program_help() -> str:
    """Return the help of `superfine` itself: examples, and all commands by group."""
    sections = [
        ("", list(EXAMPLES)),
        *(
            (group, [(name, each.summary) for name, each in COMMANDS.items() if each.group == group])
            for group in dict.fromkeys(each.group for each in COMMANDS.values())
        ),
        (
            "Options",
            [
                ("-h, --help", "Show this help; superfine COMMAND --help shows that of a command."),
                ("--version", "Show the version."),
                ("--install-completion", "Let the shell complete commands and options."),
            ],
        ),
    ]
    lines = ["superfine makes pictures larger: 2, 3 or 4 times, or any size you name."]
    return page(lines, sections)


def page(opening: Iterable[str], sections: Iterable[tuple[str, Sequence[Row]]]) -> str:
    """Lay out paragraphs, then sections of (heading, rows), for the terminal's width.

    A paragraph whose lines are indented keeps them; another one is wrapped.
    """
    width = min(shutil.get_terminal_size().columns, WIDEST)
    lines: list[str] = []
    for paragraph in opening:
        kept = paragraph.startswith(INDENT)
        lines += [*(paragraph.splitlines() if kept else textwrap.wrap(paragraph, width)), ""]
    for heading, rows in sections:
        if rows:
            lines += [*([bold(heading)] if heading else []), *_laid_out(rows, width), ""]
    return "\n".join(lines)


def _laid_out(rows: Sequence[Row], width: int) -> Iterator[str]:
    """Yield the lines of two columns, or of one below the other in a narrow terminal."""
    longest = max(len(name) for name, _ in rows)
    narrow = width < NARROW or longest > width // 2
    left = 4 if narrow else len(INDENT) + longest + 2
    for name, explanation in rows:
        lines = textwrap.wrap(explanation, max(width - left, 20), break_long_words=False, break_on_hyphens=False)
        if narrow:
            yield INDENT + name
        else:
            yield f"{INDENT}{name:<{longest}}  {lines[0] if lines else ''}".rstrip()
            lines = lines[1:]
        yield from (" " * left + line for line in lines)
