"""Lines for people: results go to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys


class Interrupted(Exception):
    """A Ctrl-C, with a line about what is done and how to go on."""


def complain(message: str) -> None:
    """Print one line on standard error, whatever a file's name holds (newlines, bytes that are no text)."""
    print(f"superfine: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(text: object) -> str:
    """Return `text` on one line that any terminal and any encoding can show."""
    shown = "".join(character if character.isprintable() else _escaped(character) for character in str(text))
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def bold(text: str) -> str:
    """Return text in bold where standard output is a terminal that shows it."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[1m{text}\033[0m"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def size_of(count: float, unit: str = "B") -> str:
    """Return a quantity as a person reads it: 1.3 GB, 12.0 Mpixels."""
    for prefix in ("", "k", "M"):
        if count < 1000:
            return f"{count:.0f} {unit}" if not prefix else f"{count:.1f} {prefix}{unit}"
        count /= 1000
    return f"{count:.1f} G{unit}"


def time_of(seconds: float) -> str:
    """Return a duration as a person reads it: 0.82 s, 12.3 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
