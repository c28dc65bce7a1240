"""Tables of text without frames: aligned where they fit, one value a line in a terminal that is too narrow."""

from __future__ import annotations

import re
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

from superfine.cli.messages import bold

GAP = "  "
_NUMBER = re.compile(r"[-+]?\d.*|–?")
"""Columns whose cells all begin as numbers do are aligned on the right."""


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", caption: str = "") -> None:
    """Print a table on standard output. In a pipe lines are as long as they need to be: nothing is cut."""
    columns = list(zip_longest(headings, *rows, fillvalue=""))
    widths = [max(map(_cells, column)) for column in columns]
    on_right = [all(_NUMBER.fullmatch(cell) for cell in column[1:]) for column in columns]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def line(cells: Sequence[str]) -> str:
        padded = []
        for cell, width, right in zip_longest(cells, widths, on_right, fillvalue=""):
            space = " " * (int(width) - _cells(cell))
            padded.append(space + cell if right else cell + space)
        return GAP.join(padded).rstrip()

    if title:
        print(title)
    if room is None or sum(widths) + len(GAP) * (len(widths) - 1) <= room:
        print(bold(line(headings)))
        for row in rows:
            print(line(row))
    else:
        for row in rows:
            print(bold(row[0]))
            for heading, cell in zip(headings[1:], row[1:], strict=False):
                if cell:
                    print(f"{GAP}{heading}: {cell}" if heading else GAP + cell)
    if caption:
        print(caption)


def _cells(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
