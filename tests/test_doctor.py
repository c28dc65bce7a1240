"""superfine doctor: what is in a weights file, what fits, what does not, and whether it works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from processes import assert_refused, superfine
from superfine.cli.doctor_output import describe_weights as describe
from superfine.errors import CheckpointError
from superfine.weights import find, network_file
from superfine.weights.doctor import examine
from superfine.weights.key_names import MEAN_KEYS
from upstream_files import read_golden


def saved(content: Any, folder: Path) -> Path:
    torch.save(content, folder / "file.pth")
    return folder / "file.pth"


@pytest.mark.parametrize("name", ["esrgcnn", "cfsrcnn"])
def test_shipped_weights_are_healthy_and_near_bicubic_or_above_on_a_smooth_picture(name: str) -> None:
    report = examine(find(name).weights)
    assert report.healthy and not report.doubtful and not report.remarks
    assert (report.network, report.names, report.kind) == (name, "superfine", "safetensors")
    assert [trial.scale for trial in report.trials] == [2, 3, 4]
    assert all(trial.bicubic > 50 for trial in report.trials)
    assert report.tensors == report.matching
    assert report.types == {"float16": report.tensors}


def test_wrappers_prefix_sizes_and_names_are_reported(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in read_golden("cfsrcnn_x3").state.items()}
    report = examine(saved({"epoch": 3, "net": state}, tmp_path))
    assert report.healthy
    assert (report.wrappers, report.prefix, report.kind) == (("net",), "module.", "PyTorch")
    assert (report.network, report.names, report.config["scales"]) == ("cfsrcnn", "upstream", (3,))
    assert report.values == 1_495_000  # the reference table's, mean included
    assert report.parameters == 1_495_000 - 24


def test_random_weights_load_and_are_doubted(tmp_path: Path) -> None:
    report = examine(saved(read_golden("esrgcnn_x2").state, tmp_path))
    assert report.healthy
    assert [trial.scale for trial in report.doubtful] == [2]
    assert "untrained" in describe(report)[-1]


def test_channels_in_another_order_are_doubted(tmp_path: Path) -> None:
    state = load_file(find("esrgcnn").weights)
    state["head.weight"] = state["head.weight"].flip(1)
    assert len(examine(saved(state, tmp_path)).doubtful) == 3


def test_what_does_not_fit_is_listed_with_likely_names(tmp_path: Path) -> None:
    state = read_golden("esrgcnn_multi").state
    state["b1.conv1_7.0.weight"] = state.pop("b1.conv1_2.0.weight")
    state["b2.conv1_3.0.weight"] = torch.zeros(2, 3)
    report = examine(saved(state, tmp_path))
    assert not report.healthy
    assert report.missing == ["b1.conv1_2.0.weight"]
    assert report.unexpected == ["b1.conv1_7.0.weight"]
    assert report.misshapen == ["b2.conv1_3.0.weight is 2x3, wanted 64x48x3x3"]
    assert report.likely_renames == {"b1.conv1_7.0.weight": "b1.conv1_2.0.weight"}
    assert report.matching == len(state) - len(MEAN_KEYS) - 2
    assert describe(report)[-1].endswith("cannot be used")


def test_long_lists_are_cut_unless_all_is_asked_for(tmp_path: Path) -> None:
    state = read_golden("cfsrcnn_x2").state | {f"extra.{i:02d}": torch.zeros(1) for i in range(25)}
    report = examine(saved(state, tmp_path))
    short, full = describe(report), describe(report, most=None)
    assert any("and 15 more" in line for line in short)
    assert not any("extra.24" in line for line in short)
    assert any("extra.24" in line for line in full)


def test_another_network_is_a_fault_not_an_error(tmp_path: Path) -> None:
    report = examine(saved(torch.nn.Linear(3, 4).state_dict(), tmp_path))
    assert report.network == "" and "no network known here: wanted ESRGCNN (" in report.faults[0]


@pytest.mark.parametrize(
    ("value", "word"), [(float("inf"), "not finite"), (1e5, None), (0.0, None)], ids=["inf", "large", "zero"]
)
def test_odd_values_are_found(value: float, word: str | None, tmp_path: Path) -> None:
    state = {key: each for key, each in read_golden("esrgcnn_x2").state.items() if key not in MEAN_KEYS}
    state["conv2.0.weight"] = torch.full_like(state["conv2.0.weight"], value)
    report = examine(saved(state, tmp_path))
    if word:
        assert word in report.faults[0] and "conv2.0.weight" in report.faults[0]
        return
    expected = {1e5: "conv2.0.weight holds values float16 cannot", 0.0: "1 weights are all zero, conv2.0.weight first"}
    assert report.remarks[0].startswith(expected[value])
    assert "mean" in report.remarks[1]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    with pytest.raises(CheckpointError, match="0 bytes"):
        examine(tmp_path / "empty.pth")


def test_the_command_tells_and_its_exit_code_says_whether_it_fits(tmp_path: Path) -> None:
    good, bad = find("esrgcnn").weights, saved({"a.weight": torch.zeros(2)}, tmp_path)
    done = superfine("doctor", good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "fits and works" in done.stdout
    done = superfine("doctor", bad, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["healthy"] is False and report["tensors"] == 1
    untrained = superfine("doctor", saved(read_golden("esrgcnn_x2").state, tmp_path))
    assert untrained.returncode == 1 and "untrained" in untrained.stdout  # it loads, but is not fit for use
    assert_refused(superfine("doctor", tmp_path / "gone.pth"), "gone.pth")


def test_a_key_with_control_characters_cannot_reach_the_terminal(tmp_path: Path) -> None:
    done = superfine("doctor", saved({"\x1b[31mred\nweight": torch.zeros(2)}, tmp_path))
    assert done.returncode == 1
    assert "\x1b" not in done.stdout


def test_the_same_weights_make_the_same_file_every_time(tmp_path: Path) -> None:
    network = network_file.load(find("cfsrcnn").weights)
    contents = set()
    for i in range(4):
        path = tmp_path / f"{i}.safetensors"
        network_file.save(network, path, metadata={"step": "1", "recipe": "a", "seconds": "2", "licence": "MIT"})
        contents.add(path.read_bytes())
    assert len(contents) == 1
