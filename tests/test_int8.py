"""engines/int8.py, quantization/: what runs in eight bits, and what it costs."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import superfine
from superfine.__main__ import main
from superfine.atomic import sha256_of
from superfine.engines import open_engine
from superfine.engines.base import widen
from superfine.engines.graphs import graph_of_network
from superfine.engines.int8 import Int8Convolution, convolutions, int8_path, quantized, read_int8, sources
from superfine.engines.openvino import OpenVINOEngine
from superfine.engines.runtime import core, ov
from superfine.errors import DataError, EngineError, ModelError
from superfine.export import export
from superfine.images import Picture
from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, build
from superfine.quantization.calibrate import CROP, Calibration, calibrate, draw_crops, weights_of
from superfine.quantization.int8_file import calibrate_scales, write
from superfine.quantization.rounding import round_convolution
from superfine.upscaling import TiledUpscaler
from superfine.weights import Model, find, network_file
from superfine.weights.catalogue import FOLDER, list_models

pytestmark = pytest.mark.skipif(
    "INT8" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"), reason="no int8 here"
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = core().get_property("CPU", "INFERENCE_NUM_THREADS")
    core().set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
    yield
    core().set_property("CPU", {"INFERENCE_NUM_THREADS": threads})


def photograph() -> NDArray[np.uint8]:
    demo = Path(superfine.__file__).parent / "demo"
    with Image.open(next(demo.glob("*.jpg"))) as image:
        return np.asarray(image.convert("RGB").crop((200, 100, 400, 300)))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network exported at two scales: with its graphs at hand nothing has to be traced again."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    network = build(ESRGCNNConfig(width=8, distilled=2, blocks=1, scales=(2, 3)))
    network_file.save(network, folder / "small.safetensors", dtype=torch.float32)
    return find(export(folder / "small.safetensors", folder / "out").weights)


@pytest.fixture(scope="module")
def graph(small: Model) -> ov.Model:
    return core().read_model(small.graphs[2])


@pytest.fixture(scope="module")
def measured(graph: ov.Model) -> Calibration:
    return calibrate(graph, draw_crops([photograph()], 1), budget=50)


def primitives(graph: ov.Model, hint: str = "f32") -> list[str]:
    """List what the compiler runs each convolution with, on a window of 32x32."""
    graph = graph.clone()
    graph.reshape([1, 3, 32, 32])
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    facts = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    return [
        each["primitiveType"].astype(str).lower() for each in facts if each["layerType"].astype(str) == "Convolution"
    ]


def forms(calibration: Calibration) -> dict[str, Int8Convolution]:
    return {each.name: each.narrow for each in calibration.layers if each.narrow}


def test_the_noise_keeps_within_the_budget(measured: Calibration) -> None:
    assert any(each.narrow for each in measured.layers)
    assert measured.noise >= 50


def test_head_and_tail_which_read_and_write_the_picture_stay_wide(measured: Calibration) -> None:
    assert measured.layers[0].narrow is None and measured.layers[-1].narrow is None
    assert 0 < measured.share < 1


def test_a_stricter_budget_takes_less(graph: ov.Model, measured: Calibration) -> None:
    strict = calibrate(graph, draw_crops([photograph()], 1), budget=measured.noise + 3)
    assert strict.share < measured.share
    assert strict.noise >= measured.noise + 3


def test_the_chosen_convolutions_really_run_in_int8(graph: ov.Model, measured: Calibration) -> None:
    kinds = primitives(quantized(graph, forms(measured)))
    assert sum(kind.endswith(("i8", "u8")) for kind in kinds) == len(forms(measured))
    assert len(kinds) == len(convolutions(graph))


def test_a_network_whose_parts_are_joined_runs_in_int8_and_shares_its_levels() -> None:
    torch.manual_seed(0)
    graph = graph_of_network(build(CFSRCNNConfig(width=8, units=3, enhance=1, refine=1, scales=(2,))), 2)
    found = calibrate(graph, draw_crops([photograph()], 1), budget=40)
    narrow = quantized(graph, forms(found))
    assert [len(sources(op)) for op in convolutions(graph)].count(2) == 3  # units 2 and 3, and what gathers them
    levels = [op for op in narrow.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    assert len(levels) < sum(len(each.highs) for each in forms(found).values())
    assert sum(kind.endswith(("i8", "u8")) for kind in primitives(narrow)) == len(forms(found))
    assert found.noise >= 40


def test_what_reads_negative_numbers_has_signed_levels() -> None:
    torch.manual_seed(0)
    graph = graph_of_network(build(ESRGCNNConfig(width=8, distilled=2, blocks=1, scales=(4,))), 4)
    found = calibrate(graph, draw_crops([photograph()], 1), budget=40)
    taken = forms(found)
    # No ReLU stands between the two steps of x4.
    assert [each.signed for each in taken.values()].count(True) == 1
    assert sum(kind.endswith(("i8", "u8")) for kind in primitives(quantized(graph, taken))) == len(taken)
    assert found.noise >= 40


def test_what_begins_like_a_scale_already_measured_is_taken_over(graph: ov.Model, measured: Calibration) -> None:
    known = list(zip(weights_of(graph), measured.layers, strict=True))[:4]
    again = calibrate(graph, draw_crops([photograph()], 1), 50, known)
    for (_, before), after in zip(known, again.layers, strict=False):
        assert after.narrow is before.narrow
    assert len(again.layers) == len(measured.layers) and again.noise >= 50


def patches_and_weight() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs that go up and down together, as neighbouring pixels do, and a filter bank to read them."""
    random = np.random.default_rng(0)
    common = random.random((4000, 1))
    inputs = (common + 0.05 * random.standard_normal((4000, 36))).astype(np.float32)
    return inputs, random.standard_normal((8, 4, 3, 3)).astype(np.float32)


def test_rounding_together_beats_rounding_each_weight_to_its_nearest() -> None:
    inputs, weight = patches_and_weight()
    wanted = inputs @ weight.reshape(8, -1).T
    found = round_convolution(weight, wanted, inputs)
    got = inputs @ (found.weight * found.step[:, None, None, None]).reshape(8, -1).T + found.bias
    step = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    nearest = inputs @ (np.rint(weight / step) * step).reshape(8, -1).T
    assert np.mean((got - wanted) ** 2) < np.mean((nearest - wanted) ** 2) / 3
    assert found.weight.dtype == np.int8 and found.weight.min() >= -127


def test_rounding_makes_good_what_the_inputs_lack() -> None:
    inputs, weight = patches_and_weight()
    wanted = inputs @ weight.reshape(8, -1).T
    faded = inputs * np.float32(0.9) + np.float32(0.02)  # what earlier convolutions made of them
    found = round_convolution(weight, wanted, faded)
    got = faded @ (found.weight * found.step[:, None, None, None]).reshape(8, -1).T + found.bias
    assert np.abs((got - wanted).mean(axis=0)).max() < 1e-3
    assert np.mean((got - wanted) ** 2) < 0.01 * np.var(wanted)


def test_weights_that_are_whole_steps_are_kept() -> None:
    random = np.random.default_rng(0)
    levels = random.integers(-127, 128, (4, 2, 3, 3)).astype(np.float32)
    levels[:, 0, 1, 1] = 127
    inputs = random.random((500, 18)).astype(np.float32)
    found = round_convolution(levels / 127, inputs @ (levels / 127).reshape(4, -1).T, inputs)
    assert np.array_equal(found.weight, levels)
    assert np.allclose(found.step, 1 / 127) and np.abs(found.bias).max() < 1e-4


def test_the_engine_reads_the_int8_form_and_tiles_exactly(small: Model, measured: Calibration) -> None:
    written = write(small, {2: measured})
    assert written == int8_path(small.weights)
    used = open_engine(small, 2, "openvino", "int8")
    assert used.precision == "int8" and isinstance(used, OpenVINOEngine)
    levels = photograph()[:50, :45]
    whole = used.run_uint8(levels)
    assert np.array_equal(TiledUpscaler(used, tile=9)(Picture(levels)).pixels, whole)
    wide = open_engine(small, 2, "openvino", "fp32").run(widen(levels))
    assert 0 < float(np.abs(used.run(widen(levels)) - wide).max()) < 0.1


def test_what_scales_share_is_stored_once(small: Model, measured: Calibration) -> None:
    once = write(small, {2: measured}).stat().st_size
    twice = write(small, {2: measured, 3: measured}).stat().st_size
    assert twice < once + 6000
    again = read_int8(small.weights, 3)
    for name, each in forms(measured).items():
        assert again[name].highs == each.highs
        for part in ("weight", "step", "bias"):
            assert np.array_equal(getattr(again[name], part), getattr(each, part))


def test_an_int8_form_of_other_weights_is_refused(small: Model, measured: Calibration, tmp_path: Path) -> None:
    path = write(small, {2: measured})
    with pytest.raises(EngineError, match="x3"):
        read_int8(small.weights, 3)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(sha256_of(small.weights).encode(), b"0" * 64))
    with pytest.raises(EngineError, match="other weights"):
        open_engine(small, 2, "openvino", "int8")
    for damaged in (whole[:-100], whole[:40], b"", b"{"):
        path.write_bytes(damaged)
        with pytest.raises(EngineError, match="damaged"):
            open_engine(small, 2, "openvino", "int8")
    path.unlink()
    with pytest.raises(EngineError, match="superfine quantize"):
        open_engine(small, 2, "openvino", "int8")


@pytest.mark.parametrize("name", [each.name for each in list_models() if int8_path(FOLDER / each.weights).is_file()])
def test_the_shipped_int8_forms_are_of_the_shipped_weights(name: str) -> None:
    # After a release: superfine quantize NAME FOLDER, then benchmarks/precision.py.
    model = find(name)
    for scale, path in model.graphs.items():
        graph = core().read_model(path)
        narrow = quantized(graph, read_int8(model.weights, scale))
        assert len(convolutions(narrow)) == len(convolutions(graph))


def test_crops_need_pictures_large_enough() -> None:
    assert draw_crops([photograph()], 3).shape == (3, CROP, CROP, 3)
    with pytest.raises(DataError, match="larger"):
        draw_crops([photograph()[:10]], 3)


def test_the_command_makes_every_scale_run_in_int8(
    small: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = shutil.copytree(small.weights.parent, tmp_path / "out") / small.weights.name
    int8_path(weights).unlink(missing_ok=True)
    (tmp_path / "photographs").mkdir()
    Image.fromarray(photograph()).save(tmp_path / "photographs" / "one.png")
    asked = ["quantize", str(weights), str(tmp_path / "photographs"), "--crops", "2", "--budget", "45", "--layers"]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert "stays wide" in printed and "x3: " in printed and str(int8_path(weights)) in printed
    for scale in (2, 3):
        assert (
            open_engine(find(weights), scale, "openvino", "int8").run_uint8(photograph()[:9, :8]).shape[0] == 9 * scale
        )


def test_calibration_needs_graphs_and_pictures(small: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="superfine export"):
        next(calibrate_scales(replace(small, graphs={}), tmp_path, 50, 2))
    with pytest.raises(DataError, match="no pictures in"):
        next(calibrate_scales(find("esrgcnn"), tmp_path, 50, 2))
