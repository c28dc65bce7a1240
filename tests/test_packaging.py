"""What is built from a clone is whole: the source distribution, and a wheel without compiled parts, tried alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from superfine.weights.catalogue import FOLDER, list_models

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = {".gitignore"}


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The names of all files that git tracks."""
    pytest.importorskip("setuptools")
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, a pure wheel built in it."""
    copy = tmp_path_factory.mktemp("clone")
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel"],
        cwd=copy, env=os.environ | {"SUPERFINE_PURE": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return copy


def test_the_source_distribution_holds_every_tracked_file(built: Path, tracked: list[str]) -> None:
    manifest = (built / "src/superfine.egg-info/SOURCES.txt").read_text().splitlines()
    assert set(tracked) - set(manifest) == NOT_SHIPPED


def test_a_pure_wheel_alone_upscales_and_holds_what_the_program_reads(
    built: Path, tracked: list[str], tmp_path: Path
) -> None:
    (wheel,) = (built / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "alone")
        names = set(file.namelist())
    compiled = ("native/cpp/", ".so", ".pyd")
    wanted = {name.removeprefix("src/") for name in tracked if name.startswith("src/") and "cpp/" not in name}
    assert wanted - names == set()
    assert not [name for name in names if any(part in name for part in compiled)]
    Image.new("RGB", (9, 6), (10, 200, 30)).save(tmp_path / "a.png")
    done = subprocess.run(
        [sys.executable, "-m", "superfine", "upscale", "a.png", "-s", "2", "-o", "b.png"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "alone")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "b.png").size == (18, 12)
    code = "from superfine.benchmark.machine import extras; print(*(each.name for each in extras()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "alone")}, capture_output=True, text=True,
    )  # fmt: skip
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(done.stdout.split()) == set(known), done.stderr


def test_the_terms_of_the_weights_name_every_source_of_the_catalogue_with_its_terms() -> None:
    text = (FOLDER / "LICENSE-weights.md").read_text(encoding="utf-8")
    sources = {(each.name, each.terms) for entry in list_models() for each in entry.data}
    assert sources and [f"| {name} | {terms} |" in text for name, terms in sources] == [True] * len(sources)
    licences = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"]
    assert "src/superfine/weights/LICENSE-weights.md" in licences
