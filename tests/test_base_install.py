"""The base install, without any extra: every command and every public name works, or says in one line what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from superfine.cli import COMMANDS
from superfine.native.library import instructions

ROOT = Path(__file__).resolve().parents[1]

MODULES = {
    "av": ["av"],
    "fastapi": ["fastapi"],
    "fsspec": ["fsspec"],
    "huggingface_hub": ["huggingface_hub"],
    "imagecodecs": ["imagecodecs"],
    "mkdocstrings-python": ["mkdocstrings_handlers"],
    "ncnn": ["ncnn"],
    "onnx": ["onnx"],
    "onnxruntime": ["onnxruntime"],
    "onnxscript": ["onnxscript", "onnx_ir"],
    "OpenEXR": ["OpenEXR"],
    "pillow-heif": ["pillow_heif"],
    "psd-tools": ["psd_tools"],
    "pillow-jxl-plugin": ["pillow_jxl"],
    "prometheus-client": ["prometheus_client"],
    "python-multipart": ["multipart", "python_multipart"],
    "pyarrow": ["pyarrow"],
    "ray": ["ray"],
    "s3fs": ["s3fs"],
    "spandrel": ["spandrel"],
    "tensorboard": ["tensorboard"],
    "torch": ["torch"],
    "torchmetrics": ["torchmetrics"],
    "torchvision": ["torchvision"],
    "zensical": ["zensical"],
    "uvicorn": ["uvicorn"],
}
"""A package of an extra → the modules it installs. Not pydantic: typer brings it along."""

SITE = """
from importlib.machinery import PathFinder
import importlib.machinery
hidden = {hidden!r}
find = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in hidden else find(name, path, target)
PathFinder.find_spec = find_spec
"""
"""Python runs it at its start; the modules of the extras are then as absent as if they were not installed."""

COMMAND_LINES = """
import contextlib, io, json, sys, traceback
from superfine.__main__ import main
results = []
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(line)
        except BaseException:
            code = traceback.format_exc()
    results.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""

LINES = {
    "upscale": "upscale photo.png -o large.png -s 2",
    "video": "video clip.mp4 large.mp4",
    "web": "web --port 0 --no-open",
    "fleet": "fleet set out",
    "inspect": "inspect photo.png",
    "models": "models",
    "demo": "demo small.png -o demo",
    "benchmark": "benchmark set -m bicubic -s 2",
    "explain": "explain a.json b.json",
    "complexity": "complexity esrgcnn",
    "bench": "bench -m nothing",
    "parity": "parity nothing",
    "data": "data list",
    "results": "results",
    "recipe": "recipe mine --data set",
    "train": "train mine.toml",
    "pack": "pack set -o set.pack --smallest 16 --workers 1",
    "report": "report runs/mine",
    "doctor": "doctor esrgcnn",
    "export": "export esrgcnn -o models",
    "quantize": "quantize esrgcnn set",
}
NEEDS = {
    "video": "video",
    "web": "web",
    "fleet": "fleet",
    "recipe": "train",
    "train": "train",
    "report": "train",
    "doctor": "torch",
    "export": "export",
}
"""Command → the extra that a user of the base install is sent to. The others work with what is there."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python finds no package of the extras."""
    folder = tmp_path_factory.mktemp("site")
    hidden = {module for modules in MODULES.values() for module in modules}
    (folder / "sitecustomize.py").write_text(SITE.format(hidden=hidden))
    before = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *before]), "COLUMNS": "100"}


def python(code: str, environment: dict[str, str], *arguments: str, cwd: Path | None = None) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Command → exit code (or a traceback), standard output, standard error."""
    place = tmp_path_factory.mktemp("place")
    (place / "set").mkdir()
    noise = Image.effect_noise((48, 48), 60).convert("RGB")
    for path in ("photo.png", "small.png", "set/a.png"):
        noise.save(place / path)
    (place / "clip.mp4").write_bytes(b"no video")
    (place / "mine.toml").write_text("name = 'mine'")
    names = sorted(COMMANDS, key=lambda name: name != "pack")  # it forks, which must come before OpenVINO's threads
    lines = json.dumps([LINES[name].split() for name in names])
    return dict(zip(names, json.loads(python(COMMAND_LINES, environment, lines, cwd=place)), strict=True))


def test_every_package_of_an_extra_is_hidden(environment: dict[str, str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {line.partition(">")[0] for name, lines in extras.items() if name != "dev" for line in lines}
    assert {name for name in packages if not name.startswith("superfine[")} == {*MODULES, "pydantic"}
    code = "from importlib.util import find_spec; print([n for n in {!r} if find_spec(n)])"
    assert python(code.format([name for names in MODULES.values() for name in names]), environment).strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_works_or_names_the_extra_it_needs(name: str, results: dict[str, list[Any]]) -> None:
    code, _, err = results[name]
    assert "Traceback" not in f"{code}{err}"
    if name in NEEDS:
        line = err.splitlines()
        assert code == 2 and len(line) == 1 and line[0].startswith("superfine: ")
        assert "pip install" in err and f"[{NEEDS[name]}]'" in err
    else:
        assert "pip install" not in err
        assert code == 0 or len(err.splitlines()) == 1


def test_an_extra_that_a_command_is_said_to_need_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {each.extra for each in COMMANDS.values()} - {""} <= set(extras)


PUBLIC = """
import superfine
for name in superfine.__all__:
    assert getattr(superfine, name).__doc__ or name == "__version__", name
try:
    superfine.load_network("esrgcnn")
except superfine.SuperfineError as error:
    print(error)
"""


def test_every_public_name_is_there_and_documented_and_the_one_that_needs_pytorch_says_so(
    environment: dict[str, str],
) -> None:
    said = python(PUBLIC, environment)
    assert len(said.splitlines()) == 1 and "[torch]'" in said


def test_a_picture_is_upscaled_from_python(environment: dict[str, str], tmp_path: Path) -> None:
    Image.new("RGB", (9, 6), (10, 200, 30)).save(tmp_path / "a.png")
    code = "import superfine; print(superfine.upscale('a.png', scale=2).size)"
    assert python(code, environment, cwd=tmp_path).strip() == "(18, 12)"


def test_without_openvino_pictures_are_upscaled_and_its_engine_says_one_line(tmp_path: Path) -> None:
    # As on a Mac with Intel's processor, for which OpenVINO has no wheels.
    if instructions() is None:
        pytest.skip("the kernels are not compiled, or not for this processor")
    (tmp_path / "sitecustomize.py").write_text(SITE.format(hidden={"openvino", "torch"}))
    Image.new("RGB", (9, 6), (10, 200, 30)).save(tmp_path / "a.png")
    small = "upscale a.png -s 2 -o"
    lines = [f"{small} b.png", f"{small} c.png --precision int8", "bench --size 16 --repeat 1"]
    lines.append(f"{small} c.png --device gpu:7")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "src")]), "COLUMNS": "200"}
    asked = json.dumps([line.split() for line in lines])
    whole, int8, bench, gpu = json.loads(python(COMMAND_LINES, environment, asked, cwd=tmp_path))
    assert whole[0] == 0 and Image.open(tmp_path / "b.png").size == (18, 12)
    assert int8[0] == 2 and int8[2].startswith("superfine: engine 'openvino' needs OpenVINO, which is not installed")
    assert bench[0] == 0 and "auto chooses native" in bench[1] and "openvino" not in bench[1]
    assert gpu[0] == 2 and "no device 'gpu:7' here" in gpu[2]
    assert all(each[2].count("\n") <= 1 for each in (int8, gpu))
