"""The HTTP interface of `superfine web`: the command line's results, clear refusals, and nothing left behind."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

import httpx2

from processes import superfine
from web_server import web_server


def noise(mode: str = "RGB", size: tuple[int, int] = (30, 20)) -> Image.Image:
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    values = np.random.default_rng(3).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    return Image.fromarray(values)


def encoded(image: Image.Image, format: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


PNG = encoded(noise())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[httpx2.Client]:
    """A client of a server with the real engine."""
    with web_server(place, "--max-pixels", "4000000", "--max-upload", "2MB") as (client, _):
        yield client


def refused(answer: httpx2.Response, status: int, *words: str) -> dict[str, Any]:
    """The problem of a refusal, with `words` in its line."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) >= {"type", "title", "status", "detail", "code"} and problem["status"] == status
    assert all(word in problem["detail"] for word in words), problem["detail"]
    assert (
        "\n" not in problem["detail"]
        and "/tmp" not in problem["detail"]
        and "--" not in problem["detail"].replace("--allow", "")
    )
    return problem


def finish(client: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it is over."""
    end = time.monotonic() + 60
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.05)
        job = client.get(f"/v1/jobs/{job['id']}").json()
    return job


@pytest.mark.parametrize(
    ("name", "data", "parameters", "options"),
    [
        ("a.png", PNG, {"scale": "2"}, ["-s", "2"]),
        ("b.jpg", encoded(noise(), "JPEG"), {"width": "75", "format": "webp"}, ["--width", "75", "--format", "webp"]),
        ("c.png", encoded(noise("RGBA")), {"size": "50x50", "fit": "cover"}, ["--size", "50x50", "--fit", "cover"]),
        (
            "d.png", encoded(noise("L")), {"scale": "3", "model": "cfsrcnn", "note": "true"},
            ["-s", "3", "-m", "cfsrcnn", "--note"],
        ),
        ("e.gif", encoded(noise(), "GIF", save_all=True, append_images=[noise("L")]), {"scale": "2"}, ["-s", "2"]),
    ],
    ids=["png", "exact-size", "cover", "other-network", "animation"],
)  # fmt: skip
def test_results_equal_those_of_the_command_line_to_the_bit(
    client: httpx2.Client, tmp_path: Path, name: str, data: bytes, parameters: dict[str, str], options: list[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    done = superfine("upscale", tmp_path / name, "-o", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    (expected,) = (
        [path for path in (tmp_path / "out").iterdir() if path.is_file()]
        if (tmp_path / "out").is_dir()
        else [tmp_path / "out"]
    )
    answer = client.post("/v1/upscale", params=parameters, files={"file": (name, data)})
    assert answer.status_code == 200, answer.text
    assert answer.content == expected.read_bytes()
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{Path(name).stem}-')


def test_a_raw_body_and_a_form_give_the_same(client: httpx2.Client) -> None:
    raw = client.post("/v1/upscale", params={"scale": "2"}, content=PNG)
    form = client.post("/v1/upscale", data={"scale": "2"}, files={"file": ("a.png", PNG)})
    assert raw.status_code == 200 and raw.content == form.content
    with Image.open(io.BytesIO(raw.content)) as image:
        assert image.size == (60, 40)
    assert raw.headers["content-type"] == "image/png" and raw.headers["superfine-size"] == "60x40"


def test_a_job_goes_its_way_and_tells_of_it(client: httpx2.Client) -> None:
    made = client.post("/v1/jobs", params={"scale": "2"}, files={"file": ("holiday/a.png", encoded(noise("RGBA")))})
    assert made.status_code == 202
    path = made.headers["location"]
    events: list[tuple[str, dict[str, Any]]] = []
    with client.stream("GET", f"{path}/events") as stream:
        for block in stream.read().decode().split("\n\n"):
            found = re.fullmatch(r"event: (\w+)\ndata: (.*)", block)
            if found:
                events.append((found[1], json.loads(found[2])))
    last = events[-1][1]
    assert last["state"] == "done" and last["share"] == 1 and last["kept"] == ["transparency"]
    tiles = [data for name, data in events if name == "tile"]
    shares = [data["share"] for name, data in events if name == "job"]
    assert shares == sorted(shares)
    for tile in tiles:
        assert 0 <= tile["left"] < 1 and 0 < tile["width"] <= 1
    result = client.get(f"{path}/result")
    assert (
        result.content
        == client.post("/v1/upscale", params={"scale": "2", "name": "a.png"}, content=encoded(noise("RGBA"))).content
    )
    for of, size in (("source", (30, 20)), ("bicubic", (60, 40)), ("result", (60, 40))):
        with Image.open(io.BytesIO(client.get(f"{path}/view", params={"of": of}).content)) as image:
            assert image.size == size and image.mode == "RGBA"
    again = client.post("/v1/jobs", params={"scale": "3", "again": last["id"]}).json()
    assert finish(client, again)["result"] == {"width": 90, "height": 60}
    archive = client.get("/v1/archive", params={"id": [last["id"], again["id"]]})
    with zipfile.ZipFile(io.BytesIO(archive.content)) as files:
        assert files.testzip() is None
        assert sorted(files.namelist()) == ["holiday/a-x2.png", "holiday/a-x3.png"]
        assert files.read("holiday/a-x2.png") == result.content
    assert client.delete(path).status_code == 204
    refused(client.get(path), 404, "no such job")
    client.delete(f"/v1/jobs/{again['id']}")


def test_the_network_chosen_for_a_picture_is_named(client: httpx2.Client) -> None:
    worn = encoded(noise(), "JPEG", quality=60)
    for model, chosen in (("auto", "esrgcnn-photo"), ("esrgcnn", None)):
        job = client.post("/v1/jobs", params={"scale": "2", "model": model}, content=worn).json()
        job = finish(client, job)
        assert (job["state"], job["model"], job["chosen"]) == ("done", model, chosen)
        assert (job["reason"] or "").startswith("JPEG of quality 60" if chosen else "")
        client.delete(f"/v1/jobs/{job['id']}")


def test_converted_things_are_said(client: httpx2.Client) -> None:
    answer = client.post("/v1/upscale", params={"scale": "2", "format": "jpg"}, content=encoded(noise("RGBA")))
    assert answer.headers["superfine-converted"] == "transparency to a white background"


def bomb() -> bytes:
    """A PNG whose header says 60,000 x 60,000."""
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + PNG[24:29]
    return PNG[:12] + header + zlib.crc32(header).to_bytes(4, "big") + PNG[33:]


@pytest.mark.parametrize(
    ("query", "body", "status", "words"),
    [
        ({}, b"", 400, ["empty"]),
        ({}, b"no picture", 415, ["no picture", "send PNG"]),
        ({}, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, ["pages"]),
        ({}, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 415, ["no picture"]),
        ({}, b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://example.org/'/></svg>", 415, ["SVG"]),
        ({}, PNG[:200], 422, ["damaged"]),
        ({}, encoded(noise(), "JPEG")[:300], 422, ["damaged"]),
        ({}, bomb(), 422, ["60,000"]),
        ({}, encoded(Image.new("L", (2100, 2000))), 413, ["2,100 x 2,000", "4,000,000"]),
        ({"scale": "10"}, encoded(noise("L", (300, 200))), 413, ["3,000 x 2,000", "4,000,000"]),
        ({"scale": "-1"}, PNG, 422, ["scale", "-1"]),
        ({"scale": "2", "width": "50"}, PNG, 422, ["scale and width"]),
        ({"width": "0"}, PNG, 422, ["width", "0"]),
        ({"width": "12px"}, PNG, 422, ["width", "12px"]),
        ({"widht": "50"}, PNG, 422, ["widht", "did you mean 'width'"]),
        ({"model": "../../etc/passwd"}, PNG, 422, ["no model", "esrgcnn"]),
        ({"format": "svg"}, PNG, 422, ["svg", "png"]),
        ({"quality": "101", "format": "jpg"}, PNG, 422, ["quality", "101"]),
        ({"fit": "tight"}, PNG, 422, ["fit", "tight"]),
        ({"again": "nothing"}, PNG, 404, ["no such job"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    client: httpx2.Client, query: dict[str, str], body: bytes, status: int, words: list[str]
) -> None:
    refused(client.post("/v1/upscale", params=query, content=body), status, *words)


def test_a_damaged_picture_fails_its_job_with_the_same_words(client: httpx2.Client) -> None:
    name, body = "photo.png", PNG[:200]
    direct = refused(client.post("/v1/upscale", params={"name": name}, content=body), 422, name, "damaged")
    job = finish(client, client.post("/v1/jobs", params={"name": name}, content=body).json())
    assert job["state"] == "failed" and job["problem"] == direct
    refused(client.get(f"/v1/jobs/{job['id']}/result"), 422, name)


def test_forms_that_are_none_and_bodies_that_are_too_long_are_refused(client: httpx2.Client) -> None:
    kind = {"content-type": "multipart/form-data; boundary=x"}
    refused(client.post("/v1/upscale", content=b"nothing of the kind", headers=kind), 400, "form")
    refused(client.post("/v1/upscale", content=b"", headers={"content-type": "multipart/form-data"}), 400, "form")
    refused(client.post("/v1/upscale", data={"scale": "2"}, files={"picture": ("a.png", PNG)}), 400, "'file'")
    refused(client.post("/v1/upscale", data={"scale": "2"}, params={"scale": "2"}, files={"file": PNG}), 422, "once")
    refused(client.post("/v1/upscale", content=b"x" * 3_000_000), 413, "3,000,000", "2,000,000")

    def pieces() -> Iterator[bytes]:  # without a length
        for _ in range(40):
            yield b"x" * 100_000

    with suppress(httpx2.WriteError):  # the server may have hung up already
        refused(client.post("/v1/upscale", content=pieces()), 413, "2,000,000")


def test_other_paths_and_methods_are_refused(client: httpx2.Client) -> None:
    refused(client.get("/../../etc/passwd"), 404, "nothing at")
    refused(client.get("/v1/upscale"), 405, "GET")
    refused(client.get("/v1/jobs/none/events"), 404)
    refused(client.get("/v1/archive"), 422, "id")


def test_pages_of_other_sites_may_not_use_the_server(client: httpx2.Client) -> None:
    refused(client.get("/healthz", headers={"host": "evil.example"}), 403, "evil.example")
    refused(client.post("/v1/upscale", content=PNG, headers={"origin": "http://evil.example"}), 403, "another site")
    refused(client.post("/v1/upscale", content=PNG, headers={"sec-fetch-site": "cross-site"}), 403, "another site")
    own = {"origin": str(client.base_url).rstrip("/")}
    assert client.post("/v1/upscale", params={"scale": "2"}, content=PNG, headers=own).status_code == 200


def test_every_answer_has_safe_headers_and_names_no_other_server(client: httpx2.Client) -> None:
    for path in ("/", "/app.js", "/style.css", "/nowhere", "/v1/models"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff" and "server" not in answer.headers
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", text), path


def done_jobs(client: httpx2.Client) -> float:
    """The counter of jobs that ended well."""
    found = re.search(r'superfine_jobs_total{model="auto",state="done"} (\S+)', client.get("/metrics").text)
    assert found is not None
    return float(found[1])


def test_openapi_models_limits_health_and_metrics(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/upscale", "/v1/jobs", "/v1/jobs/{id}", "/v1/models", "/healthz", "/metrics"} <= set(paths)
    assert "multipart/form-data" in paths["/v1/upscale"]["post"]["requestBody"]["content"]
    models = [model["name"] for model in client.get("/v1/models").json()]
    assert models[0] == "auto" and {"esrgcnn", "cfsrcnn"} <= set(models)
    assert client.get("/v1/limits").json() == {"upload": 2_000_000, "pixels": 4_000_000}
    assert client.get("/healthz").json()["status"] == "ok"
    before = float(re.search(r'superfine_jobs_total{model="auto",state="done"} (\S+)', client.get("/metrics").text)[1])
    client.post("/v1/upscale", params={"scale": "2"}, content=PNG)
    after = float(re.search(r'superfine_jobs_total{model="auto",state="done"} (\S+)', client.get("/metrics").text)[1])
    assert after == before + 1


def test_nothing_is_left_when_results_have_been_sent(client: httpx2.Client, place: Path) -> None:
    client.post("/v1/upscale", params={"scale": "2"}, content=PNG)
    client.post("/v1/upscale", content=b"no picture")
    time.sleep(0.2)
    (folder,) = place.glob("superfine-web-*")
    jobs = {path.name for path in folder.iterdir()} - {"lock"}
    assert len(jobs) <= 1  # the failed job of a test above, which is kept for its time


def test_the_clients_in_the_documentation_work(client: httpx2.Client, tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs/web.md").read_text(encoding="utf-8")
    address = str(client.base_url).rstrip("/")
    (python,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (curl,) = (block for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "curl" in block)
    noise(size=(40, 30)).save(tmp_path / "photo.jpg")
    assert max(len(block.splitlines()) for block in (python, curl)) <= 10
    for command in ([sys.executable, "-c", python], ["sh", "-ec", curl]):
        if command[0] == "sh" and shutil.which("curl") is None:
            pytest.skip("no curl")
        command[-1] = command[-1].replace("http://127.0.0.1:7860", address)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    sizes = {path.name: Image.open(path).size for path in tmp_path.iterdir() if path.suffix != ".txt"}
    assert sizes == {
        "photo.jpg": (40, 30), "large.png": (80, 60), "large.jpg": (80, 60), "large.webp": (1000, 750),
        "result.jpg": (160, 120),
    }  # fmt: skip
    assert '"state":"done"' in (tmp_path / "events.txt").read_text()


def test_a_clip_goes_in_and_a_clip_comes_out(client: httpx2.Client, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for shade in (0, 100, 200):
            frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), shade, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    made = client.post("/v1/jobs", files={"file": ("clip.mp4", (tmp_path / "clip.mp4").read_bytes())}).json()
    assert made["kind"] == "video" and made["result_name"] == "clip-x2.mp4"
    job = finish(client, made)
    assert job["state"] == "done", job
    result = client.get(f"/v1/jobs/{job['id']}/result")
    assert result.headers["content-type"] == "video/mp4"
    (tmp_path / "result.mp4").write_bytes(result.content)
    with av.open(str(tmp_path / "result.mp4")) as video:
        assert [(frame.width, frame.height) for frame in video.decode(video=0)] == [(64, 48)] * 3
    expected = superfine("video", tmp_path / "clip.mp4", tmp_path / "cli.mp4")
    assert expected.returncode == 0 and (tmp_path / "cli.mp4").read_bytes() == result.content
    client.delete(f"/v1/jobs/{job['id']}")
