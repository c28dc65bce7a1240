"""Stopping between two steps, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupts:
    """While entered, the first Ctrl-C (or SIGTERM, as clusters send it) only sets `wanted`; a second one acts at once.

    Half a step, with the optimizer moved and the counter not, could not be resumed to the bit. Signals that were
    ignored before stay ignored, and outside the main thread, where Python allows no handlers, nothing changes.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN and before is not None:
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
