"""Nothing is sent and nothing is left behind: no command makes a connection, or a file that was not asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

GUARD = """
import json, os, sys
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"):
        seen.append(f"{event} {arguments[1:]}")
    if event == "subprocess.Popen":
        seen.append(f"{event} {arguments[1]}")
sys.addaudithook(watch)
from superfine.__main__ import main
code = main(sys.argv[2:])
import threading, time
time.sleep(0.2)  # telemetry is sent by threads of its own
open(sys.argv[1], "w").write(json.dumps([seen, sorted(sys.modules)]))
raise SystemExit(code)
"""


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("in") / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["upscale", "PHOTO", "-o", "OUT/large.png", "-s", "2", "--engine", "openvino"],
        ["upscale", "PHOTO", "-o", "OUT/large.png", "-s", "2", "--engine", "pytorch", "--device", "cpu"],
        ["upscale", "PHOTO", "-o", "OUT/large.png", "-s", "2", "--engine", "onnxruntime"],
        ["upscale", "PHOTO", "-o", "OUT/large.png", "-s", "2", "--engine", "openvino", "-m", "FOREIGN"],  # converted
        ["models"],
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_a_command_makes_no_connection_and_no_file_but_its_result(
    arguments: list[str], photo: Path, tmp_path: Path
) -> None:
    home, out, report, folder = (tmp_path / name for name in ("home", "out", "report.json", "working"))
    for each in (home, out, folder):
        each.mkdir()
    if "FOREIGN" in arguments:
        import torch

        import superfine

        torch.save(superfine.load_network("esrgcnn").state_dict(), tmp_path / "foreign.pth")
    names = {"PHOTO": str(photo), "FOREIGN": str(tmp_path / "foreign.pth")}
    given = [names.get(each, each.replace("OUT/", f"{out}/")) for each in arguments]
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", GUARD, str(report), *given],
        env={**kept, "HOME": str(home), "USERPROFILE": str(home)},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen, modules = json.loads(report.read_text())
    assert seen == []
    assert "openvino_telemetry" not in modules
    results = [each.split("/")[-1] for each in arguments if each.startswith("OUT/")]
    assert [path.name for path in out.iterdir()] == results
    assert not list(folder.iterdir())
    assert [path.relative_to(home) for path in home.rglob("*") if path.is_file() and ".cache" not in path.parts] == []
