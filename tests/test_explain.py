"""benchmark/explain.py: every kind of difference is found, and measured steps add up to the whole."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from superfine.benchmark import Request, run
from superfine.benchmark.explain import explain
from superfine.benchmark.explain_steps import SetupMeasurer, measure_steps
from superfine.errors import DataError, ModelError
from superfine.images.resize import downscale, resize


def write(folder, *, gray=False, pictures=3, seed=0, lr=True, spoil=0):
    """An SRF set at x2; `spoil` changes the small pictures by that many levels."""
    for number in range(1, pictures + 1):
        noise = np.random.RandomState(seed + number).rand(12, 14, 1 if gray and number == 1 else 3)
        hr = np.squeeze((np.clip(resize(noise, (48, 56)), 0, 1) * 255).astype(np.uint8))
        small = np.clip(downscale(hr, 2).astype(int) + spoil, 0, 255).astype(np.uint8)
        inside = folder / "x2" if lr else folder
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(hr).save(inside / (f"img_{number}_SRF_2_HR.png" if lr else f"img_{number}.png"))
        if lr:
            Image.fromarray(small).save(inside / f"img_{number}_SRF_2_LR.png")
    return folder


def measured(folder, *, models=("bicubic",), protocols=("paper",)):
    return run(Request([folder], list(models), [2], list(protocols)))


def only(a, b):
    (found,) = explain(a, b)
    return found


def names(found):
    return [factor.name for factor in found.factors]


def test_result_explained_by_itself_differs_in_nothing(tmp_path):
    result = measured(write(tmp_path / "Set"))
    assert only(result, result).factors == []


def test_protocols_differ_by_rounding_colour_gray_and_luma(tmp_path):
    folder = write(tmp_path / "Set", gray=True)
    paper, standard, matlab, rgb = (measured(folder, protocols=[p]) for p in ("paper", "standard", "matlab", "rgb"))
    assert names(only(paper, standard)) == ["rounding of SR to 8 bits", "rounding of luma"]
    assert names(only(standard, rgb)) == ["colour"]
    assert names(only(standard, matlab)) == ["rounding of luma", "gray pictures"]


def test_gray_convention_is_no_difference_where_no_picture_is_gray(tmp_path):
    folder = write(tmp_path / "Set")
    found = only(measured(folder, protocols=["standard"]), measured(folder, protocols=["matlab"]))
    assert names(found) == ["rounding of luma"]


def test_small_pictures_made_differently_are_found(tmp_path):
    a, b = measured(write(tmp_path / "a" / "Set")), measured(write(tmp_path / "b" / "Set", spoil=3))
    assert names(only(a, b)) == ["LR pictures"]


def test_small_pictures_made_on_the_fly_by_the_same_bicubic_are_no_difference(tmp_path):
    a = measured(write(tmp_path / "a" / "Set"))
    b = measured(write(tmp_path / "b" / "Set", lr=False))
    assert (a.sets[0].lr, b.sets[0].lr) == ("file", "made")
    assert names(only(a, b)) == []


def test_other_and_missing_pictures_are_named(tmp_path):
    a, b = measured(write(tmp_path / "a" / "Set")), measured(write(tmp_path / "b" / "Set", pictures=2))
    (factor,) = only(a, b).factors
    assert factor.name == "pictures" and "img_3" in factor.before
    c = measured(write(tmp_path / "c" / "Set", seed=1))
    (factor,) = only(a, c).factors
    assert "3 with other pixels" in factor.after


def test_weights_engine_and_precision_are_found(tmp_path):
    a = measured(write(tmp_path / "Set"))
    model = a.models[0] | {"weights_sha256": "1" * 64, "engine": "openvino", "precision": "fp32"}
    first = replace(a, models=[model])
    second = replace(a, models=[model | {"weights_sha256": "2" * 64, "engine": "pytorch", "precision": "bf16"}])
    assert names(only(first, second)) == ["model and weights", "engine", "precision"]
    assert names(only(first, first)) == []


def test_measured_steps_add_up_to_the_whole_difference(tmp_path):
    a = measured(write(tmp_path / "a" / "Set", gray=True), models=["bicubic"], protocols=["matlab"])
    b = measured(write(tmp_path / "b" / "Set", gray=True, spoil=4), models=["lanczos"], protocols=["rgb"])
    found = only(a, b)
    measurer = SetupMeasurer([tmp_path / "a" / "Set", tmp_path / "b" / "Set"])
    steps = list(measure_steps(found, measurer, ["psnr", "ssim"]))
    assert [step.factor.name for step in steps] == names(found)
    assert names(found) == ["LR pictures", "model and weights", "colour", "gray pictures"]
    assert steps[0].before == pytest.approx(a.rows[0].figures) and steps[-1].after == pytest.approx(b.rows[0].figures)
    assert all(one.after == two.before for one, two in itertools.pairwise(steps))
    # Three equal channels have the PSNR of one, so under rgb the gray convention is worth nothing.
    assert [step.after["psnr"] != step.before["psnr"] for step in steps] == [True, True, True, False]


def test_each_row_is_compared_with_that_of_the_same_model_and_protocol(tmp_path):
    folder = write(tmp_path / "Set")
    a = measured(folder, models=["bicubic", "nearest"], protocols=["paper", "standard"])
    pairs = [(each.first.model, each.first.protocol, each.second.model, each.second.protocol) for each in explain(a, a)]
    assert len(pairs) == 4 and all(pair[:2] == pair[2:] for pair in pairs)
    b = measured(folder, models=["bicubic", "lanczos"], protocols=["paper"])
    assert [(each.first.model, each.second.model) for each in explain(a, b)] == [
        ("bicubic", "bicubic"),
        ("nearest", "lanczos"),
    ]


def test_results_with_nothing_in_common_are_refused(tmp_path):
    a, b = measured(write(tmp_path / "One")), measured(write(tmp_path / "Two"))
    with pytest.raises(DataError, match="nothing to compare: One x2 bicubic against Two x2 bicubic"):
        explain(a, b)


def test_pictures_that_are_not_at_hand_are_named(tmp_path):
    folder = write(tmp_path / "Set")
    found = only(measured(folder), measured(folder, protocols=["rgb"]))
    with pytest.raises(DataError, match=r"original of img_1 .* is in none of the folders"):
        list(measure_steps(found, SetupMeasurer([write(tmp_path / "Other", seed=7)]), ["psnr"]))


def test_weights_that_are_not_at_hand_are_asked_for(tmp_path):
    result = measured(write(tmp_path / "Set"))
    lost = replace(only(result, result).start, model="best", weights="1" * 64)
    with pytest.raises(ModelError, match="111111111111… of best are not here; name their file with --weights"):
        SetupMeasurer([tmp_path / "Set"]).figures(lost, ["psnr"])
