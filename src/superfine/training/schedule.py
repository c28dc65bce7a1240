"""The schedule: how far a run is, and its learning rate there."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from superfine.training.recipe import ScheduleSection


def progress(schedule: ScheduleSection, step: int, seconds: float) -> float:
    """Return how far the run is, 0..1, on the clock or by steps, as the recipe counts."""
    if schedule.steps is not None:
        return min(1.0, step / schedule.steps)
    assert schedule.minutes is not None
    return min(1.0, seconds / (schedule.minutes * 60))


@dataclass(frozen=True)
class Deadline:
    """An end by the wall clock: what is left of a run is spread over the time until then, pauses included."""

    begin: float
    end: float
    """Seconds on one clock."""
    done: float
    """How far the run was at `begin`, 0..1."""

    def progress(self, now: float) -> float:
        """Return how far the run is at `now`, 0..1."""
        return min(1.0, self.done + (1 - self.done) * (now - self.begin) / (self.end - self.begin))


def rate_share(schedule: ScheduleSection, step: int, done: float) -> float:
    """Return the share of the highest rate at `step`, `done` (0..1) of the way."""
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    if done <= schedule.hold:
        return warm
    if schedule.shape == "halve":
        return 0.5 * warm
    fallen = (done - schedule.hold) / (1 - schedule.hold) if schedule.hold < 1 else 0.0
    left = 1 - fallen if schedule.shape == "linear" else 0.5 * (1 + cos(pi * fallen))
    return warm * (schedule.final + (1 - schedule.final) * left)
