"""The display of `superfine train`: a live line on terminals, plain lines in logs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from superfine.cli.messages import one_line, time_of
from superfine.training.loop import StepReport, Watcher

if TYPE_CHECKING:
    from rich.console import Console

LOG_EVERY = 60.0
"""Seconds between two lines of steps in a log."""
PREPARING_EVERY = 10.0
"""Seconds between two lines in a log that count what is being made ready."""
LIVE_EVERY = 0.25
"""Seconds between two changes of the live line."""


class Display(Watcher):
    """Shows one run on `console`; a context manager, so that the terminal is left tidy."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self.console, self.live = console, console.is_terminal
        self.psnr = ""
        self._shown = -LOG_EVERY
        self._preparing = ""
        self._before: StepReport | None = None
        self._speed: float | None = None
        columns = BarColumn(bar_width=16), TaskProgressColumn(), TextColumn("{task.description}", markup=False)
        self._bar = Progress(*columns, console=console, disable=not self.live, transient=True)
        self._task = self._bar.add_task("", total=1.0)

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def preparing(self, what: str, done: int = 0, total: int = 0) -> None:
        text = f"{what}: {done:,} of {total:,}" if total else f"{what} ..."
        new, self._preparing = what != self._preparing, what
        if self._due(PREPARING_EVERY) or new:
            self._put(text, done / total if total else 0.0)

    def note(self, text: str) -> None:
        """Print a line that stays, above the live one."""
        self.console.print(one_line(text), markup=False, highlight=False, soft_wrap=True)

    def step(self, report: StepReport) -> None:
        if self._preparing:
            self._preparing, self._shown = "", -LOG_EVERY  # the first step is shown at once
        if self._due(LOG_EVERY):
            line = self._line(report)
            self._put(line if self.live else f"{report.done:4.0%}  {line}", report.done)

    def validated(self, entry: dict[str, Any]) -> None:
        """Print a line of its own for a validation. entry: with PSNR of bicubic by scale, too."""
        self.psnr = " / ".join(f"x{scale} {value:.2f}" for scale, value in entry["psnr"].items()) + " dB"
        against = [f"x{s} {v:.3f} ({v - entry['bicubic'][int(s)]:+.2f})" for s, v in entry["psnr"].items()]
        self.note(
            f"step {entry['step']:,} after {time_of(entry['seconds'])}: {', '.join(against)} dB (over bicubic), "
            "protocol standard"
        )

    def _due(self, log_every: float) -> bool:
        """Return True if it is time for another line; seldom does more than look at the clock."""
        clock = time.monotonic()
        if clock - self._shown < (LIVE_EVERY if self.live else log_every):
            return False
        self._shown = clock
        return True

    def _put(self, text: str, done: float) -> None:
        if self.live:
            self._bar.start()  # only now: of several processes one alone shows anything
            self._bar.update(self._task, completed=done, description=text)
        else:
            self.note(text)

    def _line(self, report: StepReport) -> str:
        if self._before is None or report.seconds < self._before.seconds:
            self._before, self._speed = report, None
        elif report.seconds - self._before.seconds > 0.5:
            speed = (report.step - self._before.step) * report.batch / (report.seconds - self._before.seconds)
            self._speed = speed if self._speed is None else 0.8 * self._speed + 0.2 * speed
            self._before = report
        parts = [f"step {report.step:,}", f"loss {report.loss:.4f}"]
        if self.psnr:
            parts.append(self.psnr)
        if self._speed is not None:
            parts.append(f"{self._speed:,.0f} images/s")
        if report.done > 0.001:
            parts.append(f"{time_of(report.seconds / report.done - report.seconds)} left")
        return "  ".join(parts)
