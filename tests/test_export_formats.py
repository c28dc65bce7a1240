"""Exports for other programs: every file runs by itself, is the network, and says what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from processes import one_clear_line
from superfine.__main__ import main
from superfine.engines.runtime import core
from superfine.errors import CheckpointError, EngineError, ModelError
from superfine.export import formats
from superfine.export.formats import KINDS, export_to
from superfine.nets import CFSRCNN, ESRGCNN, CFSRCNNConfig, ESRGCNNConfig, Network
from superfine.weights import network_file
from upstream_files import read_golden


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    made = ESRGCNN(ESRGCNNConfig((2, 3), width=8, distilled=2, blocks=1))
    with torch.no_grad():
        for name, value in made.named_parameters():
            value.normal_(std=0.05 if name.endswith("bias") else (1 / value[0].numel()) ** 0.5)
            value.data = value.half().float()  # as the file keeps it
    return made.eval()


@pytest.fixture(scope="module")
def checkpoint(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("in") / "mine.safetensors"
    network_file.save(network, path)
    return path


def sr_of(network: Network, lr: torch.Tensor, scale: int) -> Any:
    with torch.inference_mode():
        return network(lr, scale).numpy()


def metadata(kind: str, path: Path) -> dict[str, str]:
    """Read the metadata of a file."""
    if kind == "onnx":
        return {each.key: each.value for each in onnx.load(path).metadata_props}
    if kind == "openvino":
        graph = core().read_model(path)
        return {key: str(graph.get_rt_info(["superfine", key]).value) for key in ("network", "scale", "values", "size")}
    extra = {"superfine.json": ""}
    if kind == "torchscript":
        torch.jit.load(str(path), _extra_files=extra)
    else:
        torch.export.load(path, extra_files=extra)
    found: dict[str, str] = json.loads(extra["superfine.json"])
    return found


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_takes_any_size_and_number_and_is_the_network_and_says_so(
    kind: str, network: Network, checkpoint: Path, tmp_path: Path
) -> None:
    if kind == "ncnn":
        pytest.importorskip("ncnn")
    (written,) = export_to(kind, checkpoint, tmp_path, scales=[2])
    assert [path.name for path in written.files] == [f"mine-x2{end}" for end in KINDS[kind].suffixes]
    assert sorted(tmp_path.iterdir()) == sorted(written.files)
    runs = KINDS[kind].open(written.files[0])
    assert written.differences.keys() == runs.keys() and max(written.differences.values()) < 1e-5
    if kind != "ncnn":  # its format has no place for it
        said = metadata(kind, written.files[0])
        said = {key: said[key] for key in ("network", "scale", "values", "size")}
        assert said == {"network": "esrgcnn", "scale": "2", "values": "NCHW float32, RGB 0..1", "size": "any"}
    for shape in ((1, 3, 9, 40), (3, 3, 33, 8)):
        lr = torch.rand(shape)
        for run in runs.values():
            assert np.abs(run(lr) - sr_of(network, lr, 2)).max() < 1e-5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].one_form])
def test_bytes_go_in_and_come_out_at_one_fixed_size(
    kind: str, network: Network, checkpoint: Path, tmp_path: Path
) -> None:
    (written,) = export_to(kind, checkpoint, tmp_path, name="b", scales=[3], ends="uint8", size=(10, 14))
    lr = torch.randint(0, 256, (1, 10, 14, 3), dtype=torch.uint8)
    expected = np.rint(np.clip(sr_of(network, lr.permute(0, 3, 1, 2) / 255, 3), 0, 1) * 255).transpose(0, 2, 3, 1)
    for run in KINDS[kind].open(written.files[0]).values():
        sr = run(lr)
        assert sr.dtype == np.uint8 and sr.shape == (1, 30, 42, 3)
        assert np.abs(sr - expected).max() <= 1
        if kind != "torchscript":  # a trace notes no sizes
            with pytest.raises(Exception):  # noqa: B017 (every runtime has a kind of its own)
                run(torch.zeros(1, 12, 14, 3, dtype=torch.uint8))


@pytest.mark.parametrize("name", ["esrgcnn_x2", "cfsrcnn_x3"])
def test_upstream_files_have_the_keys_and_the_values_of_the_authors(name: str, tmp_path: Path) -> None:
    golden = read_golden(name)
    torch.save(golden.state, tmp_path / "theirs.pth")
    (written,) = export_to("upstream", tmp_path / "theirs.pth", tmp_path / "out", dtype=torch.float32)
    state = torch.load(written.files[0], weights_only=True)
    assert state.keys() == golden.state.keys()
    assert all(torch.equal(state[key], value.float()) for key, value in golden.state.items())


def test_one_scale_of_several_is_an_upstream_file_of_one(checkpoint: Path, network: Network, tmp_path: Path) -> None:
    (written,) = export_to("upstream", checkpoint, tmp_path, scales=[3])
    assert written.files[0].name == "mine-x3.pth"
    again = network_file.load(written.files[0])
    assert again.config.scales == (3,)
    lr = torch.rand(1, 3, 8, 8)
    assert np.array_equal(sr_of(again, lr, 3), sr_of(network, lr, 3))


def test_a_file_that_is_not_the_network_is_not_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "TOLERANCE", -1.0)  # which no difference is below
    with pytest.raises(EngineError, match="nothing was kept"):
        export_to("openvino", checkpoint, tmp_path / "out", scales=[2])
    assert list((tmp_path / "out").iterdir()) == []


def test_files_in_the_way_are_left_unless_told(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "mine-x2.bin").write_text("precious")
    with pytest.raises(CheckpointError, match=r"mine-x2\.bin is there already"):
        export_to("openvino", checkpoint, tmp_path, scales=[2])
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
    export_to("openvino", checkpoint, tmp_path, scales=[2], overwrite=True)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_network_without_published_names_has_no_upstream_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CFSRCNN(CFSRCNNConfig((2,), width=4, units=2))
    network_file.save(made, tmp_path / "new.safetensors")
    monkeypatch.setattr(CFSRCNN, "published_keys", classmethod(lambda cls, config: {}))
    with pytest.raises(ModelError, match="no names but superfine's"):
        export_to("upstream", tmp_path / "new.safetensors", tmp_path)


def test_the_command_prints_files_and_differences_and_refuses_in_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(checkpoint), "-s", "2", "--to", "torchscript", "--size", "20x10"]) == 0
    said = capfd.readouterr()
    assert "mine-x2.pt" in said.out and "differs from the network by torchscript" in said.out and said.err == ""
    for arguments, words in [
        (["--to", "tensorrt"], "goes to superfine, onnx"),
        (["--to", "onnx", "--ends", "int8"], "float or uint8 ends"),
        (["--to", "onnx", "-s", "4"], "has no x4"),
        (["--to", "upstream", "--ends", "uint8"], "float ends and free sizes"),
        (["--ends", "uint8"], "--to onnx"),
        (["--to", "onnx", "--size", "wide"], "not WIDTHxHEIGHT"),
    ]:
        assert main(["export", str(checkpoint), *arguments]) == 2
        assert words in one_clear_line(capfd.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["mine-x2.pt"]
