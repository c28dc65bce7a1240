"""The sheet of hard crops a release is looked at with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hard_crops import GAP, LINE, ZOOM, HardCrop, main, sheet
from superfine.benchmark.pictures import Box
from superfine.errors import DataError

CROPS = (HardCrop("ramp", "01", Box(8, 4, 20, 10)), HardCrop("noise", "02", Box(0, 0, 20, 10)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, :, None] * 5, (36, 48, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "kodim01.png")
    Image.fromarray(rng.integers(0, 256, (36, 48, 3), dtype=np.uint8)).save(tmp_path / "kodim02.png")
    return tmp_path


def test_a_row_a_crop_with_the_original_first_pixel_for_pixel(folder: Path) -> None:
    made = sheet(folder, ["esrgcnn"], 2, CROPS)
    cell_w, cell_h = 20 * ZOOM, 10 * ZOOM
    assert made.size == (3 * (cell_w + GAP) + GAP, 2 * (cell_h + LINE + GAP))
    for number, crop in enumerate(CROPS):
        top = number * (cell_h + LINE + GAP) + GAP
        shown = np.asarray(made)[top : top + cell_h : ZOOM, GAP : GAP + cell_w : ZOOM]
        original = np.asarray(Image.open(folder / f"kodim{crop.picture}.png"))
        assert np.array_equal(shown, crop.box.of(original))
    bicubic, network = (np.asarray(made)[GAP : GAP + cell_h, GAP + k * (cell_w + GAP) :][:, :cell_w] for k in (1, 2))
    assert np.abs(bicubic.astype(int) - network).max() < 16 and not np.array_equal(bicubic, network)


def test_what_is_missing_or_too_small_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="48x36 pixels: too few for the crop of corner"):
        sheet(folder, [], 2, (HardCrop("corner", "01", Box(40, 30, 20, 10)),))
    out = folder / "sheet.png"
    assert main([str(folder), "-o", str(out), "-m", "esrgcnn"]) == 2
    assert "no picture whose name ends in 08: give the folder of the 24 Kodak pictures" in capsys.readouterr().err
    assert not out.exists()
