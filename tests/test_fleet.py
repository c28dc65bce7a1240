"""The fleet on Ray's own cluster of two nodes: results of the batch command, to the bit, whatever is killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleet_files import (
    keys_are_checked,
    ray_cluster,
    run_nearest,
    s3_server,
    skip_without_fleet,
    write_picture,
)
from processes import SUPERFINE, one_clear_line, superfine, upscale_nearest

skip_without_fleet()

from superfine.__main__ import main  # noqa: E402
from superfine.cli.fleet import _sum_up  # noqa: E402
from superfine.engines.nearest import NearestEngine  # noqa: E402
from superfine.errors import FleetError, PlanError  # noqa: E402
from superfine.upscaling import Upscaler  # noqa: E402


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(scope="module")
def cluster(s3: str) -> Iterator[Any]:
    with ray_cluster() as started:
        yield started


@pytest.fixture(scope="module")
def here(cluster: Any) -> Iterator[None]:
    """This process, connected to the cluster."""
    import ray

    from superfine.fleet.cluster import connected

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no tests to import
    with connected(cluster.address):
        yield


def rows(output: Path | str) -> list[dict[str, Any]]:
    from superfine.fleet.manifest import read_manifest
    from superfine.fleet.store import Store

    found: list[dict[str, Any]] = read_manifest(Store(f"{output}/_manifest")).to_pylist()
    return found


def files(folder: Path) -> dict[str, bytes]:
    """Every result, without the manifest."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_manifest" not in path.parts
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(["a.png", "b.jpg", "deep/c.tif", "deep/er/d.png", "e.webp"]):
        write_picture(folder / name, seed=number)
    return folder


@pytest.fixture(scope="module")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Make the pictures larger by `superfine upscale`: the results that a fleet must equal."""
    out = tmp_path_factory.mktemp("expected")
    assert upscale_nearest(pictures, out).returncode == 0
    return files(out)


def test_a_folder_becomes_what_the_batch_command_makes_of_it(
    here: None, pictures: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    totals = run_nearest(pictures, str(tmp_path))
    assert files(tmp_path) == expected
    assert (totals.made, totals.failed, totals.deaths, totals.workers) == (5, 0, 0, 2)
    assert set(totals.seconds) == {"read", "compute", "write"}
    found = rows(tmp_path)
    assert [row["target"] for row in found] == sorted(expected)
    for row in found:
        content = expected[row["target"]]
        source = Path(row["source"]).read_bytes()
        assert row["state"] == "done" and not row["error"]
        assert row["target_sha256"] == hashlib.sha256(content).hexdigest() and row["target_bytes"] == len(content)
        assert row["source_sha256"] == hashlib.sha256(source).hexdigest() and row["source_bytes"] == len(source)
        assert (row["source_width"], row["source_height"]) == (40, 30)
        assert (row["target_width"], row["target_height"]) == (80, 60)


def test_a_second_run_wants_to_know_and_a_resumed_one_does_what_is_new_or_changed(
    here: None, pictures: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(pictures, source)
    (source / "broken.png").write_bytes(b"no picture")
    assert run_nearest(source, str(out)).failed == 1
    with pytest.raises(PlanError, match="--resume"):
        run_nearest(source, str(out))
    (source / "broken.png").unlink()
    write_picture(source / "broken.png", seed=9)
    write_picture(source / "a.png", seed=10)
    (out / "b.jpg").unlink()
    totals = run_nearest(source, str(out), resume=True)
    assert (totals.made, totals.there, totals.failed) == (3, 3, 0)
    assert len(rows(out)) == 6


def test_files_that_are_not_ours_are_left_alone(here: None, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    for resume in (False, True):
        totals = run_nearest(pictures, str(tmp_path), resume=resume)
        assert totals.failed == 1 and (tmp_path / "a.png").read_bytes() == b"mine"
    assert next(row for row in rows(tmp_path) if row["target"] == "a.png")["state"] == "refused"
    assert run_nearest(pictures, str(tmp_path), overwrite=True).made == 5
    assert (tmp_path / "a.png").read_bytes() != b"mine"


class Deadly(NearestEngine):
    """Kills its process when it meets a picture whose first pixel is red."""

    def run_uint8(self, tile: np.ndarray) -> np.ndarray:
        if tuple(tile[0, 0]) == (255, 0, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run_uint8(tile)


def test_a_picture_that_kills_its_worker_twice_is_set_aside_and_named(
    here: None, pictures: Path, expected: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(pictures, source)
    red = np.full((30, 40, 3), (255, 0, 0), np.uint8)
    Image.fromarray(red).save(source / "deadly.png")
    lines: list[str] = []
    totals = run_nearest(
        source, str(out), Upscaler(engine=Deadly(2)), progress=lambda totals, name, error: lines.append(error)
    )
    assert (totals.made, totals.failed, totals.deaths) == (5, 1, 2)
    _sum_up(totals)
    assert "; 2 died and were replaced\n" in capsys.readouterr().out
    assert files(out) == expected
    (line,) = filter(None, lines)
    assert "deadly.png is set aside" in line
    assert [row["target"] for row in rows(out) if row["state"] == "set aside"] == ["deadly.png"]


def test_a_large_picture_is_shared_and_its_file_is_that_of_one_machine(here: None, tmp_path: Path) -> None:
    source = write_picture(tmp_path / "in" / "large.tif", (1200, 1400))
    upscaler = Upscaler(engine="nearest", memory="4GiB")  # with a limit, small pictures go by rows too
    totals = run_nearest(source, str(tmp_path / "out"), upscaler, split_from=1)
    assert superfine(
        "upscale", source, "-o", tmp_path / "one.tif", "-s", 2, "--engine", "nearest", "--memory", "4GiB"
    ).returncode == 0  # fmt: skip
    assert (tmp_path / "out" / "large.tif").read_bytes() == (tmp_path / "one.tif").read_bytes()
    (row,) = rows(tmp_path / "out")
    assert totals.made == 1 and row["parts"] > 1 and row["target_width"] == 2400
    assert not list((tmp_path / "out" / "_manifest").glob("parts/*"))


def test_a_film_is_shared_and_joined_without_a_seam_in_time_or_sound(here: None, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from video_files import packets_of, write_film

    (tmp_path / "in").mkdir()
    source = write_film(tmp_path / "in" / "film.mkv", 150)
    totals = run_nearest(source.parent, str(tmp_path / "out"), split_from=1)
    done = superfine("video", source, tmp_path / "one.mkv", "-s", 2, "--engine", "nearest")
    assert done.returncode == 0, done.stderr
    for kind in ("video", "audio", "subtitle"):
        found = packets_of(tmp_path / "out" / "film.mkv", kind)
        assert found and found == packets_of(tmp_path / "one.mkv", kind)
    (row,) = rows(tmp_path / "out")
    assert totals.made == 1 and row["parts"] == 4 and row["frames"] == 150
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


def test_addresses_of_an_object_store_go_in_and_out(
    here: None, s3: str, pictures: Path, expected: dict[str, bytes]
) -> None:
    import s3fs

    store = s3fs.S3FileSystem()
    store.mkdir("archive")
    store.put(f"{pictures}/", "archive/in/", recursive=True)
    write_picture(large := pictures.parent / "large.tif", (1200, 1400))
    store.put(str(large), "archive/large/large.tif")
    assert run_nearest("s3://archive/in", "s3://archive/out").made == 5
    assert {name: store.cat_file(f"archive/out/{name}") for name in expected} == expected
    assert {row["target"] for row in rows("s3://archive/out")} == set(expected)
    assert run_nearest("s3://archive/in", "s3://archive/out", resume=True).there == 5
    upscaler = Upscaler(engine="nearest", memory="4GiB")
    assert run_nearest("s3://archive/large", "s3://archive/larger", upscaler, split_from=1).made == 1
    assert sorted(store.find("archive/larger")) == [
        "archive/larger/_manifest/manifest.parquet",
        "archive/larger/large.tif",
    ]


def test_a_store_that_refuses_is_one_line(here: None, s3: str, pictures: Path) -> None:
    for source, output in ((pictures, "s3://missing/out"), ("s3://missing/in", "s3://archive/other")):
        with pytest.raises(FleetError, match=r"s3://missing.*no such folder, file or bucket"):
            run_nearest(source, output)
    with keys_are_checked(s3), pytest.raises(FleetError, match="check the credentials"):
        run_nearest(pictures, "s3://archive/more")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_stops_the_run_and_loses_nothing(here: None, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    for number in range(12):
        write_picture(tmp_path / "in" / f"{number:02d}.png", (80, 80), number)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk], check=False).returncode:
        pytest.skip("no right to mount")
    try:
        with pytest.raises(FleetError, match=r"no space left on device.*--resume"):
            run_nearest(tmp_path / "in", str(disk))
        done = {row["target"] for row in rows(disk)}
        assert len(done) < 12 and done <= set(files(disk))  # the manifest itself may find no room
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        totals = run_nearest(tmp_path / "in", str(disk), resume=True)
        assert totals.made + totals.there == 12 and totals.there >= len(done)
        assert len(rows(disk)) == 12
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_killed_driver_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    for number in range(30):
        write_picture(tmp_path / "in" / f"{number:02d}.png", (72, 72), number)
    command = ["fleet", tmp_path / "in", tmp_path / "out", "-s", "2", "--address", cluster.address]
    assert superfine("upscale", tmp_path / "in", "-o", tmp_path / "one", "-s", 2).returncode == 0

    driver = subprocess.Popen([*SUPERFINE, *map(str, command)], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(files(tmp_path / "out")) > 3)
    driver.kill()
    driver.wait()
    done = superfine(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "out") == files(tmp_path / "one")
    assert [row["target"] for row in rows(tmp_path / "out")] == sorted(files(tmp_path / "one"))


class Waiting(NearestEngine):
    """Leaves its process's number in a link at its first picture, and waits; a later process goes on."""

    def __init__(self, scale: int, link: Path) -> None:
        super().__init__(scale)
        self.link = link

    def run_uint8(self, tile: np.ndarray) -> np.ndarray:
        with suppress(FileExistsError):
            self.link.symlink_to(str(os.getpid()))  # there with its content, or not there
            time.sleep(60)
        return super().run_uint8(tile)


def test_a_worker_that_is_killed_at_work_costs_nothing(
    here: None, pictures: Path, expected: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, at_work = tmp_path / "out", tmp_path / "at-work"

    def kill() -> None:
        wait_for(at_work.is_symlink)
        os.kill(int(str(at_work.readlink())), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    totals = run_nearest(pictures, str(out), Upscaler(engine=Waiting(2, at_work)))
    killer.join()
    assert (totals.made, totals.failed, totals.deaths) == (5, 0, 1)
    _sum_up(totals)
    assert "; 1 died and was replaced\n" in capsys.readouterr().out
    assert files(out) == expected
    assert [row["target"] for row in rows(out)] == sorted(expected)


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_cannot_be_is_one_line_and_leaves_nothing(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ((pictures, tmp_path / "out", "--address", "127.0.0.1:1"), "no cluster answers at 127.0.0.1:1"),
        ((pictures, tmp_path / "out", "--address", "nowhere"), "want auto, HOST:PORT"),
        ((tmp_path / "empty", tmp_path / "out"), "no pictures"),
        ((pictures, pictures), "replace their sources"),
        (("what://ever", tmp_path / "out"), "what://ever"),
        ((pictures, tmp_path / "out", "--format", "docx"), "unknown format"),
    ):
        assert main(["fleet", *map(str, arguments), "-s", "2", "--engine", "nearest"]) == 2
        assert words in one_clear_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_damaged_manifest_stops_the_run_and_results_stay(here: None, pictures: Path, tmp_path: Path) -> None:
    run_nearest(pictures, str(tmp_path))
    before = files(tmp_path)
    whole = tmp_path / "_manifest" / "manifest.parquet"
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(FleetError, match="the manifest is damaged"):
        run_nearest(pictures, str(tmp_path), resume=True)
    assert files(tmp_path) == before
    whole.unlink()
    assert run_nearest(pictures, str(tmp_path), overwrite=True).made == 5


LOCAL = """
import json, os, sys
from pathlib import Path
from fleet_files import run_nearest
from fleet_kills import ancestors, processes
from superfine.fleet.cluster import connected
with connected(None):
    totals = run_nearest(sys.argv[1], sys.argv[2])
    import ray
    place = Path(ray._private.worker._global_node.get_session_dir_path()).parent
    assert place.is_dir()
    own = {os.getpid(), *(pid for pid, _ in processes() if os.getpid() in ancestors(pid))}
    inodes = set()
    for pid in own:
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(os.readlink(handle))
            except OSError:
                pass
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                listening.append(fields[1].partition(":")[0])
print(json.dumps([totals.made, listening, os.environ["RAY_USAGE_STATS_ENABLED"], place.exists()]))
"""


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux's list of sockets")
def test_on_this_machine_alone_it_listens_to_nobody_else_and_leaves_nothing(pictures: Path, tmp_path: Path) -> None:
    """Started without an address: Ray's processes, all of them, are reached through the loopback interface only."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    here = Path(__file__).parent
    folders = os.pathsep.join([str(here), str(here.parent / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    environment |= {"PYTHONPATH": folders, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", LOCAL, str(pictures), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    made, listening, usage, left = json.loads(done.stdout.splitlines()[-1])
    assert made == 5 and usage == "0" and not left
    # As the kernel writes 127.0.0.1 and ::ffff:127.0.0.1.
    assert listening and set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}
