"""How far a piece of work is: a live bar in a terminal, a plain line now and then where standard error is a file."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from superfine.cli.messages import complain, one_line, time_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

LOG_EVERY = 30.0
"""Seconds between two lines in a file."""
FIRST_LOG = 5.0
"""Seconds before the first line in a file: what is over sooner says nothing."""
LIVE_EVERY = 0.1
"""Seconds between two changes of the live line."""
SETTLED = 1.0
"""Seconds of work before a time left is worth showing."""


class ProgressBar:
    """Show progress on standard error; a context manager, so that the terminal is left tidy.

    quiet: shows nothing.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None, log_every: float = LOG_EVERY) -> None:
        self.quiet, self.log_every = quiet, log_every
        self.live = not quiet and (console.is_terminal if console else sys.stderr.isatty())
        self._console = console
        self._bar: Progress | None = None
        self._begun = time.monotonic()
        self._shown = self._begun - (LIVE_EVERY if self.live else log_every - min(FIRST_LOG, log_every))

    def __enter__(self) -> ProgressBar:
        if self.live:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            columns = BarColumn(bar_width=16), TaskProgressColumn(), TextColumn("{task.description}", markup=False)
            self._bar = Progress(*columns, console=self._console or Console(stderr=True), transient=True)
            self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, share: float, text: str, *, left: float | None = None) -> None:
        """Show that `share` (0 to 1) is done, and `text` beside it; seldom does more than look at the clock.

        left: seconds until the end; by default what the time so far lets expect.
        """
        now = time.monotonic()
        if self.quiet or now - self._shown < (LIVE_EVERY if self.live else self.log_every):
            return
        self._shown = now
        spent = now - self._begun
        if left is None and share > 0.001 and spent > SETTLED:
            left = spent / share - spent
        if left is not None:
            text += f"  {time_of(left)} left"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=1.0, completed=share, description=one_line(text))
        else:
            self.say(f"{share:4.0%}  {text}")

    def count(self, done: int, total: int | None, what: str) -> None:
        """Show that `done` of `total` things are done, and the name of what is in hand."""
        if total:
            self.update(done / total, f"{done} of {total}  {what}")

    def say(self, text: str) -> None:
        """Print a line that stays, above the live one."""
        if self._bar is not None:
            self._bar.console.print(one_line(text), markup=False, highlight=False, soft_wrap=True)
        elif self._console is not None:
            self._console.print(one_line(text), markup=False, highlight=False, soft_wrap=True)
        else:
            print(one_line(text), file=sys.stderr, flush=True)

    def complain(self, message: str) -> None:
        """Print an error, above the live line; --quiet does not silence it."""
        if self._bar is not None:
            self.say(f"superfine: {message}")
        else:
            complain(message)
