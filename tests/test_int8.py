"""engines/int8.py and export/calibrate.py: what runs in eight bits, and that it costs what was measured."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import superfine
from superfine import checkpoints
from superfine.engines import open_engine
from superfine.engines.base import widen
from superfine.engines.graphs import graph_of_network
from superfine.engines.int8 import Range, convolutions, quantized, ranges_path, read_ranges, weight_limits, weight_of
from superfine.engines.openvino import OpenVINOEngine, core
from superfine.errors import DataError, EngineError
from superfine.export.calibrate import CROP, Calibration, calibrate, draw_crops, write
from superfine.nets import ESRGCNNConfig, build
from superfine.upscale.stitch import run_tiles
from superfine.upscale.tiles import plan_tiles
from superfine.weights import Model, find

pytestmark = pytest.mark.skipif(
    "INT8" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"), reason="no int8 here"
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
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    checkpoints.save(build(ESRGCNNConfig(width=32, distilled=8, blocks=1, scales=(2,))), path, dtype=torch.float32)
    return find(path)


@pytest.fixture(scope="module")
def graph(small: Model) -> ov.Model:
    return graph_of_network(checkpoints.load(small.weights), 2)


@pytest.fixture(scope="module")
def measured(graph: ov.Model) -> Calibration:
    return calibrate(graph, draw_crops([photograph()], 2), budget=50)


def test_the_noise_of_what_is_taken_keeps_near_the_budget(measured: Calibration) -> None:
    assert any(each.taken for each in measured.layers)
    # The errors add up only nearly: 2 dB for what they have in common.
    assert measured.noise >= 48


def test_what_reads_negative_numbers_or_writes_the_picture_stays_wide(measured: Calibration) -> None:
    assert not measured.layers[0].taken and not measured.layers[-1].taken
    assert 0 < measured.share < 1


def test_a_stricter_budget_takes_less(graph: ov.Model, measured: Calibration) -> None:
    strict = calibrate(graph, draw_crops([photograph()], 2), budget=90)
    assert strict.share < measured.share


def test_the_chosen_convolutions_really_run_in_int8(graph: ov.Model, measured: Calibration) -> None:
    ranges = {each.name: each.range for each in measured.layers if each.taken and each.range}
    narrow = quantized(graph, ranges)
    narrow.reshape([1, 3, 32, 32])
    compiled = core().compile_model(narrow, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = [
        op.get_rt_info()["primitiveType"].astype(str)
        for op in compiled.get_runtime_model().get_ordered_ops()
        if op.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert sum(kind.lower().endswith(("i8", "u8")) for kind in kinds) == len(ranges)
    assert len(kinds) == len(convolutions(graph))


def test_evening_channels_out_changes_nothing_but_the_rounding(graph: ov.Model) -> None:
    # 256 levels up to 1e-3 of what comes would clip; up to the whole range both forms are the same function.
    name = str(convolutions(graph)[2].get_friendly_name())
    channels = weight_of(convolutions(graph)[2]).shape[1]
    factors = tuple(float(2 ** (number % 3 - 1)) for number in range(channels))
    batch = widen(photograph()[:32, :32])
    results = []
    for each in (Range(4.0), Range(8.0, factors)):
        narrow = quantized(graph, {name: each})
        narrow.reshape([1, 3, 32, 32])
        results.append(core().compile_model(narrow, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(batch)[0])
    assert 0 < float(np.abs(results[0] - results[1]).max()) < 0.02


def test_filters_keep_their_largest_weight_or_clip_it_for_less_error() -> None:
    weight = np.zeros((2, 1, 1, 4), np.float32)
    weight[0] = [127, -64, 1, 0]  # whole steps of 1: nothing to gain from clipping
    limits = weight_limits(weight)
    assert limits.shape == (2, 1, 1, 1) and limits[0, 0, 0, 0] == 127
    assert np.isfinite(limits).all() and limits[1, 0, 0, 0] > 0


def test_the_engine_reads_the_ranges_and_tiles_exactly(small: Model, measured: Calibration) -> None:
    written = write(small, {2: measured})
    assert written == ranges_path(small.weights)
    used = open_engine(small, 2, "openvino", "int8")
    assert used.precision == "int8" and isinstance(used, OpenVINOEngine)
    levels = photograph()[:50, :45]
    whole = used.run_uint8(levels)
    assert np.array_equal(run_tiles(used, levels, plan_tiles(50, 45, 9, used.halo)), whole)
    wide = open_engine(small, 2, "openvino", "fp32").run(widen(levels))
    assert 0 < float(np.abs(used.run(widen(levels)) - wide).max()) < 0.1


def test_ranges_of_other_weights_are_refused(small: Model, measured: Calibration) -> None:
    path = write(small, {2: measured})
    content = json.loads(path.read_text())
    with pytest.raises(EngineError, match="x3"):
        read_ranges(small.weights, 3)
    path.write_text(json.dumps({**content, "weights": "0" * 64}))
    with pytest.raises(EngineError, match="other weights"):
        open_engine(small, 2, "openvino", "int8")
    path.write_text("{")
    with pytest.raises(EngineError, match="damaged"):
        open_engine(small, 2, "openvino", "int8")
    path.unlink()
    with pytest.raises(EngineError, match="superfine quantize"):
        open_engine(small, 2, "openvino", "int8")


def test_crops_need_pictures_large_enough() -> None:
    assert draw_crops([photograph()], 3).shape == (3, CROP, CROP, 3)
    with pytest.raises(DataError, match="larger"):
        draw_crops([photograph()[:10]], 3)
