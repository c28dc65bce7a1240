"""Jobs, and the one queue that all clients share."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Condition
from time import monotonic

from superfine.upscaling.auto import Choice
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Plan, Target
from superfine.web.examine import Subject
from superfine.web.preview import PreviewTile
from superfine.web.problems import Problem

SMALL = 16_000_000
"""Pixels of a result up to which a job is small: the second worker takes no others."""


class State(StrEnum):
    """The stations of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Order:
    """The parameters of a job, checked."""

    model: str
    target: Target
    settings: Settings
    deinterlace: bool | None = None


@dataclass(eq=False)
class Job:
    """One picture or video on its way through the server."""

    client: str
    name: str
    """The file's name as the client says it: a relative path without dots, for people and archives only."""
    result_name: str
    order: Order
    subject: Subject
    plan: Plan
    folder: Path
    source: Path
    target: Path
    watched: bool = False
    """True if the result's tiles are to be shown as they come."""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = State.WAITING
    share: float = 0.0
    """The part that is done, 0..1."""
    queued: float = field(default_factory=monotonic)
    began: float | None = None
    ended: float | None = None
    problem: Problem | None = None
    choice: Choice | None = None
    """The model chosen for the picture, where that was left to superfine."""
    kept: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()
    bytes: int = 0
    """Size of the result's file."""
    tiles: list[PreviewTile] = field(default_factory=list)
    cancelling: bool = False
    listeners: set[Callable[[], None]] = field(default_factory=set)
    """Called from any thread after each change."""

    @property
    def pixels(self) -> int:
        """Pixels of the result, all frames together."""
        width, height = self.plan.output
        return width * height * self.subject.frames

    @property
    def is_small(self) -> bool:
        return self.subject.kind == "picture" and self.pixels <= SMALL

    @property
    def is_over(self) -> bool:
        return self.state not in (State.WAITING, State.RUNNING)

    @property
    def seconds_left(self) -> float | None:
        """The time until it is done, as far as it can be told."""
        if self.state != State.RUNNING or self.began is None or self.share <= 0:
            return None
        spent = monotonic() - self.began
        return spent / self.share - spent

    def touch(self) -> None:
        """Tell all listeners that something changed."""
        for listener in tuple(self.listeners):
            listener()

    def end(self, state: State, problem: Problem | None = None) -> None:
        """Set the last state."""
        self.problem, self.ended, self.tiles = problem, monotonic(), []
        self.state = state
        self.touch()


class JobQueue:
    """Waiting jobs: a line for each client, served in turn, so that nobody waits for all pictures of another.

    Args:
        most: jobs that may wait.
        most_each: of one client.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most, self._most_each = most, most_each
        self._lines: OrderedDict[str, deque[Job]] = OrderedDict()
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._lines.values()))

    def check(self, client: str, retry_after: int) -> None:
        """Raise Problem if no further job of this client may wait."""
        if self._closed:
            raise Problem(503, "closing", "this server is being stopped", retry_after=30)
        if len(self) >= self._most:
            raise Problem(503, "busy", f"{self._most} pictures wait already: try again later", retry_after=retry_after)
        with self._changed:
            if len(self._lines.get(client, ())) >= self._most_each:
                text = f"{self._most_each} of your pictures wait already: send the next when one is done"
                raise Problem(429, "too-many", text, retry_after=retry_after)

    def put(self, job: Job) -> None:
        """Add a job at the end of its client's line."""
        with self._changed:
            self._lines.setdefault(job.client, deque()).append(job)
            self._changed.notify_all()

    def take(self, *, small_only: bool = False) -> Job | None:
        """Wait for a job and take it; None when the queue is closed."""
        with self._changed:
            while not self._closed:
                for client, line in self._lines.items():
                    job = next((each for each in line if each.is_small or not small_only), None)
                    if job is not None:
                        self._remove(job)
                        if client in self._lines:
                            self._lines.move_to_end(client)
                        return job
                self._changed.wait()
            return None

    def remove(self, job: Job) -> bool:
        """Take a job out of its line; return False if it is not there any more."""
        with self._changed:
            return self._remove(job)

    def _remove(self, job: Job) -> bool:
        line = self._lines.get(job.client)
        if line is None or job not in line:
            return False
        line.remove(job)
        if not line:
            del self._lines[job.client]
        return True

    def ahead(self, job: Job) -> int:
        """Count the jobs that will be taken before this one if no other comes."""
        with self._changed:
            line = self._lines.get(job.client)
            if line is None or job not in line:
                return 0
            place, passed, count = line.index(job), False, 0
            for client, others in self._lines.items():
                if client == job.client:
                    passed, count = True, count + place
                else:
                    count += min(len(others), place if passed else place + 1)
            return count

    def close(self) -> list[Job]:
        """Wake all who wait, for the last time; return the jobs that nobody took."""
        with self._changed:
            self._closed = True
            left = [job for line in self._lines.values() for job in line]
            self._lines.clear()
            self._changed.notify_all()
            return left
