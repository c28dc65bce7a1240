"""Weights files of every origin become our networks; the rest get one line."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mutation import mutated
from superfine.errors import CheckpointError
from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, NetworkConfig, build
from superfine.weights import find, network_file
from superfine.weights.header import read_header
from superfine.weights.key_names import MEAN_KEYS, upstream_keys
from upstream_files import NAMES, draw_weights, read_golden

SMALL: list[NetworkConfig] = [
    ESRGCNNConfig(width=8, distilled=3, blocks=2),
    ESRGCNNConfig(scales=(2, 4), width=6, distilled=2, blocks=7),
    CFSRCNNConfig(width=6, units=3, enhance=2, refine=2),
    CFSRCNNConfig(scales=(3,), width=5, units=17, enhance=1, refine=0),
]


def small_upstream(config: NetworkConfig, *, parallel: bool = True) -> dict[str, Tensor]:
    """An upstream state dict of a small network, mean included."""
    ours = build(config).state_dict()
    shapes = {theirs: list(ours[key].shape) for theirs, key in upstream_keys(config, parallel=parallel).items()}
    shapes |= {key: [3, 3, 1, 1] if key.endswith("weight") else [3] for key in MEAN_KEYS}
    return draw_weights(shapes, seed=1, gain=0.7)


def saved(content: Any, folder: Path, name: str = "weights.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def complaint(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        network_file.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# ---- what is read


@pytest.mark.parametrize("name", NAMES)
def test_network_and_scales_are_detected_not_asked_for(name: str, tmp_path: Path) -> None:
    golden = read_golden(name)
    network = network_file.load(saved(golden.state, tmp_path))
    kind = {"esrgcnn": ESRGCNNConfig, "cfsrcnn": CFSRCNNConfig}[golden.network]
    assert network.config == kind(golden.scales)
    assert not network.training
    assert all(value.dtype == torch.float32 for value in network.state_dict().values())


@pytest.mark.parametrize("name", NAMES)
def test_every_upstream_tensor_but_the_mean_lands_in_the_network_once(name: str, tmp_path: Path) -> None:
    golden = read_golden(name)
    network = network_file.load(saved(golden.state, tmp_path))
    table = upstream_keys(network.config, parallel=name.endswith("multi"))
    assert set(table) == set(golden.state) - MEAN_KEYS
    ours = network.state_dict()
    assert sorted(table.values()) == sorted(ours)
    assert all(torch.equal(golden.state[theirs], ours[key]) for theirs, key in table.items())


@pytest.mark.parametrize("config", SMALL, ids=str)
def test_width_and_depth_are_detected_under_upstream_names(config: NetworkConfig, tmp_path: Path) -> None:
    state = small_upstream(config)
    assert network_file.load(saved(state, tmp_path)).config == config


@pytest.mark.parametrize("config", SMALL, ids=str)
def test_width_and_depth_are_detected_under_our_names(config: NetworkConfig, tmp_path: Path) -> None:
    state = build(config).state_dict()
    network = network_file.load(saved(state, tmp_path))
    assert network.config == config
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


WRAPPERS = ["state_dict", "params", "params_ema", "model_state_dict", "model", "net"]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapper", ["", *WRAPPERS])
@pytest.mark.parametrize("config", SMALL[::2], ids=str)
def test_wrapped_and_prefixed_files_load(config: NetworkConfig, wrapper: str, prefix: str, tmp_path: Path) -> None:
    state = small_upstream(config)
    content: Any = OrderedDict((prefix + key, value) for key, value in state.items())
    if wrapper:
        content = {"epoch": 7, "loss": 0.25, wrapper: content, "optimizer": {"state": {}, "param_groups": []}}
    network = network_file.load(saved(content, tmp_path))
    assert network.config == config
    head = "conv1_1.0.weight" if isinstance(config, ESRGCNNConfig) else "conv1.0.weight"
    assert torch.equal(network.head.weight, state[head])


def test_averaged_weights_win_over_the_raw_ones(tmp_path: Path) -> None:
    state = small_upstream(SMALL[0])
    raw = {key: torch.zeros_like(value) if key not in MEAN_KEYS else value for key, value in state.items()}
    network = network_file.load(saved({"params": raw, "params_ema": state}, tmp_path))
    assert torch.equal(network.head.weight, state["conv1_1.0.weight"])


def test_wrappers_nest(tmp_path: Path) -> None:
    state = {f"module.net.{key}": value for key, value in small_upstream(SMALL[2]).items()}
    assert network_file.load(saved({"model": {"state_dict": state}}, tmp_path)).config == SMALL[2]


def test_the_old_torch_format_loads(tmp_path: Path) -> None:
    state = small_upstream(SMALL[0])
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert network_file.load(tmp_path / "old.pth").config == SMALL[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {key: value.to(dtype) for key, value in small_upstream(SMALL[0]).items()}
    network = network_file.load(saved(state, tmp_path))
    assert torch.equal(network.head.weight, state["conv1_1.0.weight"].float())


def test_a_file_without_the_mean_loads(tmp_path: Path) -> None:
    state = {key: value for key, value in small_upstream(SMALL[2]).items() if key not in MEAN_KEYS}
    assert network_file.load(saved(state, tmp_path)).config == SMALL[2]


def test_safetensors_under_upstream_names_loads_whatever_its_ending(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in small_upstream(SMALL[0]).items()}
    save_file(state, tmp_path / "weights.bin", metadata={"names": "upstream"})
    assert network_file.load(tmp_path / "weights.bin").config == SMALL[0]


# ---- what is written


@pytest.mark.parametrize("config", SMALL, ids=str)
def test_saved_in_float32_and_loaded_is_the_same_network(config: NetworkConfig, tmp_path: Path) -> None:
    network = build(config)
    path = tmp_path / "new" / "ours.safetensors"
    network_file.save(network, path, dtype=torch.float32)
    again = network_file.load(path)
    assert again.config == config
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in network.state_dict().items())
    assert [file.name for file in path.parent.iterdir()] == ["ours.safetensors"]


def test_saved_in_float16_rounds_each_value_once(tmp_path: Path) -> None:
    network = build(SMALL[0])
    network_file.save(network, tmp_path / "ours.safetensors")
    stored = load_file(tmp_path / "ours.safetensors")
    for key, value in network.state_dict().items():
        assert stored[key].dtype == torch.float16
        assert torch.equal(stored[key], value.half())


def test_the_header_says_what_the_file_is(tmp_path: Path) -> None:
    network_file.save(build(CFSRCNNConfig()), tmp_path / "c.safetensors", metadata={"step": "12", "network": "mine"})
    metadata = read_header(tmp_path / "c.safetensors").metadata
    assert metadata["format"] == "superfine-1"
    assert metadata["network"] == "cfsrcnn"
    assert json.loads(metadata["config"]) == {
        "scales": [2, 3, 4], "width": 64, "units": 16, "enhance": 5, "refine": 5
    }  # fmt: skip
    assert json.loads(metadata["halo"]) == {"2": 27, "3": 26, "4": 26}
    assert metadata["step"] == "12"


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "float16"), (1e6, "float16")])
def test_values_float16_cannot_hold_are_not_saved(value: float, word: str, tmp_path: Path) -> None:
    network = build(SMALL[0])
    with torch.no_grad():
        network.head.weight[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match=f"head.weight.*{word}"):
        network_file.save(network, tmp_path / "ours.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    network_file.save(build(SMALL[0]), path)
    before = path.read_bytes()
    broken = build(SMALL[0])
    with torch.no_grad():
        broken.tail.weight.fill_(torch.inf)
    with pytest.raises(CheckpointError):
        network_file.save(broken, path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        network_file.save(build(SMALL[0]), tmp_path / "file" / "ours.safetensors")
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "ours.safetensors"]


# ---- what is refused


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "gone.pth")


def test_a_folder(tmp_path: Path) -> None:
    assert "folder" in complaint(tmp_path)


@pytest.mark.parametrize("name", ["zero.pth", "zero.safetensors"])
def test_a_zero_byte_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert "0 bytes" in complaint(tmp_path / name)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_a_truncated_file(kind: str, share: float, tmp_path: Path) -> None:
    state = small_upstream(SMALL[0])
    path = tmp_path / "cut"
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in complaint(path)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"<html>404</html>", b"a", bytes(5000)])
def test_something_else_under_a_weights_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.pth").write_bytes(content)
    assert "no weights file" in complaint(tmp_path / "photo.pth")


class Bomb:
    """A hostile pickle: it runs a command on being read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("kind", ["zip", "old", "plain", "protocol 4"])
def test_a_pickle_that_runs_code_is_refused_unrun(kind: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "exploded", tmp_path / "bomb.pth"
    if kind in ("plain", "protocol 4"):
        path.write_bytes(pickle.dumps(Bomb(mark), protocol=2 if kind == "plain" else 4))
    else:
        torch.save({"state_dict": Bomb(mark)}, path, _use_new_zipfile_serialization=kind == "zip")
    assert "refused" in complaint(path)
    assert not mark.exists()


def test_a_whole_pickled_module_is_refused_with_advice(tmp_path: Path) -> None:
    message = complaint(saved(nn.Conv2d(3, 4, 3), tmp_path))
    assert "torch.nn.modules.conv.Conv2d" in message
    assert "torch.save(network.state_dict(), path)" in message


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    program = torch.jit.trace(nn.Conv2d(3, 4, 3).eval(), torch.rand(1, 3, 8, 8))
    torch.jit.save(program, tmp_path / "program.pt")
    assert "TorchScript" in complaint(tmp_path / "program.pt")


def test_another_network_is_named_by_its_keys(tmp_path: Path) -> None:
    state = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 3, 3)).state_dict()
    message = complaint(saved(state, tmp_path))
    assert "0.weight, 0.bias, 2.weight and 1 more" in message
    assert "ESRGCNN" in message and "CFSRCNN" in message


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, {"model": {"epoch": 3}}, torch.zeros(3), 7])
def test_a_file_without_a_state_dict(content: Any, tmp_path: Path) -> None:
    assert "state dict" in complaint(saved(content, tmp_path))


def test_missing_keys_are_named(tmp_path: Path) -> None:
    state = read_golden("esrgcnn_x2").state
    del state["b3.conv1_4.0.weight"], state["conv3.0.weight"]
    message = complaint(saved(state, tmp_path))
    assert "ESRGCNN x2" in message
    assert "it lacks b3.conv1_4.0.weight, conv3.0.weight" in message


def test_unexpected_keys_are_named_and_counted(tmp_path: Path) -> None:
    state = read_golden("cfsrcnn_x3").state | {f"attention.{i}.weight": torch.zeros(1) for i in range(5)}
    message = complaint(saved(state, tmp_path))
    assert "CFSRCNN x3" in message
    assert "attention.0.weight, attention.1.weight, attention.2.weight and 2 more" in message


def test_wrong_shapes_are_named_with_the_right_ones(tmp_path: Path) -> None:
    state = read_golden("esrgcnn_multi").state
    state["b2.conv1_5.0.weight"] = torch.zeros(64, 64, 5, 5)
    assert "b2.conv1_5.0.weight is 64x64x5x5, wanted 64x64x3x3" in complaint(saved(state, tmp_path))


@pytest.mark.parametrize("key", ["b1.conv1_2.0.weight", "conv1_1.0.weight", "upsample.up4.body.2.weight"])
def test_a_telling_tensor_of_absurd_shape_is_named(key: str, tmp_path: Path) -> None:
    state = read_golden("esrgcnn_multi").state
    state[key] = torch.zeros(1).expand(10**6, 10**6, 3, 3)  # petabytes, were it unfolded
    assert f"{key} is 1000000x1000000x3x3" in complaint(saved(state, tmp_path))


def test_absurd_numbers_in_keys_are_named(tmp_path: Path) -> None:
    state = read_golden("cfsrcnn_x2").state
    state["conv999999999.0.weight"] = state.pop("conv41.0.weight")
    message = complaint(saved(state, tmp_path))
    assert "conv41.0.weight" in message and "conv999999999.0.weight" in message


def test_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    state = small_upstream(SMALL[2])
    state["conv3.0.weight"][1, 2, 0, 1] = torch.nan
    assert "conv3.0.weight holds values that are not finite" in complaint(saved(state, tmp_path))


def test_integers_are_no_weights(tmp_path: Path) -> None:
    state = small_upstream(SMALL[2])
    state["conv3.0.weight"] = state["conv3.0.weight"].to(torch.int8)
    assert "int8" in complaint(saved(state, tmp_path))


def test_another_mean_is_refused_not_ignored(tmp_path: Path) -> None:
    state = small_upstream(SMALL[0])
    state["sub_mean.shifter.bias"] = torch.tensor([-0.5, -0.5, -0.5])
    assert "sub_mean.shifter.bias is -0.5, -0.5, -0.5" in complaint(saved(state, tmp_path))


def ours_with_header(path: Path, **changes: str) -> Path:
    network = build(SMALL[0])
    network_file.save(network, path)
    save_file(load_file(path), path, metadata=read_header(path).metadata | changes)
    return path


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"format": "superfine-9"}, "superfine-9"),
        ({"network": "edsr"}, "edsr"),
        ({"config": "{"}, "not one"),
        ({"config": '{"scales": [2], "depth": 3}'}, "depth"),
        ({"config": '{"scales": [2, 3, 4], "width": 8, "distilled": 4, "blocks": 2}'}, "altered"),
        ({"network": "cfsrcnn"}, "cfsrcnn"),
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_its_tensors(changes: dict[str, str], word: str, tmp_path: Path) -> None:
    assert word in complaint(ours_with_header(tmp_path / "ours.safetensors", **changes))


def test_a_forged_safetensors_header_length_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / "forged.safetensors").write_bytes(struct.pack("<Q", 2**62) + b'{"a":1}' + bytes(50))
    assert "not a safetensors file" in complaint(tmp_path / "forged.safetensors")


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors", "ours"])
def test_mutated_files_load_or_get_one_line(kind: str, tmp_path: Path) -> None:
    state, path = small_upstream(SMALL[0]), tmp_path / "file"
    if kind == "ours":
        network_file.save(build(SMALL[0]), path)
    elif kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    content, randomly = path.read_bytes(), random.Random(kind)
    refused = 0
    for _ in range(150):
        path.write_bytes(mutated(content, randomly))
        for read in (network_file.load, find):
            try:
                read(path)
            except CheckpointError as error:
                refused += 1
                assert "\n" not in str(error)
    assert 100 < refused < 300  # a flipped bit among the weights is a weight: both ways must have been taken
