"""engines/onnxruntime.py: the same numbers as PyTorch, and tiled equals whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import superfine
from superfine.engines import Engine, open_engine
from superfine.engines.base import round_to_uint8, widen
from superfine.errors import EngineError
from superfine.upscaling.stitch import run_tiles_float
from superfine.upscaling.tiles import plan_tiles
from superfine.weights import find, network_file

pytest.importorskip("onnxruntime")

both_networks = pytest.mark.parametrize("name", ["esrgcnn", "cfsrcnn"])
all_scales = pytest.mark.parametrize("scale", [2, 3, 4])


def photograph(size: int) -> np.ndarray:
    demo = Path(superfine.__file__).parent / "demo"
    with Image.open(next(demo.glob("*.jpg"))) as image:
        return np.asarray(image.convert("RGB").crop((300, 200, 300 + size, 200 + size)))


@both_networks
@all_scales
def test_it_agrees_with_pytorch_to_1e_4_on_noise_and_on_a_photograph(name: str, scale: int) -> None:
    engine = open_engine(find(name), scale, "onnxruntime")
    assert isinstance(engine, Engine)
    assert (engine.name, engine.precision, engine.device, engine.scale) == ("onnxruntime", "fp32", "cpu", scale)
    assert engine.halo == find(name).halo[scale]
    network = network_file.load(find(name).weights)
    noise = np.random.default_rng(0).random((1, 3, 21, 34), dtype=np.float32)
    for lr in (noise, widen(photograph(32))):
        with torch.inference_mode():
            wanted = network(torch.from_numpy(lr), scale).numpy()
        assert np.abs(engine.run(lr) - wanted).max() <= 1e-4


def test_uint8_is_the_float_result_rounded() -> None:
    engine, picture = open_engine(find("esrgcnn"), 3, "onnxruntime"), photograph(24)
    sr = engine.run_uint8(picture)
    assert (sr.shape, sr.dtype) == ((72, 72, 3), np.uint8)
    assert np.array_equal(sr, round_to_uint8(engine.run(widen(picture))))


@settings(max_examples=6, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), tile=st.integers(3, 40))
def test_tiled_equals_whole(height: int, width: int, tile: int) -> None:
    engine = open_engine(find("cfsrcnn"), 2, "onnxruntime")
    picture = np.random.default_rng(height * 64 + width).random((height, width, 3), dtype=np.float32)
    whole = run_tiles_float(engine, picture, plan_tiles(height, width, max(height, width), engine.halo))
    tiled = run_tiles_float(engine, picture, plan_tiles(height, width, tile, engine.halo))
    assert np.abs(tiled - whole).max() <= 1e-6


def test_released_it_runs_again_with_the_same_result() -> None:
    engine, lr = open_engine(find("esrgcnn"), 2, "onnxruntime"), np.full((1, 3, 8, 8), 0.5, np.float32)
    before = engine.run(lr)
    engine.release()
    engine.release()
    assert np.array_equal(engine.run(lr), before)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precisions_it_lacks_are_refused(precision: str) -> None:
    with pytest.raises(EngineError, match=f"not {precision}: choose auto or fp32"):
        open_engine(find("esrgcnn"), 2, "onnxruntime", precision)


def test_a_model_without_graphs_is_told_how_to_get_them() -> None:
    with pytest.raises(EngineError, match="superfine export"):
        open_engine(replace(find("esrgcnn"), graphs={}), 2, "onnxruntime")


def test_a_damaged_graph_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x00not a graph")
    with pytest.raises(EngineError, match=r"cannot read .*bad\.onnx") as caught:
        open_engine(replace(find("esrgcnn"), graphs={2: tmp_path / "bad.onnx"}), 2, "onnxruntime")
    assert "\n" not in str(caught.value)
