"""The queue, turns, limits and temporary files of `superfine web`; cancelling, and what a killed server leaves."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

import httpx2

from processes import assert_refused, superfine
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import make_target, plan_size
from superfine.web.examine import Subject, video_suffix
from superfine.web.jobs import SMALL, Job, JobQueue, Order
from superfine.web.limits import RateLimiter, client_of
from superfine.web.parameters import clean_name, result_name
from superfine.web.problems import Problem
from superfine.web.storage import Storage, sweep
from superfine.web.turn import Turn
from test_private import GUARD
from web_server import web_server


def job_of(client: str, side: int = 10) -> Job:
    """A job that doubles a square picture."""
    target = make_target(2)
    plan = plan_size(side, side, target, (2, 3, 4))
    order = Order("esrgcnn", target, Settings())
    return Job(client, "a.png", "a-x2.png", order, Subject("picture", ".png", side, side), plan, Path(), Path(), Path())


def png(side: int, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


# The queue


def test_clients_are_served_in_turn_whatever_one_of_them_has_sent() -> None:
    queue = JobQueue(100, 100)
    many = [job_of("many") for _ in range(5)]
    one, two = job_of("one"), job_of("two")
    for job in (*many, one, two):
        queue.put(job)
    assert [queue.ahead(job) for job in (many[0], one, two, many[1], many[4])] == [0, 1, 2, 3, 6]
    taken = [queue.take() for _ in range(7)]
    assert taken == [many[0], one, two, *many[1:]]


def test_the_queue_is_bounded_for_all_and_for_each() -> None:
    queue = JobQueue(3, 2)
    for _ in range(2):
        queue.check("one", 7)
        queue.put(job_of("one"))
    with pytest.raises(Problem) as refused:
        queue.check("one", 7)
    assert (refused.value.status, refused.value.retry_after) == (429, 7)
    queue.check("two", 7)
    queue.put(job_of("two"))
    with pytest.raises(Problem) as refused:
        queue.check("three", 9)
    assert (refused.value.status, refused.value.retry_after) == (503, 9)


def test_the_second_worker_takes_small_pictures_only_and_a_cancelled_job_is_not_taken() -> None:
    queue = JobQueue(9, 9)
    large, small, gone = job_of("one", side=2001), job_of("one"), job_of("two")
    assert large.pixels > SMALL
    for job in (large, gone, small):
        queue.put(job)
    assert queue.remove(gone) and not queue.remove(gone)
    assert queue.take(small_only=True) is small
    assert queue.take() is large
    waiting: list[Job | None] = []
    thread = threading.Thread(target=lambda: waiting.append(queue.take()))
    thread.start()
    queue.put(last := job_of("one"))
    thread.join(5)
    assert waiting == [last]
    assert queue.close() == [] and queue.take() is None


def test_turns_are_taken_in_order_and_passed_on() -> None:
    turn, order = Turn(quantum=0), list[str]()
    turn.take()

    def other() -> None:
        turn.take()
        order.append("other")
        turn.give()

    thread = threading.Thread(target=other)
    thread.start()
    while not turn._line:
        time.sleep(0.001)
    order.append("first")
    turn.pass_on()
    order.append("first again")
    assert turn.mine
    turn.give()
    thread.join(5)
    assert order == ["first", "other", "first again"]


# Limits and names


def test_a_bucket_of_requests_empties_and_fills() -> None:
    limiter = RateLimiter(2)
    assert [limiter.take("a", 0.0) for _ in range(3)] == [0, 0, 30]
    assert limiter.take("b", 0.0) == 0
    assert limiter.take("a", 29.0) > 0 and limiter.take("a", 31.0) == 0


def test_a_network_of_ipv6_is_one_client() -> None:
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:2") != client_of("2001:db8:0:1::1")
    assert client_of("10.0.0.1") != client_of("10.0.0.2")


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        (None, "picture"), ("", "picture"), ("a.png", "a.png"), ("holiday/a b.png", "holiday/a b.png"),
        ("../../etc/passwd", "etc/passwd"), ("C:\\Users\\me\\a.png", "C_/Users/me/a.png"), ("/", "picture"),
        ("a\nb\0.png", "ab.png"), (".hidden", "hidden"), ("x" * 999 + ".png", "x" * 150),
    ],
)  # fmt: skip
def test_names_of_clients_become_harmless(given: str | None, clean: str) -> None:
    assert clean_name(given) == clean


def test_results_are_named_after_their_sources() -> None:
    assert result_name("holiday/a.jpg", "-x2", ".png") == "holiday/a-x2.png"


@pytest.mark.parametrize(
    ("start", "suffix"),
    [
        (b"\0\0\0\x18ftypisom", ".mp4"), (b"\0\0\0\x14ftypqt  ", ".mov"), (b"\0\0\0\x1cftypavif", None),
        (b"\0\0\0\x18ftypheic", None), (b"\x1a\x45\xdf\xa3....webm", ".webm"), (b"RIFF....AVI LIST", ".avi"),
        (b"RIFF....WEBP", None), (b"#EXTM3U\n", None), (b"ffconcat version 1.0\nfile /etc/passwd", None),
    ],
)  # fmt: skip
def test_only_containers_of_videos_get_to_ffmpeg(start: bytes, suffix: str | None) -> None:
    assert video_suffix(start) == suffix


# Temporary files


def test_a_folder_lives_as_long_as_its_process(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    (storage.new_folder() / "source.png").write_bytes(b"12345")
    (tmp_path / "superfine-web-young").mkdir()  # its owner may be just about to lock it
    (tmp_path / "other").mkdir()
    assert storage.used() == 5
    assert sweep(tmp_path) == 0 and storage.folder.is_dir()
    storage.close()
    assert {path.name for path in tmp_path.iterdir()} == {"superfine-web-young", "other"}


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with web_server(tmp_path, "--engine", "nearest") as (client, process):
        job = client.post("/v1/jobs", content=png(40)).json()
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 200
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        (left,) = tmp_path.glob("superfine-web-*")
        assert list(left.rglob("source.png"))
    with web_server(tmp_path, "--engine", "nearest"):
        (folder,) = tmp_path.glob("superfine-web-*")
        assert folder != left and [path.name for path in folder.iterdir()] == ["lock"]
    assert not list(tmp_path.iterdir())  # and one that is stopped leaves nothing


def test_a_server_connects_to_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home, place = tmp_path / "home", tmp_path / "place"
    home.mkdir()
    place.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT", "LANG") if name in os.environ}
    command = [sys.executable, "-c", GUARD, str(tmp_path / "report.json"), "web", "--port", "0", "--no-open"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**kept, "HOME": str(home), "TMPDIR": str(place)}
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[2]
        answer = httpx2.post(f"{address}v1/upscale", params={"scale": "2"}, content=png(8), timeout=60)
        assert answer.status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "stopped; all temporary files are gone\n"
    assert process.returncode == 0
    assert json.loads((tmp_path / "report.json").read_text())[0] == []
    assert not list(home.rglob("*")) and not list(place.iterdir())


# A server with small limits


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A server that is slow (the real engine on small tiles), and where few jobs may wait."""
    options = ("--tile", "24", "--max-waiting", "4", "--max-seconds", "30", "--token", "secret")
    with web_server(tmp_path_factory.mktemp("temporary"), *options) as (client, _):
        client.headers["authorization"] = "Bearer secret"
        yield client


def state_of(client: httpx2.Client, job: dict[str, Any]) -> str:
    return str(client.get(f"/v1/jobs/{job['id']}").json()["state"])


def wait_for(client: httpx2.Client, job: dict[str, Any], *states: str) -> None:
    end = time.monotonic() + 30
    while state_of(client, job) not in states:
        assert time.monotonic() < end, states
        time.sleep(0.02)


def test_the_token_is_wanted_everywhere_but_for_health(client: httpx2.Client) -> None:
    with httpx2.Client(base_url=client.base_url) as stranger:
        assert stranger.get("/healthz").status_code == 200
        for answer in (
            stranger.get("/v1/models"),
            stranger.post("/v1/upscale", content=png(8)),
            stranger.get("/v1/models", headers={"authorization": "Bearer wrong"}),
            stranger.get("/", params={"token": "wrong"}),
        ):
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        page = stranger.get("/", headers={"accept": "text/html"})
        assert page.status_code == 200 and 'name="token"' in page.text and "app.js" not in page.text
        entered = stranger.get("/", params={"token": "secret"})
        assert entered.status_code == 303 and entered.headers["location"] == "/"
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert stranger.get("/v1/models").status_code == 200  # the client keeps the cookie


def test_cancelling_ends_the_work_within_a_tile_and_removes_its_files(client: httpx2.Client) -> None:
    job = client.post("/v1/jobs", params={"scale": "4"}, content=png(200)).json()
    wait_for(client, job, "running")
    while client.get(f"/v1/jobs/{job['id']}").json()["share"] == 0:
        time.sleep(0.02)
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    small = client.post("/v1/upscale", params={"scale": "2"}, content=png(8))
    assert small.status_code == 200
    end = time.monotonic() + 20
    while client.get("/healthz").json()["running"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert 'superfine_jobs_total{model="auto",state="cancelled"}' in client.get("/metrics").text


def test_who_hangs_up_cancels(client: httpx2.Client) -> None:
    body = png(200)
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        lines = ("POST /v1/upscale HTTP/1.1", "Host: 127.0.0.1", "Authorization: Bearer secret")
        connection.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        while not client.get("/healthz").json()["running"]:
            time.sleep(0.02)
    end = time.monotonic() + 20
    while client.get("/healthz").json()["running"]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_full_queue_says_when_to_come_again_and_small_pictures_pass_a_large_one(client: httpx2.Client) -> None:
    large = client.post("/v1/jobs", params={"scale": "4"}, content=png(1001)).json()  # 16 million pixels
    wait_for(client, large, "running")
    waiting = [client.post("/v1/jobs", params={"scale": "4"}, content=png(1001)).json() for _ in range(2)]
    full = client.post("/v1/jobs", content=png(8))
    assert full.status_code == 429 and int(full.headers["retry-after"]) >= 1
    assert "2 of your pictures wait" in full.json()["detail"]
    assert [client.get(f"/v1/jobs/{job['id']}").json()["ahead"] for job in waiting] == [0, 1]
    client.delete(f"/v1/jobs/{waiting[1]['id']}")
    small = client.post("/v1/upscale", params={"scale": "2"}, content=png(8))
    assert small.status_code == 200 and state_of(client, large) == "running"
    for job in (waiting[0], large):
        client.delete(f"/v1/jobs/{job['id']}")


def test_options_that_make_no_sense_are_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refused(superfine("web", "--no-open", "--port", port), f"port {port}")
    assert_refused(superfine("web", "--no-open", "--port", 0, "--engine", "steam"), "unknown engine 'steam'")
    assert_refused(superfine("web", "--no-open", "--port", 0, "--max-upload", "much"), "much")
    assert_refused(superfine("web", "--no-open", "--port", 70000), "65535")
