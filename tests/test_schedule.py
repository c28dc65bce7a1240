"""The learning rate over a run."""

from __future__ import annotations

from itertools import pairwise
from math import cos, pi

import pytest

from superfine.training.recipe import ScheduleSection
from superfine.training.schedule import Deadline, progress, rate_share


def test_a_run_counted_in_steps_ignores_the_clock_and_one_in_minutes_the_steps() -> None:
    steps, minutes = ScheduleSection(steps=200), ScheduleSection(minutes=2)
    assert progress(steps, 50, 1e6) == 0.25
    assert progress(minutes, 10**6, 30.0) == 0.25
    assert progress(steps, 300, 0.0) == progress(minutes, 0, 121.0) == 1.0


def test_a_deadline_spreads_what_is_left_over_the_time_left() -> None:
    fresh, resumed = Deadline(begin=100.0, end=300.0, done=0.0), Deadline(begin=100.0, end=300.0, done=0.6)
    assert [fresh.progress(now) for now in (100.0, 150.0, 300.0, 301.0)] == [0.0, 0.25, 1.0, 1.0]
    assert [resumed.progress(now) for now in (100.0, 200.0, 300.0)] == pytest.approx([0.6, 0.8, 1.0])


def test_warmup_rises_in_a_straight_line_and_its_first_step_is_not_lost() -> None:
    schedule = ScheduleSection(steps=1000, warmup=4, hold=1.0)
    assert [rate_share(schedule, step, 0.0) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert rate_share(ScheduleSection(steps=1000, warmup=0, hold=1.0), 0, 0.0) == 1.0


def test_cosine_holds_then_falls_to_its_final_share() -> None:
    schedule = ScheduleSection(steps=100, warmup=0, hold=0.5, final=0.1)
    assert rate_share(schedule, 10, 0.5) == 1.0
    assert rate_share(schedule, 10, 0.75) == pytest.approx(0.55)  # half way: the mean of 1 and 0.1
    assert rate_share(schedule, 10, 1.0) == pytest.approx(0.1)
    third = 0.1 + 0.9 * 0.5 * (1 + cos(pi / 3))
    assert rate_share(schedule, 10, 0.5 + 0.5 / 3) == pytest.approx(third)


def test_linear_holds_then_falls_in_a_straight_line_to_its_final_share() -> None:
    schedule = ScheduleSection(steps=100, warmup=0, shape="linear", hold=0.1, final=0.2)
    shares = [rate_share(schedule, 10, done) for done in (0.1, 0.55, 1.0)]
    assert shares == pytest.approx([1.0, 0.6, 0.2])


def test_cosine_never_rises_after_the_warmup() -> None:
    schedule = ScheduleSection(minutes=1, warmup=0, hold=0.3)
    shares = [rate_share(schedule, 1000, k / 500) for k in range(501)]
    assert all(later <= earlier for earlier, later in pairwise(shares))
    assert shares[0] == 1.0 and shares[-1] == pytest.approx(0.0)


def test_the_papers_halve_at_400_000_of_600_000_steps() -> None:
    schedule = ScheduleSection(steps=600_000, warmup=0, shape="halve", hold=2 / 3)
    shares = {
        step: rate_share(schedule, step, progress(schedule, step, 0.0)) for step in (0, 399_999, 400_001, 599_999)
    }
    assert shares == {0: 1.0, 399_999: 1.0, 400_001: 0.5, 599_999: 0.5}
