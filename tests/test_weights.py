"""Shipped models and weights files are found, told about and verified without PyTorch; releases fill the catalogue."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

import release
from superfine import weights
from superfine.benchmark.result import Result, Row
from superfine.errors import CheckpointError, DataError, ModelError
from superfine.nets import NETWORKS, CFSRCNNConfig, ESRGCNNConfig, build, parameter_count
from superfine.weights import network_file
from superfine.weights.catalogue import FOLDER
from superfine.weights.header import read_header
from upstream_files import read_golden

SHIPPED = ["esrgcnn", "cfsrcnn", "esrgcnn-photo"]


def saved(folder: Path, name: str = "mine.safetensors") -> Path:
    network_file.save(build(CFSRCNNConfig((2, 3), width=4, units=2)), folder / name)
    return folder / name


# ---- what is shipped


def test_both_networks_are_shipped_and_esrgcnn_comes_first_the_one_for_photographs_last() -> None:
    assert [entry.name for entry in weights.list_models()] == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_found_by_name_with_a_graph_and_a_halo_a_scale(name: str) -> None:
    model = weights.find(name)
    network, *alone = name.removesuffix("-photo").split("-x")
    scales = tuple(map(int, alone)) or (2, 3, 4)
    assert (model.name, model.network, model.scales) == (name, network, scales)
    assert set(model.graphs) == set(scales)
    # the receptive radius rounded up: test_nets measures it
    halo = {"esrgcnn": {2: 40, 3: 40, 4: 40}, "cfsrcnn": {2: 27, 3: 26, 4: 26}}[network]
    assert model.halo == {scale: halo[scale] for scale in scales}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_catalogue_says_what_the_shipped_files_are(name: str) -> None:
    entry = next(entry for entry in weights.list_models() if entry.name == name)
    network = network_file.load(FOLDER / entry.weights)
    assert entry.network == network.name and entry.network in NETWORKS
    assert entry.scales == network.config.scales
    assert entry.parameters == parameter_count(network)
    assert entry.sha256 == hashlib.sha256((FOLDER / entry.weights).read_bytes()).hexdigest()
    assert entry.licence and entry.start and entry.hardware
    assert all(row.name and row.terms for row in entry.data)
    weights.verify(weights.find(name))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_float16_and_small(name: str) -> None:
    model = weights.find(name)
    assert {tensor.dtype for tensor in read_header(model.weights).tensors.values()} == {"F16"}
    assert all(path.stat().st_size < 40_000 for path in model.graphs.values())


def test_finding_needs_neither_pytorch_nor_openvino(tmp_path: Path) -> None:
    path = saved(tmp_path)
    program = (
        "import sys; from superfine import weights\n"
        "for name in sys.argv[1:]: weights.verify(weights.find(name))\n"
        "print(sorted({'torch', 'openvino', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *SHIPPED, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# ---- files


def test_our_own_file_is_found_by_path(tmp_path: Path) -> None:
    model = weights.find(saved(tmp_path))
    assert (model.name, model.network, model.scales, model.graphs) == ("mine", "cfsrcnn", (2, 3), {})
    network = network_file.load(model.weights)
    assert model.halo == {scale: network_file.halo(network, scale) for scale in (2, 3)}


def test_a_foreign_checkpoint_is_found_by_path(tmp_path: Path) -> None:
    torch.save(read_golden("cfsrcnn_x3").state, tmp_path / "theirs.pth")
    model = weights.find(str(tmp_path / "theirs.pth"))
    assert (model.name, model.network, model.scales, model.halo) == ("theirs", "cfsrcnn", (3,), {3: 26})


def test_a_file_wins_over_nothing_but_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, "esrgcnn")
    assert weights.find("esrgcnn").weights.parent == FOLDER
    assert weights.find("./esrgcnn").network == "cfsrcnn"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("esrgnn", ModelError, ["'esrgnn'", "did you mean esrgcnn?", "esrgcnn, cfsrcnn"]),
        ("edsr", ModelError, ["'edsr'", "esrgcnn, cfsrcnn"]),
        ("", ModelError, ["no model ''"]),
        ("gone.pth", CheckpointError, ["gone.pth", "check the path"]),
        ("no/such", CheckpointError, ["no/such"]),
    ],
)
def test_unknown_names_say_what_there_is(
    name: str, kind: type[Exception], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as caught:
        weights.find(name)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_damaged_files_say_so(tmp_path: Path) -> None:
    content = saved(tmp_path).read_bytes()
    for damaged, words in [
        (content[:-10], ["cut short", f"{len(content) - 10:,} bytes", f"{len(content):,}"]),
        (content + b"x", ["too long"]),
        (content[:200], ["cut short inside its header"]),
        (content[:8] + b"{]" + content[10:], ["damaged safetensors header"]),
        (b"", ["0 bytes"]),
    ]:
        (tmp_path / "bad.safetensors").write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            weights.find(tmp_path / "bad.safetensors")
        assert all(word in str(caught.value) for word in words), caught.value
    with pytest.raises(CheckpointError, match="folder"):
        weights.find(tmp_path)


def test_verify_sees_one_changed_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in FOLDER.glob("*.*"):
        if path.suffix != ".py":
            shutil.copy(path, tmp_path)
    monkeypatch.setattr(sys.modules["superfine.weights.find"], "FOLDER", tmp_path)
    weights.verify(weights.find("esrgcnn"))
    for name in ("esrgcnn.safetensors", "esrgcnn.x3.onnx"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CheckpointError, match=f"{name} is damaged"):
            weights.verify(weights.find("esrgcnn"))
        (tmp_path / name).write_bytes(content)
    model = weights.find("esrgcnn")
    (tmp_path / "esrgcnn.x2.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"esrgcnn\.x2\.onnx is missing"):
        weights.verify(model)


# ---- the header reader


def test_offsets_point_at_the_values(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content, header = path.read_bytes(), read_header(path)
    for key, value in load_file(path).items():
        found = header.tensors[key]
        assert found.shape == value.shape
        assert content[found.offset : found.offset + found.length] == value.tobytes()


def test_layout_is_the_same_for_other_numbers_and_another_for_other_shapes(tmp_path: Path) -> None:
    paths = [saved(tmp_path, "a.safetensors"), saved(tmp_path, "b.safetensors")]
    network_file.save(build(CFSRCNNConfig((2, 3), width=5, units=2)), tmp_path / "c.safetensors")
    assert paths[0].read_bytes() != paths[1].read_bytes()
    a, b, c = (read_header(tmp_path / f"{name}.safetensors").layout() for name in "abc")
    assert a == b != c


# ---- releases

FACTS = {
    "licence": "MIT",
    "start": 'random, called "a" in the log',
    "recipe": "small.toml",
    "hardware": "2 CPU cores",
    "data": [{"name": "tiles", "terms": "free"}],
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with two small releases, the second made twice."""
    folder = tmp_path_factory.mktemp("weights")
    for name, config in [
        ("one", ESRGCNNConfig((2,), width=4, distilled=1, blocks=1)),
        ("two", CFSRCNNConfig((3,), width=4, units=2)),
        ("two", CFSRCNNConfig((2,), width=4, units=2)),
    ]:
        checkpoint = folder.parent / f"{name}.safetensors"
        network_file.save(build(config), checkpoint, metadata={"step": "120", "seconds": "61"})
        release.release(checkpoint, {**FACTS, "name": name}, folder)
    return folder


def result(sha256: str, model: str = "one", psnr: float = 37.41256) -> Result:
    rows = [
        Row("Set5", 2, "bicubic", "standard", {"psnr": 33.6, "ssim": 0.93}, [], 0.0),
        Row("Set5", 2, model, "standard", {"psnr": psnr, "ssim": 0.958213}, [], 1.0),
        Row("Set5", 2, model, "paper", {"psnr": psnr - 0.2, "ssim": 0.957}, [], 1.0),
    ]
    info = {"name": model, "scale": 2, "weights_sha256": sha256, "precision": "bf16"}
    return Result(rows, [], [{"name": "bicubic", "scale": 2}, info], {}, {}, {}, "")


def test_a_release_writes_float16_weights_graphs_and_entry(released: Path) -> None:
    one, two = weights.list_models(released)
    assert (one.name, one.network, one.scales) == ("one", "esrgcnn", (2,))
    assert (two.name, two.network, two.scales) == ("two", "cfsrcnn", (2,))
    assert (one.steps, one.seconds) == (120, 61.0)  # from the checkpoint's own header
    assert (one.start, one.recipe, one.licence) == (FACTS["start"], FACTS["recipe"], FACTS["licence"])
    assert one.data == (weights.DataSet("tiles", "free"),)
    assert one.sha256 == hashlib.sha256((released / "one.safetensors").read_bytes()).hexdigest()
    file, sha256 = one.graphs[2]
    assert sha256 == hashlib.sha256((released / file).read_bytes()).hexdigest()


def test_figures_are_recorded_for_the_weights_they_were_measured_on(released: Path) -> None:
    one = weights.list_models(released)[0]
    assert release.record("one", result(one.sha256), released) == 2
    one, two = weights.list_models(released)
    assert one.psnr("Set5", 2, "standard") == 37.4126
    assert one.figures[1] == weights.Figure("Set5", 2, "standard", 37.4126, 0.95821, "bf16")
    assert one.psnr("Set14", 2, "standard") is None
    assert two.figures == ()
    # measured again: replaced, not added
    release.record("one", result(one.sha256, psnr=37.5), released)
    assert [figure.psnr for figure in weights.list_models(released)[0].figures] == [37.3, 37.5]


def test_figures_of_other_weights_are_refused(released: Path) -> None:
    before = (released / "catalogue.toml").read_bytes()
    with pytest.raises(DataError, match="measured on one as shipped"):
        release.record("one", result("0" * 64), released)
    with pytest.raises(DataError, match="no 'three'"):
        release.record("three", result("0" * 64), released)
    assert (released / "catalogue.toml").read_bytes() == before


def test_missing_facts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lack hardware, data"):
        release.release(saved(tmp_path), {"name": "x", "licence": "MIT", "start": "", "recipe": ""})


def test_the_release_program_speaks_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "facts.toml").write_text("name = 'x'\n")
    code = release.main([str(saved(tmp_path)), "--facts", str(tmp_path / "facts.toml"), "--into", str(tmp_path)])
    assert code == 2
    assert capsys.readouterr().err.count("\n") == 1
