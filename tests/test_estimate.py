"""The cost of a plan: every frame, every window with its transparency and every byte, at rates that were learned."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from superfine.demo import PHOTOGRAPH
from superfine.engines.nearest import NearestEngine
from superfine.images.files import Picture, read, write
from superfine.images.formats.frames import Frames, write_frames
from superfine.upscaling.batch.estimate import Estimator, peak_of_batch, peek
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.rates import Rates, first_window, network_pass
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings, load_frames
from superfine.upscaling.plan import Target
from superfine.upscaling.tiled import TiledUpscaler
from superfine.upscaling.upscaler import Upscaler

PAUSE = 1.0
"""Seconds a window takes on the tests' own clock, on which nothing else takes any: machines are noisy."""
COMPILING = 5.0
"""Seconds more for the first window of a size."""


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
        self.seen: set[tuple[int, ...]] = set()

    def _wait(self, shape: tuple[int, ...]) -> None:
        self.clock.now += PAUSE if shape in self.seen else PAUSE + COMPILING
        self.seen.add(shape)

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        self._wait(tile.shape[2:])
        return super().run(tile)

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self._wait(tile.shape[:2])
        return super().run_uint8(tile)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that windows, readers and writers are timed with."""
    clock = Clock()
    monkeypatch.setattr("superfine.upscaling.flow.perf_counter", clock)
    monkeypatch.setattr("superfine.upscaling.batch.stages.perf_counter", clock)
    return clock


@pytest.fixture
def rates(tmp_path: Path) -> Rates:
    return Rates(tmp_path / "cache/rates.json")


def slow_upscaler(monkeypatch: pytest.MonkeyPatch, clock: Clock, tile: int) -> Upscaler:
    upscaler = Upscaler(engine="nearest")
    opened: dict[int, TiledUpscaler] = {}
    monkeypatch.setattr(
        upscaler, "tiled", lambda scale: opened.setdefault(scale, TiledUpscaler(Slow(scale, clock), tile))
    )
    return upscaler


def learn(rates: Rates, upscaler: Upscaler, picture: Picture, target: Target) -> None:
    """Run a picture, and keep what its windows took."""
    plan = upscaler.upscale_picture(picture, target).plan
    for scale in set(plan.passes):
        rates.note_windows(upscaler.tiled(scale), upscaler.digest)


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    return read(PHOTOGRAPH).pixels[96:288, 288:480]


def test_an_estimate_counts_the_plans_pixels_and_grows_with_the_picture(
    photograph: NDArray[np.uint8], rates: Rates
) -> None:
    estimator = Estimator(Upscaler(engine="nearest"), rates)
    small, target = Picture(photograph), Target(scale=Fraction(7, 2))
    large = replace(small, pixels=photograph.repeat(8, 0).repeat(8, 1))
    one, other = (estimator(Frames([picture]), target, ".png", ".png") for picture in (small, large))
    assert one.plan.output == (672, 672) and other.plan.output == (5376, 5376)
    assert one.plan.passes == (4,)
    assert (one.pixels, other.pixels) == (672**2, 5376**2)
    # While it is made smaller, the larger one takes 6144 x 6144 times RGB, a plane and Pillow's copy of that.
    assert other.memory - one.memory > 6144 * 6144 * 5


def test_nothing_is_predicted_before_anything_ran(photograph: NDArray[np.uint8], rates: Rates) -> None:
    estimator = Estimator(Upscaler(engine="nearest"), rates)
    assert estimator(Frames([Picture(photograph)]), Target(scale=Fraction(2)), ".png", ".webp").seconds is None
    assert estimator.unknown == {".png", ".webp"}
    # A picture that no network is needed for takes what reading and writing take.
    rates.note("read .png", 192 * 192, 0.25)
    rates.note("write .webp", 96 * 96, 0.5)
    estimator = Estimator(Upscaler(engine="nearest"), rates)
    smaller = estimator(Frames([Picture(photograph)]), Target(scale=Fraction(1, 2)), ".png", ".webp")
    assert smaller.seconds == pytest.approx(0.75) and not estimator.unknown


@pytest.mark.parametrize("kind", ["colour", "gray corner", "edge at the end", "edges everywhere", "two passes"])
def test_the_time_predicted_is_the_time_taken(
    kind: str, photograph: NDArray[np.uint8], clock: Clock, rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, alpha = photograph.copy(), None
    if kind == "gray corner":
        pixels[:96, :96] = 128
    if kind.startswith("edge"):
        alpha = np.full((192, 192), 255, np.uint8)
        alpha[-20:, -20:] = 0
        if kind == "edges everywhere":
            alpha[::7] = 99
    target = Target(scale=Fraction(7 if kind == "two passes" else 2))
    learn(rates, slow_upscaler(monkeypatch, clock, tile=48), Picture(photograph), target)
    upscaler = slow_upscaler(monkeypatch, clock, tile=48)
    estimate = Estimator(upscaler, rates)(Frames([Picture(pixels, alpha)]), target, ".png", ".png")
    started = clock.now
    upscaler.upscale_picture(Picture(pixels, alpha), target)
    spent = clock.now - started
    assert estimate.seconds == pytest.approx(spent)
    windows = {"colour": 16, "gray corner": 16, "edge at the end": 17, "edges everywhere": 32}
    if kind in windows:
        assert spent == PAUSE * windows[kind] + COMPILING


def test_the_first_window_of_a_size_counts_once_for_a_batch(
    photograph: NDArray[np.uint8], clock: Clock, rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(scale=Fraction(2))
    learn(rates, slow_upscaler(monkeypatch, clock, 48), Picture(photograph), target)
    estimator = Estimator(slow_upscaler(monkeypatch, clock, 48), rates)
    three = [estimator(Frames([Picture(photograph)]), target, ".png", ".png").seconds for _ in range(3)]
    assert three == pytest.approx([16 * PAUSE + COMPILING, 16 * PAUSE, 16 * PAUSE])


def test_every_frame_of_an_animation_is_counted(
    photograph: NDArray[np.uint8], clock: Clock, rates: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [Picture(np.roll(photograph, shift, axis=1)) for shift in (0, 5, 10, 15)]
    source, target = tmp_path / "in.png", Target(scale=Fraction(2))
    write_frames(Frames(shown, [40.0] * 4), source)
    settings = Settings()
    job = Job(source, tmp_path / "out.gif")
    frames = load_frames(job, settings)
    learn(rates, slow_upscaler(monkeypatch, clock, 64), shown[0], target)
    still = Estimator(slow_upscaler(monkeypatch, clock, 64), rates)(Frames(shown[:1]), target, ".png", ".gif")
    upscaler = slow_upscaler(monkeypatch, clock, 64)
    estimate = Estimator(upscaler, rates)(frames, target, ".png", ".gif")
    assert estimate.memory - still.memory > 3 * 384**2 * 3
    assert estimate.frames == 4
    assert estimate.pixels == 4 * 384**2
    assert estimate.result == 4 * 384**2 * 3
    started = clock.now
    (outcome,) = run_jobs([job], upscaler, target, settings)
    assert outcome.error is None and outcome.reading is None, "a file of several pictures is no measure for one"
    assert estimate.seconds == pytest.approx(clock.now - started)


def test_pages_that_repeat_cost_no_time_but_memory(
    photograph: NDArray[np.uint8], clock: Clock, rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, target = [Picture(np.roll(photograph, shift, axis=1)) for shift in (0, 5, 10, 15)], Target(scale=Fraction(2))
    learn(rates, slow_upscaler(monkeypatch, clock, 64), shown[0], target)
    estimator = Estimator(slow_upscaler(monkeypatch, clock, 64), rates)
    estimator(Frames(shown[:1]), target, ".tif", ".tif")  # the first window of its size
    once = estimator(Frames(shown), target, ".tif", ".tif")
    thrice = estimator(Frames([each for each in shown for _ in range(3)]), target, ".tif", ".tif")
    assert thrice.frames == 12
    assert thrice.seconds == once.seconds == 4 * 9 * PAUSE
    assert thrice.memory >= once.memory + 8 * 384**2 * 3


def test_pages_of_different_sizes_are_each_counted(photograph: NDArray[np.uint8], rates: Rates) -> None:
    pages = Frames([Picture(photograph), Picture(photograph[:50]), Picture(photograph[:, :70])])
    estimate = Estimator(Upscaler(engine="nearest"), rates)(pages, Target(scale=Fraction(3)), ".tif", ".tif")
    assert estimate.frames == 3
    assert estimate.pixels == 9 * (192 * 192 + 50 * 192 + 192 * 70)
    assert estimate.source == 3 * (192 * 192 + 50 * 192 + 192 * 70)


def test_a_batch_holds_the_picture_before_and_the_one_after(photograph: NDArray[np.uint8], rates: Rates) -> None:
    estimator, target = Estimator(Upscaler(engine="nearest"), rates), Target(scale=Fraction(2))
    three = [estimator(Frames([Picture(photograph)]), target, ".png", ".png") for _ in range(3)]
    bytes_of_one = 192 * 192 * 3
    assert peak_of_batch(three[:1]) == three[0].memory
    assert peak_of_batch(three) >= three[1].memory + 4 * bytes_of_one + bytes_of_one


def test_rates_are_kept_and_joined_with_those_of_other_processes(tmp_path: Path) -> None:
    path = tmp_path / "deep/rates.json"
    one, other = Rates(path), Rates(path)
    one.note("read .png", 1000, 1.0)
    other.note("read .png", 1000, 3.0)
    other.note("write .png", 64, 0.64)
    one.save()
    other.save()
    kept = Rates(path)
    assert kept.seconds("read .png", 1000) == pytest.approx(2.0)
    assert kept.seconds("read .png", 500_000) == pytest.approx(1000.0), "the nearest size that is known"
    assert kept.seconds("write .png", 128) == pytest.approx(1.28)
    assert kept.seconds("read .jpg", 64) is None
    assert [each.name for each in path.parent.iterdir()] == ["rates.json"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"form": 99}', '{"form": 1, "seconds_per_pixel": {"a": [1]}}'])
def test_a_damaged_file_of_rates_is_an_empty_one(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_text(damage)
    rates = Rates(path)
    assert rates.seconds("a", 1) is None
    rates.note("a", 10, 1.0)
    rates.save()
    assert json.loads(path.read_text())["seconds_per_pixel"] == {"a": {"4": 0.1}}


def test_rates_that_cannot_be_kept_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    rates = Rates(tmp_path / "file/rates.json")
    rates.note("a", 10, 1.0)
    rates.save()
    assert (tmp_path / "file").read_text() == "no folder"


def test_a_single_window_is_a_rate_until_there_is_a_better_one(
    photograph: NDArray[np.uint8], clock: Clock, rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler, target, picture = slow_upscaler(monkeypatch, clock, 192), Target(scale=Fraction(2)), Picture(photograph)
    work, pixels = network_pass(upscaler.tiled(2).engine, ""), 192 * 192
    learn(rates, upscaler, picture, target)
    assert rates.seconds(work, pixels) == pytest.approx(PAUSE + COMPILING)
    for _ in range(12):
        learn(rates, upscaler, picture, target)
    assert rates.seconds(work, pixels) == pytest.approx(PAUSE, abs=0.01)
    learn(rates, slow_upscaler(monkeypatch, clock, 192), picture, target)
    assert rates.seconds(first_window(work), pixels) == pytest.approx(COMPILING, abs=0.01)


def test_of_a_jpeg_only_the_header_is_read(photograph: NDArray[np.uint8], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(photograph[:100]).save(tmp_path / "a.jpg", exif=exif)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name in ("a.jpg", "cut.jpg"):
        found = peek(tmp_path / name, 10**6)
        assert found is not None and (found.width, found.height, found.is_gray) == (100, 192, False)
    assert peek(tmp_path / "a.jpg", 100) is None, "whoever reads it says that it is too large"
    write(Picture(photograph), tmp_path / "b.png")
    assert peek(tmp_path / "b.png", 10**6) is None
