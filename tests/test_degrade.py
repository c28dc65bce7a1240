"""benchmark/degrade.py: what is done to LR pictures is what its words say, and every table states it."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from superfine.__main__ import main
from superfine.benchmark import Request, run, tables
from superfine.benchmark.degrade import Degradation, degrade, name_of, parse_degradations
from superfine.benchmark.explain import explain
from superfine.benchmark.explain_steps import SetupMeasurer, measure_steps
from superfine.errors import DataError
from superfine.images.resize import downscale


def waves(height, width):
    y, x = np.mgrid[:height, :width] / 5.0
    return np.stack([127 + 60 * np.sin(x + c) + 60 * np.cos(y * (c + 1)) for c in range(3)], axis=-1).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Set5").mkdir()
    Image.fromarray(waves(48, 64)).save(tmp_path / "Set5" / "colour.png")
    Image.fromarray(waves(48, 64)[..., 0]).save(tmp_path / "Set5" / "gray.png")
    return tmp_path / "Set5"


def test_jpeg_is_what_pillow_writes_at_that_quality():
    lr = waves(40, 56)
    file = io.BytesIO()
    Image.fromarray(lr).save(file, "JPEG", quality=40, subsampling=2)
    found = degrade(lr, parse_degradations("jpeg:40"))
    assert np.array_equal(found, np.asarray(Image.open(file))) and not np.array_equal(found, lr)


def test_noise_has_the_sigma_asked_for_and_is_the_same_in_every_run_and_other_for_another_picture():
    flat = np.full((200, 200, 3), 128, np.uint8)
    first = degrade(flat, parse_degradations("noise:15"))
    assert np.array_equal(first, degrade(flat, parse_degradations("noise:15")))
    noise = first.astype(int) - 128
    assert noise.std() == pytest.approx(15, rel=0.02) and abs(noise.mean()) < 0.3
    # Channels are drawn on their own, and so is another picture's noise.
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03
    other = degrade(flat + 1, parse_degradations("noise:15")).astype(int) - 129
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.03


def test_blur_spreads_a_point_as_a_gaussian_of_that_sigma_and_keeps_a_flat_picture():
    point = np.zeros((41, 41, 1), np.uint8)
    point[20, 20] = 255
    found = degrade(point, parse_degradations("blur:1.0"))[..., 0]
    # A Gaussian of sigma 1, sampled and normalised: 0.39894 at its middle, e^-0.5 of that one pixel away.
    assert found[20, 20] == round(255 * 0.39894**2) and found[20, 21] == round(255 * 0.39894**2 * 0.60653)
    flat = np.full((5, 7, 3), 90, np.uint8)
    assert np.array_equal(degrade(flat, parse_degradations("blur:3")), flat)


def test_several_are_applied_in_the_order_given():
    lr = waves(40, 56)
    by_hand = degrade(degrade(lr, [Degradation("noise", 15)]), [Degradation("jpeg", 40)])
    assert np.array_equal(degrade(lr, parse_degradations("noise:15,jpeg:40")), by_hand)
    assert not np.array_equal(degrade(lr, parse_degradations("jpeg:40,noise:15")), by_hand)


def test_names_are_read_back():
    assert name_of(parse_degradations(" blur:1.0, noise:15,jpeg:40 ")) == "blur:1,noise:15,jpeg:40"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jpg:40", "cannot degrade by 'jpg:40'; write jpeg:40, noise:15 or blur:1.0"),
        ("jpeg", "no JPEG quality ''"),
        ("jpeg:0", "no JPEG quality '0'"),
        ("jpeg:101", "from 1 to 100"),
        ("jpeg:40.5", "whole number"),
        ("noise:0", "above 0, up to 255"),
        ("noise:nan", "no amount 'nan'"),
        ("noise:300", "no amount '300'"),
        ("blur:-1", "no amount '-1'"),
        ("blur:inf", "up to 20"),
        ("jpeg:40,", "cannot degrade by ''"),
        ("", "cannot degrade by ''"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text, words, capsys, tmp_path):
    with pytest.raises(DataError) as caught:
        parse_degradations(text)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert main(["benchmark", str(tmp_path), "-m", "bicubic", "--degrade", text]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_figures_are_those_of_the_degraded_picture_and_a_gray_one_stays_gray(folder):
    kept = {}
    jpeg = parse_degradations("noise:9,jpeg:30")
    request = Request([folder], ["bicubic"], [2], ["matlab"], ["psnr", "consistency"], degradations=jpeg)
    request.keep = lambda set, scale, pair, enlarged: kept.update({pair.name: pair})
    degraded, clean = run(request), run(Request([folder], ["bicubic"], [2], ["matlab"]))
    assert degraded.rows[0].figures["psnr"] < clean.rows[0].figures["psnr"] - 1
    colour, gray = kept["colour"], kept["gray"]
    assert np.array_equal(colour.lr, degrade(downscale(waves(48, 64), 2), jpeg))
    assert np.array_equal(gray.lr[..., :1], degrade(downscale(waves(48, 64)[..., :1], 2), jpeg))
    assert np.ptp(gray.lr, axis=2).max() == 0
    assert np.array_equal(colour.hr, waves(48, 64))


def test_every_form_of_the_result_states_it_and_shows_no_printed_figure(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = ["--json", "o.json", "--csv", "o.csv", "--markdown", "o.md", "--html", "o.html", "--save", "o"]
    degrade = ["--degrade", "blur:0.8", "--degrade", "jpeg:40"]
    asked = ["-m", "bicubic", "-s", "2", "-p", "paper", *degrade, *files]
    assert main(["benchmark", "Set5", *asked]) == 0
    texts = [capsys.readouterr().out, *((tmp_path / f"o.{kind}").read_text() for kind in ("json", "csv", "md", "html"))]
    assert all("Set5 blur:0.8,jpeg:40" in text and "printed)" not in text for text in texts)
    for text in (texts[0], texts[3], texts[4]):
        assert "LR degraded by Gaussian blur of sigma 0.8 LR pixels, then JPEG of quality 40" in text
    assert json.loads(texts[1])["sets"][0]["degraded"] == "blur:0.8,jpeg:40"
    assert (tmp_path / "o" / "Set5 blur0.8,jpeg40" / "x2" / "gray_bicubic.png").is_file()


def test_explain_tells_a_degraded_result_from_a_clean_one_and_measures_it(folder):
    clean = run(Request([folder], ["bicubic"], [2]))
    worse = run(Request([folder], ["bicubic"], [2], degradations=parse_degradations("noise:12")))
    (found,) = explain(clean, worse)
    assert [(each.name, each.before, each.after) for each in found.factors] == [
        ("degradation of LR", "none", "noise:12")
    ]
    (step,) = measure_steps(found, SetupMeasurer([folder]), ["psnr"])
    assert step.before["psnr"] == pytest.approx(clean.rows[0].figures["psnr"])
    assert step.after["psnr"] == pytest.approx(worse.rows[0].figures["psnr"])


def test_tables_name_the_degraded_set_beside_the_clean_one(folder):
    worse = run(Request([folder], ["bicubic"], [2], degradations=parse_degradations("jpeg:40")))
    (grid,) = tables.grids(worse)
    assert grid.columns == ("Set5 jpeg:40 x2",)
