"""superfine parity: what every engine computes, compared value by value with one reference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from superfine.__main__ import main
from superfine.benchmark import parity
from superfine.cli.parity import BEGIN, END
from superfine.demo import PHOTOGRAPH
from superfine.native.library import instructions


@pytest.fixture(scope="module")
def card() -> parity.Card:
    """A real card of three engines, one of which this machine cannot have."""
    choices = [("openvino", "int8"), ("onnxruntime", "int8")]
    choices.append(("native", "fp32") if instructions() else ("onnxruntime", "fp32"))
    return parity.compare_engines("esrgcnn", 2, choices, PHOTOGRAPH, repeat=1)


def test_engines_in_fp32_agree_to_hundredths_of_a_level_and_int8_is_further_off(card: parity.Card) -> None:
    rows = {(row.engine, row.precision): row for row in card.rows}
    assert card.reference == "pytorch fp32" and card.rows[0].engine == "pytorch"
    assert not card.strayed
    for (_, precision), row in rows.items():
        assert (row.largest < 0.1) == (precision == "fp32")
        assert (row.psnr["photograph"] > 90) == (precision == "fp32")
        assert row.seconds > 0 and row.memory > 2**24
    assert rows["openvino", "int8"].psnr["photograph"] > 30
    assert set(card.missing) == {"onnxruntime int8"}
    (said,) = parity.not_run(card)
    assert said.startswith("onnxruntime ") and ("no int8" in said or "not int8" in said)


def test_a_strayed_engine_is_named(card: parity.Card) -> None:
    off = replace(card.rows[-1], engine="mine", precision="fp32", largest=3.0)
    assert replace(card, rows=(*card.rows, off)).strayed == [off]
    assert replace(card, rows=(replace(off, largest=float("nan")),)).strayed  # no number is no agreement
    assert not replace(card, rows=(replace(off, precision="int8"),)).strayed


def test_differences_are_those_of_the_arrays() -> None:
    one = {"a": np.full((1, 3, 4, 4), 0.5, np.float32), "b": np.zeros((1, 3, 2, 2), np.float32)}
    other = {name: each.copy() for name, each in one.items()}
    other["b"][0, 0, 0, 0] = 2 / 255
    found = parity._difference(other, one)
    assert found["worst"] == "b" and found["largest"] == pytest.approx(2, abs=1e-4)
    assert found["changed"] == pytest.approx(1 / 60)
    assert found["psnr"]["a"] == np.inf
    assert found["psnr"]["b"] == pytest.approx(10 * np.log10(255**2 / (4 / 12)), abs=1e-3)


def test_the_pictures_never_change() -> None:
    pictures = parity.fixed_pictures(PHOTOGRAPH)
    sums = {name: int(each.astype(np.int64).sum()) for name, each in pictures.items()}
    assert {name: each.shape for name, each in pictures.items()} == {
        **dict.fromkeys(("rings", "ramps", "board", "noise"), (96, 96, 3)), "photograph": (160, 160, 3),
    }  # fmt: skip
    assert sums["board"] == 255 * 3 * sum((x // 3 + y // 5) % 2 for x in range(96) for y in range(96))
    assert sums["noise"] == int(np.random.default_rng(0).integers(0, 256, (96, 96, 3)).sum())


def test_cards_go_into_json_and_onto_a_page(card: parity.Card) -> None:
    raw = json.loads(parity.to_json([card]))
    assert raw["cards"][0]["rows"][0]["psnr"]["photograph"] == "inf"
    text = parity.to_markdown([card])
    assert text.count("| openvino | int8 | cpu |") == 1 and "reference" in text


def test_a_page_without_markers_and_an_unknown_engine_are_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text("# A page\n")
    assert main(["parity", "--page", str(tmp_path / "page.md")]) == 2
    assert f"lacks the lines {BEGIN} and {END}" in capsys.readouterr().err
    assert main(["parity", "--engine", "abacus"]) == 2
    assert "unknown engine 'abacus'" in capsys.readouterr().err
    assert main(["parity", "nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
