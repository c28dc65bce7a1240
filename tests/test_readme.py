"""The README and docs/errors.md: every block of commands and of Python is run as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import superfine

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


SHELL = blocks(README, "sh")
INSTALLING = [block for block in SHELL if re.match(r"(make|python3|pip) ", block)]
COMMANDS = [block for block in SHELL if block not in INSTALLING]


def noise(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 60).convert("RGB").save(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with everything the README names, small; and `superfine` on the path."""
    for name in ("photo.jpg", "other.jpg", "holiday/a.jpg", "scans/deep/b.tif"):
        noise(tmp_path / name, (24, 16))
    noise(tmp_path / "Set5/baby.png", (48, 48))
    for number in range(2):
        noise(tmp_path / f"photos/{number}.png", (160, 160))
        noise(tmp_path / f"others/{number}.png", (160, 160))
    program = tmp_path / "bin" / "superfine"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m superfine "$@"\n')
    program.chmod(0o755)
    return tmp_path


def run(place: Path, line: str) -> None:
    path = os.pathsep.join([str(place / "bin"), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["sh", "-c", line], cwd=place, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_the_readme_has_a_block_for_each_reader() -> None:
    assert len(COMMANDS) == 3 and len(blocks(README, "python")) == 1 and len(INSTALLING) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="a shell")
@pytest.mark.parametrize("block", COMMANDS, ids=["photographs", "research", "makers"])
def test_every_line_of_every_block_of_commands_runs(block: str, place: Path) -> None:
    for line in block.splitlines():
        command = line.partition("  #")[0].strip()
        if command.startswith("superfine video"):
            av = pytest.importorskip("av")
            make_clip(av, place / "clip.mp4")
        if command.startswith("superfine train"):
            shrink(place / "my-photos.toml")
            command += "" if "--dry-run" in command else " --minutes 0.02"
        if "doctor" in command:  # what a second of training made is not fit for use, and doctor says so
            command += "; test $? -le 1"
        for large, small in {"3840x2160": "64x36", "30x40cm": "3x4mm", "--long-edge 4000": "--long-edge 60"}.items():
            command = command.replace(large, small)
        if "--resume" in command:  # the run before was not interrupted
            shutil.rmtree(place / "holiday-x2")
        run(place, command)


def shrink(recipe: Path) -> None:
    """Name a tiny network and tiny batches in a recipe."""
    text = recipe.read_text()
    for key, value in {"width": 12, "distilled": 4, "blocks": 1, "patch": 16, "batch": 2}.items():
        text = re.sub(rf"^{key} = \d+", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
    recipe.write_text(text)


def make_clip(av: object, path: Path) -> None:
    with av.open(str(path), "w") as container:  # type: ignore[attr-defined]
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for shade in (0, 200):
            frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), shade, np.uint8))  # type: ignore[attr-defined]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("page", ["README.md", "docs/errors.md"])
def test_every_block_of_python_runs(page: str, place: Path) -> None:
    for block in blocks((ROOT / page).read_text(encoding="utf-8"), "python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=place, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr


def test_what_is_installed_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = "".join(INSTALLING)
    assert set(re.findall(r"'\.\[(\w+)\]'", text)) == set(extras)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) <= targets
    assert (ROOT / "constraints.txt").is_file()


def test_every_error_is_on_its_page() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    errors = [name for name in superfine.__all__ if name.endswith("Error")]
    assert errors and all(f"| `{name}`" in page for name in errors)


def test_every_link_to_a_file_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_page_of_a_wheel_has_no_relative_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    import setup

    absolute = setup.page(README, "https://example.org/superfine")
    assert "(https://example.org/superfine/raw/main/docs/comparison.png)" in absolute
    assert "[CHANGELOG.md](https://example.org/superfine/blob/main/CHANGELOG.md)" in absolute
    plain = setup.page(README, "")
    for page in (absolute, plain):
        assert all(re.match("https?:|#", target) for target in re.findall(r"\]\(([^)]+)\)", page))
    assert setup.address('repository-code: "https://example.org/x"\n') == "https://example.org/x"
