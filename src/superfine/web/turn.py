"""One thread at a time computes: threads take turns, first come, first served."""

from __future__ import annotations

from collections import deque
from threading import Condition, get_ident
from time import monotonic

QUANTUM = 2.0
"""Seconds of a turn, after which it goes to another thread that waits: small pictures overtake large ones."""


class Turn:
    """A fair lock that its holder can pass on for a while."""

    def __init__(self, quantum: float = QUANTUM) -> None:
        self._quantum = quantum
        self._changed = Condition()
        self._line: deque[object] = deque()
        self._holder: int | None = None
        self._since = 0.0

    @property
    def mine(self) -> bool:
        """True in the thread whose turn it is."""
        return self._holder == get_ident()

    def take(self) -> None:
        """Wait until it is this thread's turn."""
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            self._changed.wait_for(lambda: self._holder is None and self._line[0] is ticket)
            self._line.popleft()
            self._holder, self._since = get_ident(), monotonic()

    def give(self) -> None:
        """End this thread's turn; nothing happens where it has none."""
        with self._changed:
            if self.mine:
                self._holder = None
                self._changed.notify_all()

    def pass_on(self) -> None:
        """Let those who wait compute first, if this turn was long enough."""
        if self._line and monotonic() - self._since > self._quantum:
            self.give()
            self.take()
