"""How `superfine train` shows a run: a live line on terminals, a plain one a minute in logs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from superfine.cli.messages import time_of

if TYPE_CHECKING:
    from rich.console import Console

    from superfine.training.loop import Progress

LOG_EVERY = 60.0
"""Seconds between two lines in a log."""
LIVE_EVERY = 0.25
"""Seconds between two looks of the live line."""


class Show:
    """Shows one run on `console`; a context manager, so that the terminal is left tidy."""

    def __init__(self, console: Console, *, bicubic: dict[int, float]) -> None:
        """bicubic: dB by scale, of the validation pictures."""
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Bar

        self.console, self.bicubic = console, bicubic
        self.live = console.is_terminal
        self.psnr = ""
        self._shown = -LOG_EVERY
        self._before: Progress | None = None
        self._speed: float | None = None
        columns = BarColumn(bar_width=16), TaskProgressColumn(), TextColumn("{task.description}", markup=False)
        self._bar = Bar(*columns, console=console, disable=not self.live, transient=True)
        self._task = self._bar.add_task("first steps ...", total=1.0)

    def __enter__(self) -> Show:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, now: Progress) -> None:
        """Called after every step; seldom does more than look at the clock."""
        if now.note:
            self.say(now.note)
        clock = time.monotonic()
        if clock - self._shown < (LIVE_EVERY if self.live else LOG_EVERY):
            return
        self._shown = clock
        text = self._line(now)
        if self.live:
            self._bar.update(self._task, completed=now.done, description=text)
        else:
            self.say(f"{now.done:4.0%}  {text}")

    def validated(self, entry: dict[str, Any]) -> None:
        """Called after every validation; keeps a line of its own for it."""
        self.psnr = " / ".join(f"x{scale} {value:.2f}" for scale, value in entry["psnr"].items()) + " dB"
        against = [f"x{s} {v:.3f} ({v - self.bicubic[int(s)]:+.2f})" for s, v in entry["psnr"].items()]
        figures = ", ".join(against)
        self.say(
            f"step {entry['step']:,} after {time_of(entry['seconds'])}: {figures} dB (over bicubic), protocol standard"
        )

    def say(self, text: str) -> None:
        """A line that stays, above the live one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _line(self, now: Progress) -> str:
        if self._before is None or now.seconds < self._before.seconds:
            self._before, self._speed = now, None
        elif now.seconds - self._before.seconds > 0.5:
            speed = (now.step - self._before.step) * now.batch / (now.seconds - self._before.seconds)
            self._speed = speed if self._speed is None else 0.8 * self._speed + 0.2 * speed
            self._before = now
        parts = [f"step {now.step:,}", "loss ..." if now.loss is None else f"loss {now.loss:.4f}"]
        if self.psnr:
            parts.append(self.psnr)
        if self._speed is not None:
            parts.append(f"{self._speed:,.0f} images/s")
        if now.done > 0.001:
            parts.append(f"{time_of(now.seconds / now.done - now.seconds)} left")
        return "  ".join(parts)
