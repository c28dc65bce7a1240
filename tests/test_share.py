"""A batch shared between devices: every picture once, as one device makes it, and both compute at the same time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from superfine.__main__ import main
from superfine.engines.devices import Device, split_devices
from superfine.engines.nearest import NearestEngine
from superfine.errors import EngineError
from superfine.images.files import Picture, write
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.journal import Journal
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.share import share_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler

TWICE = Target(scale=Fraction(2))


class Paired(NearestEngine):
    """An engine that computes only while another one does."""

    def __init__(self, barrier: Barrier) -> None:
        super().__init__(2)
        self.barrier = barrier

    def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.barrier.wait(timeout=60)
        return super().run_uint8(tile)


def jobs_in(folder: Path, count: int, out: str) -> list[Job]:
    rng = np.random.default_rng(5)
    jobs = []
    for number in range(count):
        source = folder / f"{number}.png"
        if not source.exists():
            write(Picture(rng.integers(0, 256, (20, 30, 3), np.uint8)), source)
        jobs.append(Job(source, folder / out / f"{number}.png"))
    return jobs


def test_two_devices_compute_at_once_and_make_what_one_makes(tmp_path: Path) -> None:
    barrier, seen = Barrier(2), set[tuple[int, float]]()
    pair = [Upscaler(engine=Paired(barrier)) for _ in range(2)]
    jobs = jobs_in(tmp_path, 8, "two")
    outcomes = list(share_jobs(jobs, pair, TWICE, Settings(), progress=lambda *done: seen.add(done)))
    assert [outcome.error for outcome in outcomes] == [None] * 8
    assert sorted(str(outcome.job.target) for outcome in outcomes) == [str(job.target) for job in jobs]
    assert {number for number, share in seen if share == 1} == set(range(8))
    one = jobs_in(tmp_path, 8, "one")
    assert not any(each.error for each in run_jobs(one, Upscaler(engine="nearest"), TWICE, Settings()))
    for number in range(8):
        assert (tmp_path / f"one/{number}.png").read_bytes() == (tmp_path / f"two/{number}.png").read_bytes()


def test_a_bad_picture_fails_alone_and_the_journal_knows_the_rest(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, 6, "out")
    (tmp_path / "3.png").write_text("no picture")
    journal = Journal(tmp_path / "out", {}, resume=False)
    pair = [Upscaler(engine="nearest") for _ in range(2)]
    outcomes = list(share_jobs(jobs, pair, TWICE, Settings(), journal))
    assert [outcome.job.source for outcome in outcomes if outcome.error] == [tmp_path / "3.png"]
    again = Journal(tmp_path / "out", {}, resume=True)
    made = [job for job in jobs if job.source is not None and job.target is not None and job.target.exists()]
    assert len(made) == 5 and all(
        again.is_done(tmp_path / f"{n}.png", tmp_path / f"out/{n}.png") for n in (0, 1, 2, 4, 5)
    )


def test_an_interruption_stops_every_device_and_leaves_whole_pictures(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, 40, "out")
    pair = [Upscaler(engine="nearest", tile=8) for _ in range(2)]
    running = share_jobs(jobs, pair, TWICE, Settings())
    next(running)
    running.close()  # as Ctrl-C does where the outcomes are read
    made = [job.target for job in jobs if job.target is not None and job.target.exists()]
    assert 1 <= len(made) < 40
    for path in made:
        assert Image.open(path).size == (60, 40)
    assert not list((tmp_path / "out").glob("*.part"))


def test_what_a_device_cannot_say_in_an_outcome_is_raised_where_the_batch_was_asked_for(tmp_path: Path) -> None:
    class Broken(NearestEngine):
        def run_uint8(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
            raise ZeroDivisionError("a driver's")

    pair = [Upscaler(engine="nearest"), Upscaler(engine=Broken(2))]
    with pytest.raises(ZeroDivisionError, match="a driver's"):
        list(share_jobs(jobs_in(tmp_path, 30, "out"), pair, TWICE, Settings()))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("auto", ["auto"]),
        ("cuda:0, cuda:1", ["cuda:0", "cuda:1"]),
        ("cuda:all", ["cuda:0", "cuda:1"]),
        ("gpu:all", ["cuda:0", "cuda:1"]),
        ("vulkan:all", ["vulkan:0"]),
        ("cuda:0,cpu", ["cuda:0", "cpu"]),
    ],
)
def test_devices_are_named_one_by_one_or_all_of_a_kind(
    text: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [
        Device("cuda:0", "One", "pytorch"),
        Device("cuda:1", "Two", "pytorch"),
        Device("vulkan:0", "One", "ncnn"),
        Device("vulkan:1", "llvmpipe", "ncnn", is_software=True),
        Device("cpu", "", ""),
    ]
    monkeypatch.setattr("superfine.engines.devices.devices", lambda: here)
    assert split_devices(text) == found


def test_all_of_a_kind_that_is_not_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superfine.engines.devices.devices", lambda: [Device("cpu", "", "")])
    with pytest.raises(EngineError, match=r"no device 'gpu:all' here: there are cpu"):
        split_devices("gpu:all")


def test_the_command_shares_a_batch_and_refuses_what_it_cannot_share(tmp_path: Path) -> None:
    jobs_in(tmp_path, 4, "out")
    command = ["upscale", str(tmp_path), "-o", str(tmp_path / "out"), "-s", "2", "--engine", "nearest"]
    assert main([*command, "--device", "cpu,cpu"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png", "3.png"]
    assert main([*command, "--overwrite", "--device", "cpu,cuda:0"]) == 2
    assert main([*command, "--overwrite", "--device", "cpu,cpu", "--memory", "2GiB"]) == 2
