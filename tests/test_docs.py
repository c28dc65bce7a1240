"""The documentation: its links lead somewhere, its blocks run, its generated pages are current, its notebook runs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pages
from superfine.__main__ import main
from superfine.demo import PHOTOGRAPH

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def blocks(page: str) -> list[tuple[str, str]]:
    """List (language, content) of each fenced block of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


RUN = [
    page
    for page in PAGES
    if page.startswith(("start", "guides/")) and {"python", "sh"} & {language for language, _ in blocks(page)}
]
"""Pages whose `python` and `sh` blocks are run as they stand; `console` and `text` are only shown."""


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (DOCS / page).parent / file if file else DOCS / page
        assert path.exists(), f"{page}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {target}"


def test_the_site_has_every_page_and_no_other_and_loads_nothing_from_elsewhere() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]

    def named(entries: list[Any]) -> Iterator[str]:
        for entry in entries:
            for value in entry.values():
                yield from named(value) if isinstance(value, list) else [value]

    assert sorted(named(site["nav"])) == PAGES
    assert site["theme"]["font"] is False
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        assert not re.search(r"!\[[^\]]*\]\(https?:|<(script|img|link)\b", text), page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything the pages name, small."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("photo.jpg", "holiday/a.jpg", "holiday/b.jpg", "scans/deep/b.tif", "photos/a.png", "photos/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((30, 20), 60 + 7 * len(name)).convert("RGB").save(folder / name)
    (folder / "Set5").mkdir()
    Image.open(PHOTOGRAPH).crop((100, 100, 148, 148)).save(folder / "Set5/baby.png")
    return folder


def test_the_pages_that_run_are_the_start_and_the_guides() -> None:
    assert {"start.md", "guides/photograph.md", "guides/folder.md", "guides/compare.md"} < set(RUN)


@pytest.mark.parametrize("page", RUN)
def test_every_block_of_a_page_runs_as_it_stands(
    page: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    names: dict[str, Any] = {"__name__": "page"}
    for language, content in blocks(page):
        if language == "python":
            exec(compile(content, page, "exec"), names)
        elif language == "sh":
            for line in content.splitlines():
                program, *arguments = shlex.split(line, comments=True)
                assert program == "superfine", f"{page}: {line}"
                assert main(arguments) == 0, f"{page}: {line}\n{capsys.readouterr()}"
        else:
            assert language in ("console", "text"), f"{page}: a block of {language}"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the wording of help differs between versions")
def test_generated_pages_are_what_the_program_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", pages.COLUMNS)
    for path, text in pages.files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: python tools/pages.py"


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((ROOT / "examples/superfine.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and all(not cell.get("outputs") for cell in notebook["cells"])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "notebook"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "superfine.ipynb", "exec"), names)
    assert isinstance(names["large"], np.ndarray) and names["large"].shape == (160, 160, 3)


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    zensical = pytest.importorskip("zensical")
    assert zensical
    import subprocess

    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.safetensors", "*.so", "__pycache__")
    )
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link)\b[^>]*(?:src|href)=\"?(https?:[^\" >]+)", page.read_text())
        assert not loaded, f"{page.name} loads {loaded}"
