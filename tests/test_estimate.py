"""What a plan will cost: every frame, every window with its transparency, every byte that is held."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from superfine.demo import PHOTOGRAPH
from superfine.engines.nearest import NearestEngine
from superfine.images.files import Picture, read
from superfine.images.formats.frames import Frames, write_frames
from superfine.upscaling.batch.estimate import Estimator, peak_of_batch
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings, load_frames
from superfine.upscaling.plan import Target
from superfine.upscaling.tiled import TiledUpscaler
from superfine.upscaling.upscaler import Upscaler

PAUSE = 1.0
"""Seconds a window takes on the tests' own clock, on which nothing else takes any: machines are noisy."""


class Clock:
    """A clock that goes only while a Slow engine works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(NearestEngine):
    """An engine whose time is known."""

    def __init__(self, scale: int, clock: Clock) -> None:
        super().__init__(scale)
        self.clock = clock

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        self.clock.now += PAUSE
        return super().run(tile)

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.clock.now += PAUSE
        return super().run_uint8(tile)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock dry runs look at."""
    clock = Clock()
    monkeypatch.setattr("superfine.upscaling.batch.estimate.perf_counter", clock)
    return clock


def slow_upscaler(monkeypatch: pytest.MonkeyPatch, clock: Clock, tile: int) -> Upscaler:
    upscaler = Upscaler(engine="nearest")
    monkeypatch.setattr(upscaler, "tiled", lambda scale: TiledUpscaler(Slow(scale, clock), tile))
    return upscaler


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    return read(PHOTOGRAPH).pixels[96:288, 288:480]


def test_an_estimate_counts_the_plans_pixels_and_grows_with_the_picture(photograph: NDArray[np.uint8]) -> None:
    estimator = Estimator(Upscaler(engine="nearest"))
    small, target = Picture(photograph), Target(scale=Fraction(7, 2))
    large = replace(small, pixels=photograph.repeat(8, 0).repeat(8, 1))
    one, other = (estimator(Frames([picture]), target, ".png", 0.0) for picture in (small, large))
    assert one.plan.output == (672, 672) and other.plan.output == (5376, 5376)
    assert one.plan.passes == (4,)
    assert (one.pixels, other.pixels) == (672**2, 5376**2)
    # While it is made smaller, the larger one takes 6144 x 6144 times RGB, a plane and Pillow's copy of that.
    assert other.memory - one.memory > 6144 * 6144 * 5


@pytest.mark.parametrize("kind", ["colour", "gray corner", "edge at the end", "edges everywhere", "two passes"])
def test_the_time_predicted_is_the_time_taken(
    kind: str, photograph: NDArray[np.uint8], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, alpha = photograph.copy(), None
    if kind == "gray corner":  # the window that is tried may not be taken for a gray picture's
        pixels[:96, :96] = 128
    if kind.startswith("edge"):
        alpha = np.full((192, 192), 255, np.uint8)
        alpha[-20:, -20:] = 0
        if kind == "edges everywhere":
            alpha[::7] = 99
    target = Target(scale=Fraction(7 if kind == "two passes" else 2))
    upscaler = slow_upscaler(monkeypatch, clock, tile=48)
    estimate = Estimator(upscaler)(Frames([Picture(pixels, alpha)]), target, ".png", 0.0)
    started = clock.now
    upscaler.upscale_picture(Picture(pixels, alpha), target)
    spent = clock.now - started
    assert estimate.seconds == pytest.approx(spent)
    windows = {"colour": 16, "gray corner": 16, "edge at the end": 17, "edges everywhere": 32}
    if kind in windows:
        assert spent == PAUSE * windows[kind]


def test_every_frame_of_an_animation_is_counted(
    photograph: NDArray[np.uint8], clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [Picture(np.roll(photograph, shift, axis=1)) for shift in (0, 5, 10, 15)]
    source, target = tmp_path / "in.png", Target(scale=Fraction(2))
    write_frames(Frames(shown, [40.0] * 4), source)
    settings = Settings()
    job = Job(source, tmp_path / "out.gif")
    frames = load_frames(job, settings)
    upscaler = slow_upscaler(monkeypatch, clock, 64)
    estimate = Estimator(upscaler)(frames, target, ".gif", 0.0)
    assert estimate.frames == 4
    assert estimate.pixels == 4 * 384**2
    assert estimate.result == 4 * 384**2 * 3
    started = clock.now
    (outcome,) = run_jobs([job], upscaler, target, settings)
    assert outcome.error is None
    assert estimate.seconds == pytest.approx(clock.now - started)

    still = Estimator(slow_upscaler(monkeypatch, clock, 64))(Frames(shown[:1]), target, ".gif", 0.0)
    assert estimate.memory - still.memory > 3 * 384**2 * 3


def test_pages_that_repeat_cost_no_time_but_memory(
    photograph: NDArray[np.uint8], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [Picture(np.roll(photograph, shift, axis=1)) for shift in (0, 5, 10, 15)]
    estimator, target = Estimator(slow_upscaler(monkeypatch, clock, 64)), Target(scale=Fraction(2))
    once = estimator(Frames(shown), target, ".tif", 0.0)
    thrice = estimator(Frames([each for each in shown for _ in range(3)]), target, ".tif", 0.0)
    assert thrice.frames == 12
    assert thrice.seconds < 1.5 * once.seconds
    assert thrice.memory >= once.memory + 8 * 384**2 * 3


def test_pages_of_different_sizes_are_each_counted(photograph: NDArray[np.uint8]) -> None:
    pages = Frames([Picture(photograph), Picture(photograph[:50]), Picture(photograph[:, :70])])
    estimate = Estimator(Upscaler(engine="nearest"))(pages, Target(scale=Fraction(3)), ".tif", 0.0)
    assert estimate.frames == 3
    assert estimate.pixels == 9 * (192 * 192 + 50 * 192 + 192 * 70)
    assert estimate.source == 3 * (192 * 192 + 50 * 192 + 192 * 70)


def test_a_batch_holds_the_picture_before_and_the_one_after(photograph: NDArray[np.uint8]) -> None:
    estimator, target = Estimator(Upscaler(engine="nearest")), Target(scale=Fraction(2))
    three = [estimator(Frames([Picture(photograph)]), target, ".png", 0.0) for _ in range(3)]
    bytes_of_one = 192 * 192 * 3
    assert peak_of_batch(three[:1]) == three[0].memory
    assert peak_of_batch(three) >= three[1].memory + 4 * bytes_of_one + bytes_of_one
