"""Exported graphs are the network, hold none of its numbers, and read them from the weights file beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from processes import assert_refused, one_clear_line, superfine
from superfine.__main__ import main
from superfine.engines import open_engine
from superfine.engines.runtime import core
from superfine.errors import CheckpointError, EngineError, ModelError
from superfine.export import Exported, export
from superfine.export.parity import check_parity
from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, NetworkConfig, build
from superfine.weights import find, network_file
from superfine.weights.header import read_header
from upstream_files import read_golden

SMALL: dict[str, NetworkConfig] = {
    "esrgcnn": ESRGCNNConfig(width=8, distilled=2, blocks=1),
    # Tracing takes seconds a scale; the upsampler is the same in both networks.
    "cfsrcnn": CFSRCNNConfig(width=6, units=2, enhance=1, refine=1, scales=(2, 3)),
}


def lively(config: NetworkConfig, seed: int = 0) -> torch.nn.Module:
    """A random network whose output varies: He's draw, and biases that count."""
    torch.manual_seed(seed)
    network = build(config)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.normal_(std=0.2 if name.endswith("bias") else (2 / value[0].numel()) ** 0.5)
    return network


@pytest.fixture(scope="module", params=SMALL)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp(request.param)
    torch.save(lively(SMALL[request.param]).state_dict(), folder / "trained.pth")
    return export(folder / "trained.pth", folder / "out", name=request.param)


def test_the_folder_holds_weights_and_a_graph_a_scale_and_nothing_else(exported: Exported) -> None:
    name, folder = exported.weights.stem, exported.weights.parent
    graphs = [f"{name}.x{scale}.onnx" for scale in SMALL[name].scales]
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.safetensors", *graphs]
    model = find(exported.weights)
    assert model.graphs == exported.graphs
    assert [path.name for path in model.graphs.values()] == graphs


def test_openvino_reads_graph_and_weights_for_any_batch_height_and_width(exported: Exported) -> None:
    network = network_file.load(exported.weights)
    for scale, path in exported.graphs.items():
        graph = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for shape in ((1, 3, 5, 9), (3, 3, 16, 1), (1, 3, 40, 33)):
            lr = np.random.default_rng(1).random(shape, dtype=np.float32)
            with torch.no_grad():
                expected = network(torch.from_numpy(lr), scale).numpy()
            assert np.ptp(expected) > 0.1
            assert np.abs(graph([lr])[0] - expected).max() <= 1e-4


def test_onnx_runtime_reads_graph_and_weights(exported: Exported) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network, lr = network_file.load(exported.weights), np.random.default_rng(1).random((2, 3, 7, 11), dtype=np.float32)
    for scale, path in exported.graphs.items():
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        with torch.no_grad():
            expected = network(torch.from_numpy(lr), scale).numpy()
        assert np.abs(session.run(["sr"], {"lr": lr})[0] - expected).max() <= 1e-4


def test_graphs_hold_no_weights_but_point_at_them(exported: Exported) -> None:
    tensors = read_header(exported.weights).tensors
    for scale, path in exported.graphs.items():
        model = onnx.load(path, load_external_data=False)
        stored = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
        inline = [t for t in model.graph.initializer if t.data_location != onnx.TensorProto.EXTERNAL]
        assert sum(int(np.prod(t.dims)) for t in inline) <= 8  # the mean, where to split, two biases' doubling
        others = [f".x{other}." for other in (2, 3, 4) if other != scale]
        assert {t.name for t in stored} == {key for key in tensors if not any(other in key for other in others)}
        for tensor in stored:
            where = {field.key: field.value for field in tensor.external_data}
            found = tensors[tensor.name]
            assert where == {
                "location": exported.weights.name, "offset": str(found.offset), "length": str(found.length)
            }  # fmt: skip


def test_pixel_shuffle_is_one_depth_to_space_in_pytorchs_order(exported: Exported) -> None:
    for scale, path in exported.graphs.items():
        nodes = [n for n in onnx.load(path, load_external_data=False).graph.node if n.op_type == "DepthToSpace"]
        attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in nodes]
        steps = [2, 2] if scale == 4 else [scale]
        assert attributes == [{"mode": b"CRD", "blocksize": step} for step in steps]


def test_graphs_say_nothing_of_the_machine_they_were_made_on(exported: Exported) -> None:
    for path in exported.graphs.values():
        model = onnx.load(path, load_external_data=False)
        graph = model.graph
        assert not any(item.metadata_props or item.doc_string for item in (graph, *graph.node, *graph.input))
        assert {field.key for field in model.metadata_props} == {"network", "scale", "layout"}
        assert b".py" not in path.read_bytes()


def test_other_numbers_of_the_same_shape_need_no_new_graph(exported: Exported, tmp_path: Path) -> None:
    for path in exported.graphs.values():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    network = lively(SMALL[exported.weights.stem], seed=5)
    network_file.save(network, tmp_path / exported.weights.name)
    model = find(tmp_path / exported.weights.name)
    assert set(model.graphs) == set(exported.graphs)
    check_parity(network_file.load(model.weights), model.graphs[2], 2)


def test_a_graph_of_another_layout_does_not_count(exported: Exported, tmp_path: Path) -> None:
    for path in exported.graphs.values():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    wider = ESRGCNNConfig(width=10, distilled=2, blocks=1)
    network_file.save(build(wider), tmp_path / exported.weights.name)
    assert find(tmp_path / exported.weights.name).graphs == {}


def test_a_graph_of_other_weights_fails_the_parity_check_loudly(exported: Exported) -> None:
    other = lively(SMALL[exported.weights.stem], seed=9)
    with pytest.raises(EngineError, match=r"not the network it came from: openvino differs by .* at x2"):
        check_parity(other, exported.graphs[2], 2)


def test_a_graph_of_another_scale_fails_the_parity_check(exported: Exported) -> None:
    with pytest.raises(EngineError, match="differs by inf at x3"):
        check_parity(network_file.load(exported.weights), exported.graphs[2], 3)


def test_a_graph_without_its_weights_is_one_line(exported: Exported, tmp_path: Path) -> None:
    lonely = tmp_path / "lonely.x2.onnx"
    lonely.write_bytes(exported.graphs[2].read_bytes())
    with pytest.raises(EngineError) as caught:
        check_parity(network_file.load(exported.weights), lonely, 2)
    assert "cannot run" in str(caught.value) and "\n" not in str(caught.value)


def test_a_failed_check_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(lively(SMALL["esrgcnn"]).state_dict(), tmp_path / "trained.pth")
    monkeypatch.setattr("superfine.export.parity.TOLERANCE", -1.0)  # which no difference is below
    with pytest.raises(EngineError, match="nothing was kept"):
        export(tmp_path / "trained.pth", tmp_path / "out", scales=[2])
    assert list((tmp_path / "out").iterdir()) == []


def test_export_overwrites_only_when_told(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "new.x3.onnx").write_text("precious")
    with pytest.raises(CheckpointError, match=r"new\.x3\.onnx is there already"):
        export(exported.weights, tmp_path, name="new", scales=[3])
    assert [path.name for path in tmp_path.iterdir()] == ["new.x3.onnx"]
    again = export(exported.weights, tmp_path, name="new", scales=[3], dtype=torch.float32, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.safetensors", "new.x3.onnx"]
    assert again.differences[3]["openvino"] <= 1e-4
    assert {t.dtype for t in read_header(again.weights).tensors.values()} == {"F32"}


def test_a_scale_the_checkpoint_lacks_is_refused(tmp_path: Path) -> None:
    torch.save(read_golden("cfsrcnn_x3").state, tmp_path / "three.pth")
    with pytest.raises(ModelError, match=r"has no x2: choose from x3"):
        export(tmp_path / "three.pth", tmp_path / "out", scales=[2])
    assert not (tmp_path / "out").exists()


def test_an_upstream_checkpoint_exported_runs_as_the_authors_did(tmp_path: Path) -> None:
    golden = read_golden("esrgcnn_x2")
    torch.save({"state_dict": golden.state}, tmp_path / "up.pth")
    written = export(tmp_path / "up.pth", tmp_path / "out", dtype=torch.float32)
    sr = open_engine(find(written.weights), 2, "openvino", "fp32").run(golden.lr.numpy())
    assert np.abs(sr - golden.sr[2].numpy()).max() <= 1e-5 * np.ptp(golden.sr[2].numpy())


def test_the_command_writes_files_that_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save(lively(SMALL["cfsrcnn"]).state_dict(), tmp_path / "mine.pth")
    assert main(["export", str(tmp_path / "mine.pth"), "-o", str(tmp_path / "out"), "-s", "2"]) == 0
    printed = capfd.readouterr()
    assert printed.err == "" and f"{tmp_path / 'out' / 'mine.x2.onnx'}" in printed.out
    assert open_engine(find(tmp_path / "out" / "mine.safetensors"), 2, "openvino").run(
        np.zeros((1, 3, 4, 5), np.float32)
    ).shape == (1, 3, 8, 10)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["gone.pth", "-o", "out"], "gone.pth"),
        (["esrgnn", "-o", "out"], "did you mean esrgcnn"),
        (["esrgcnn", "-o", "out", "-s", "5"], "no x5"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(
    arguments: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *(str(tmp_path / "out") if each == "out" else each for each in arguments)]) == 2
    assert word in one_clear_line(capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_type_of_weights_is_refused_in_a_real_process(tmp_path: Path) -> None:
    assert_refused(superfine("export", "esrgcnn", "-o", tmp_path / "out", "--dtype", "int8"), "int8")
    assert list(tmp_path.iterdir()) == []
