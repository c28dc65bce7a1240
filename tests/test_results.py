"""benchmark/results_page.py: the pages hold the files' figures, and the committed ones are what it writes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from superfine.benchmark import Request, complexity, load, run
from superfine.benchmark.results_page import BEGIN, END, merge, put_block, readme_block, results_page
from superfine.errors import DataError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("sets")
    for seed, name in enumerate(("Set14", "Set5")):
        (base / name).mkdir()
        pixels = np.random.RandomState(seed).randint(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(base / name / "a.png")
    return base


@pytest.fixture(scope="module")
def result(folder):
    return run(Request([folder], ["bicubic", "nearest"], [2], ["paper", "standard"]))


def test_page_holds_every_figure_its_protocols_and_what_it_was_measured_on(result):
    text = results_page([result])
    for row in result.rows:
        assert f"{row.figures['psnr']:.2f} / {row.figures['ssim']:.4f}" in text
    assert all(record.sha256[:16] in text for record in result.sets)
    assert "| `paper` | truncated | Y | to 8 bits | opened as RGB | scale |" in text
    assert text.index("Set5 x2 |") < text.index("Set14 x2 |") and "RDN (printed)" in text


def test_readme_block_holds_psnr_under_standard_only(result):
    block = readme_block([result])
    row = result.row("Set5", 2, "bicubic", "standard")
    assert f"{row.figures['psnr']:.2f}" in block and "SSIM" not in block and "paper" not in block
    assert block.startswith(BEGIN) and block.endswith(END)


def test_block_replaces_what_stands_between_the_markers_and_nothing_else():
    before = f"# Title\n{BEGIN}\nold\n{END}\nrest\n"
    after = put_block(before, f"{BEGIN}\nnew\n{END}")
    assert after == f"# Title\n{BEGIN}\nnew\n{END}\nrest\n" and put_block(after, f"{BEGIN}\nnew\n{END}") == after


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_file_without_its_markers_is_refused(text):
    with pytest.raises(DataError, match=r"README.md needs one line"):
        put_block(text, "block", "README.md")


def test_several_files_make_one_table(folder, result):
    parts = [run(Request([folder], [name], [2], ["paper", "standard"])) for name in ("bicubic", "nearest")]
    both = merge(parts)
    keys = [(row.set, row.model, row.protocol, row.figures) for row in both.rows]
    assert all((row.set, row.model, row.protocol, row.figures) in keys for row in result.rows)


def test_files_of_other_pictures_or_weights_are_refused(result):
    other = replace(result, sets=[replace(result.sets[0], sha256="0" * 64)])
    with pytest.raises(DataError, match="disagree about"):
        merge([result, other])
    other = replace(result, models=[result.models[0] | {"weights_sha256": "1" * 64}])
    with pytest.raises(DataError, match="different weights called bicubic"):
        merge([result, other])
    with pytest.raises(DataError, match="no result files"):
        merge([])


def test_committed_results_page_is_what_the_command_writes():
    files = sorted((ROOT / "docs" / "results").glob("benchmark*.json"))
    costs = ROOT / "docs" / "results" / "complexity.json"
    wanted = results_page([load(path) for path in files], complexity.load(costs))
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == wanted


def test_committed_readme_table_is_what_the_command_writes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "docs" / "results").glob("benchmark*.json"))
    assert put_block(text, readme_block([load(path) for path in files])) == text
