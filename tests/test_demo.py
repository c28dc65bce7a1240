"""The README's demo, really run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processes import superfine
from superfine.demo import PHOTOGRAPH, draw_sheet
from superfine.demo.compare import Comparison, Contender, compare
from superfine.demo.sheet import CROP, most_detailed
from superfine.errors import ImageError
from superfine.images.resize import downscale

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder the demo has filled, and what it printed: the command of `make demo`, without its pip."""
    command = re.search(r"^\t\$\(BIN\)/superfine (demo .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert command is not None
    folder = tmp_path_factory.mktemp("demo")
    done = superfine(*command[1].split(), cwd=folder, timeout=None)
    assert done.returncode == 0, done.stderr
    return folder / "demo", done.stdout


def test_the_demo_writes_every_result_at_the_originals_size(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    for scale in (2, 3, 4):
        for name in ("bicubic", "cfsrcnn", "esrgcnn"):
            assert Image.open(folder / f"x{scale}-{name}.png").size == (480, 480)
        lr = np.asarray(Image.open(folder / f"x{scale}-lr.png"))
        assert np.array_equal(lr, downscale(np.asarray(Image.open(PHOTOGRAPH)), scale))


def test_the_demo_prints_both_measures_of_every_way_with_their_protocol(demo: tuple[Path, str]) -> None:
    _, printed = demo
    assert "protocol 'standard'" in printed
    for name in ("bicubic", "cfsrcnn", "esrgcnn"):
        assert len(re.findall(rf"{name} +\d\d\.\d\d", printed)) == 3


def test_esrgcnn_beats_bicubic_at_every_scale(demo: tuple[Path, str]) -> None:
    gains = [float(gain) for gain in re.findall(r"esrgcnn +[\d.]+ +([+-][\d.]+)", demo[1])]
    assert len(gains) == 3
    assert min(gains) > 0.5


def test_the_sheet_shows_every_way_side_by_side(demo: tuple[Path, str]) -> None:
    sheet = Image.open(demo[0] / "comparison.png")
    assert sheet.width > 1500 and sheet.height > 1000
    assert len(set(np.asarray(sheet).reshape(-1, 3)[::97].tobytes())) > 50


def test_the_crop_is_where_the_detail_is() -> None:
    picture = np.full((240, 360, 3), 128, np.uint8)
    picture[120 : 120 + CROP[0], 180 : 180 + CROP[1]] = np.random.default_rng(0).integers(0, 256, (*CROP, 3))
    assert most_detailed(picture, CROP) == (120, 180)


def test_a_sheet_can_be_drawn_of_any_photograph_and_any_number_of_ways() -> None:
    original = np.random.default_rng(0).integers(0, 256, (120, 144, 3), dtype=np.uint8)
    ways = (Contender("bicubic", original, 30.0, 0.9, 0.1),)
    narrow = draw_sheet([Comparison(2, original, downscale(original, 2), ways, "none")], "noise")
    wide = draw_sheet([Comparison(2, original, downscale(original, 2), ways * 3, "none")], "noise")
    assert wide.width > narrow.width and wide.height == narrow.height


def test_a_photograph_too_small_to_compare_is_refused() -> None:
    with pytest.raises(ImageError, match="too small"):
        next(compare(np.zeros((40, 400, 3), np.uint8)))
