"""The fleet without a cluster: its worker, the manifest and the stores, each by itself."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet_files import skip_without_fleet, write_picture
from superfine import images
from superfine.errors import FleetError, PlanError
from superfine.images.picture import Picture
from superfine.images.rows import open_rows
from superfine.upscaling import Upscaler
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target

skip_without_fleet()

from superfine.fleet import manifest as manifest_module  # noqa: E402
from superfine.fleet import strips  # noqa: E402
from superfine.fleet.manifest import DONE, FAILED, WHOLE, Manifest, Row, read_manifest  # noqa: E402
from superfine.fleet.orders import Errand, Orders  # noqa: E402
from superfine.fleet.store import Store  # noqa: E402
from superfine.fleet.tasks import find_tasks  # noqa: E402
from superfine.fleet.worker import Worker  # noqa: E402


@pytest.mark.parametrize("kind", ["rgb", "rgba", "gray16"])
def test_parts_of_a_picture_join_to_the_file_of_one_machine(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a network, whose parts need each other's rows, and strips so small that there are several."""
    monkeypatch.setattr("superfine.images.formats.tiff._STRIP_BYTES", 6000)
    monkeypatch.setattr(strips, "_LEAST_HALOS", 1)
    if kind == "gray16":
        monkeypatch.setattr("superfine.images.formats.tiff.BIG", 1000)  # a BigTIFF
    random = np.random.default_rng(0)
    upscaler, target = Upscaler("esrgcnn", memory="8GiB"), Target(scale=Fraction(2))
    height = 3 * upscaler.tiled(2).engine.halo + 17
    pixels = random.integers(0, 256, (height, 40, 3), dtype=np.uint8)
    picture = Picture(pixels)
    if kind == "rgba":
        picture = Picture(pixels, alpha=random.integers(1, 256, (height, 40), dtype=np.uint8))
    elif kind == "gray16":
        picture = Picture(random.integers(0, 65536, (height, 40, 1), dtype=np.uint16))
    source = tmp_path / "in" / "a.tif"
    source.parent.mkdir()
    images.write(picture, source)
    (outcome,) = run_jobs([Job(source, tmp_path / "one.tif")], upscaler, target, Settings())
    assert outcome.error is None

    output = Store(str(tmp_path / "out"))
    (task,), _ = find_tasks(str(source), output)
    settings = Settings(overwrite=True)
    worker = Worker(Orders(upscaler, target, settings, output, output.below("parts"), 0, 1, 3))
    cut = worker.whole(Errand(task, "whole"))
    assert not cut.error and len(cut.parts) == 3
    for errand in reversed(cut.parts):
        report = worker.part(errand)
        assert not report.error, report.error
    joined = worker.join(Errand(task, "join", count=3))
    assert not joined.error and joined.after == (80, 2 * height)
    made = (tmp_path / "out" / "a.tif").read_bytes()
    assert made == (tmp_path / "one.tif").read_bytes()
    assert made[2] == (43 if kind == "gray16" else 42)


def test_a_part_that_is_cut_short_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superfine.images.formats.tiff._STRIP_BYTES", 6000)
    source = write_picture(tmp_path / "in" / "a.tif", (40, 100))
    output, target = Store(str(tmp_path / "out")), Target(scale=Fraction(2))
    (task,), _ = find_tasks(str(source), output)
    upscaler = Upscaler(engine="nearest", memory="8GiB")
    worker = Worker(Orders(upscaler, target, Settings(overwrite=True), output, output.below("parts"), 0, 1, 2))
    cut = worker.whole(Errand(task, "whole"))
    for errand in cut.parts:
        assert not worker.part(errand).error
    part = next((tmp_path / "out" / "parts").glob("*/00001*"))
    part.write_bytes(part.read_bytes()[:-1])
    report = worker.join(Errand(task, "join", count=2))
    assert report.hopeless and str(part) in report.error and "cut short" in report.error
    assert not list((tmp_path / "out").glob("*.tif")) and not list((tmp_path / "out").glob(".*"))


def test_rows_in_the_middle_of_a_file_are_those_of_the_whole(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", (30, 700))
    whole = images.read(path).pixels
    for top, bottom in ((0, 700), (1, 30), (255, 300), (256, 512), (600, 700)):
        rows = open_rows(path)
        assert rows is not None
        some = strips.RowsBetween(rows, top, bottom)
        assert some.height == bottom - top
        middle = some.height // 2
        assert (some.band(0, middle)[0] == whole[top : top + middle]).all()
        assert (some.band(max(0, middle - 3), some.height)[0] == whole[max(top, top + middle - 3) : bottom]).all()


# The manifest -----------------------------------------------------------------------------------


def row(target: str, state: str = DONE, finished: float = 1.0) -> Row:
    return Row(target, f"/in/{target}", state, source_version="7", target_bytes=5, finished=finished)


def test_parts_of_a_manifest_are_merged_and_each_source_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_module, "_MOST_ROWS", 1)
    monkeypatch.setattr(manifest_module, "_MOST_PARTS", 3)
    store = Store(str(tmp_path))
    manifest = Manifest(store, {"scale": "2"}, resume=False)
    for number in range(20):
        manifest.add(row(f"{number:02d}.png", FAILED if number == 4 else DONE))
    assert len(list(tmp_path.iterdir())) < 10
    assert [each["target"] for each in read_manifest(store).to_pylist()] == [f"{n:02d}.png" for n in range(20)]
    parts = {path: path.read_bytes() for path in tmp_path.iterdir()}
    manifest.finish()
    assert [path.name for path in tmp_path.iterdir()] == [WHOLE]
    for path, content in parts.items():  # the process was killed before it removed them
        path.write_bytes(content)
    resumed = Manifest(store, {"scale": "2"}, resume=True)
    assert len(resumed.known) == 20 and resumed.known["04.png"].state == FAILED
    resumed.add(row("04.png", finished=2.0))
    resumed.finish()
    table = read_manifest(store)
    assert [path.name for path in tmp_path.iterdir()] == [WHOLE]
    assert len(table) == 20 and set(table["state"].to_pylist()) == {DONE}


def test_a_manifest_of_other_settings_or_one_that_is_damaged_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    manifest = Manifest(store, {"scale": "2"}, resume=False)
    manifest.add(row("a.png"))
    manifest.finish()
    with pytest.raises(PlanError, match="pass --resume"):
        Manifest(store, {"scale": "2"}, resume=False)
    with pytest.raises(PlanError, match="scale was 2 and is 4 now"):
        Manifest(store, {"scale": "4"}, resume=True)
    content = (tmp_path / WHOLE).read_bytes()
    for damaged in (content[:-9], content[: len(content) // 2], b""):
        (tmp_path / WHOLE).write_bytes(damaged)
        with pytest.raises(FleetError, match=f"damaged.*{WHOLE}.*--resume"):
            Manifest(store, {"scale": "2"}, resume=True)
    assert Manifest(store, {"scale": "4"}, resume=False, restart=True).known == {}


# Stores and tasks -------------------------------------------------------------------------------


def test_names_that_clash_are_a_complaint_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.bmp", ".hidden.png", "deep/a.png", "note.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"1")
    tasks, complaints = find_tasks(
        str(tmp_path / "in"), Store(str(tmp_path / "in" / "out")), format=".png", suffix="-x2"
    )
    assert [task.target for task in tasks] == ["a-x2.png", "b-x2.png", "deep/a-x2.png"]
    assert len(complaints) == 1 and "would both become a-x2.png" in str(complaints[0])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_pictures_of_a_web_server_are_found_and_fetched(tmp_path: Path) -> None:
    write_picture(tmp_path / "web" / "a.png")
    write_picture(tmp_path / "web" / "deep" / "b.png")
    output, target = Store(str(tmp_path / "out")), Target(scale=Fraction(2))
    with web_server(tmp_path / "web") as address:
        tasks, _ = find_tasks(f"{address}/", output)
        assert [task.target for task in tasks] == ["a.png", "deep/b.png"]
        upscaler = Upscaler(engine="nearest")
        worker = Worker(Orders(upscaler, target, Settings(overwrite=True), output, output.below("parts"), 0, None, 1))
        for task in tasks:
            assert not worker.whole(Errand(task, "whole")).error
        gone = worker.whole(Errand(replace(tasks[0], source="never.png"), "whole"))
        assert "no such file" in gone.error and not gone.hopeless
    assert images.read(tmp_path / "out" / "deep" / "b.png").width == 80
    assert not list(worker.station.scratch.iterdir())


def test_a_file_from_another_disk_is_put_in_place_whole(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    local = tmp_path / "made"
    local.write_bytes(b"content")
    store.put(local, "deep/er/place")
    assert store.read("deep/er/place") == b"content" and not local.exists()
    assert [entry.place for entry in store.entries()] == ["deep/er/place"]
    store.write("small", b"text")
    assert store.holds("small") and not store.holds("large")
    shutil.rmtree(tmp_path / "deep")
    assert [entry.place for entry in store.entries()] == ["small"]
    with pytest.raises(FleetError, match="no such folder, file or bucket"):
        Store(str(tmp_path / "nowhere")).check()
