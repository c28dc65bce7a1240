"""ONNX graphs of other programs: what they want is found by running them, and tiles give what whole pictures give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from processes import one_clear_line
from superfine.__main__ import main
from superfine.engines import Engine, find_model, open_engine
from superfine.engines.foreign.graph import open_graph
from superfine.engines.foreign.probe import probe
from superfine.errors import EngineError
from superfine.upscaling import TiledUpscaler, Upscaler
from superfine.upscaling.stitch import run_tiles_float


def write_graph(
    path: Path,
    *,
    scale: int = 2,
    channels: int = 3,
    layout: str = "NCHW",
    white: tuple[float, float] = (0.0, 1.0),
    sides: tuple[int | str, int | str] = ("h", "w"),
    multiple: int = 1,
    uint8: bool = False,
    opset: int = 17,
) -> Path:
    """A network that smooths over 5x5 pixels and repeats them, with biases, so that it works in one range alone.

    multiple: it unshuffles and shuffles first, so that other sides do not run.
    """
    low, high = white
    kernel = np.zeros((channels, channels, 5, 5), np.float32)
    for channel in range(channels):
        kernel[channel, channel, 1:4, 1:4] = 0.02
        kernel[channel, channel, 2, 2] = 0.82
        kernel[channel, channel, 0, 4] = kernel[channel, channel, 4, 0] = 0.01
    middle = np.full(channels, (low + high) / 2, np.float32)
    span = (high - low) / 2
    nodes, x = [], "x"

    def node(kind: str, *inputs: str, **attributes: object) -> None:
        nonlocal x
        name = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, [x, *inputs], [name], **attributes))
        x = name

    if uint8:
        node("Cast", to=TensorProto.FLOAT)
    if layout == "NHWC":
        node("Transpose", perm=[0, 3, 1, 2])
    if multiple > 1:
        node("SpaceToDepth", blocksize=multiple)
        node("DepthToSpace", blocksize=multiple, mode="DCR")
    node("Sub", "middle")  # values far beyond -1..1 are cut, as activations that saturate do
    node("Clip", "least", "most")
    node("Conv", "kernel", pads=[2, 2, 2, 2])
    node("Add", "middle")
    node("Resize", "", "sizes", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    if layout == "NHWC":
        node("Transpose", perm=[0, 2, 3, 1])
    constants = {
        "kernel": kernel,
        "middle": middle.reshape(1, channels, 1, 1),
        "sizes": np.array([1, 1, scale, scale], np.float32),
        "least": np.float32(-span * 1.01),
        "most": np.float32(span * 1.01),
    }
    shape = [1, channels, *sides] if layout == "NCHW" else [1, *sides, channels]
    kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "smooth",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path)
    return path


KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "0..255 NHWC x3": {"white": (0.0, 255.0), "layout": "NHWC", "scale": 3},
    "-1..1": {"white": (-1.0, 1.0)},
    "luma": {"channels": 1},
    "multiple of 4": {"multiple": 4},
    "uint8": {"white": (0.0, 255.0), "layout": "NHWC", "uint8": True},
    "fixed, made free": {"sides": (24, 32)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_graph_wants_is_found_and_tiles_give_the_whole(kind: str, tmp_path: Path) -> None:
    wants = KINDS[kind]
    model = find_model(write_graph(tmp_path / "net.onnx", **wants))  # type: ignore[arg-type]
    scale = wants.get("scale", 2)
    assert (model.kind, model.scales, model.name) == ("onnx", (scale,), "net")
    ends = probe(open_graph(model.weights), model.weights)
    assert (ends.layout, ends.channels) == (wants.get("layout", "NCHW"), wants.get("channels", 3))
    assert ends.given == ends.taken == wants.get("white", (0.0, 1.0))
    assert ends.multiple == wants.get("multiple", 1) and ends.side is None
    engine = open_engine(model, model.scales[0], "openvino")
    multiple = ends.multiple
    least = 3 if ends.channels == 1 else 2  # the kernel's radius, or that of bicubic chroma
    assert engine.halo == -(-least // multiple) * multiple
    assert_tiles_give_the_whole(engine)


def assert_tiles_give_the_whole(engine: Engine) -> None:
    lr = np.random.default_rng(3).integers(0, 256, (45, 38, 3)).astype(np.float32) / 255
    whole = engine.run(np.ascontiguousarray(lr.transpose(2, 0, 1)[None]))[0].transpose(1, 2, 0)
    tiles = TiledUpscaler(engine, tile=8).plan(45, 38)
    assert len(tiles) > 4
    assert np.abs(run_tiles_float(engine, lr, tiles) - whole).max() < 2e-6


@pytest.mark.parametrize("kind", ["plain", "0..255 NHWC x3", "-1..1", "luma", "uint8"])
def test_a_picture_comes_out_as_the_kernel_makes_it(kind: str, tmp_path: Path) -> None:
    wants = KINDS[kind]
    lr = np.full((20, 20, 3), (200, 100, 50), np.uint8)
    with Upscaler(write_graph(tmp_path / "net.onnx", **wants)) as upscaler:  # type: ignore[arg-type]
        sr: NDArray[np.uint8] = upscaler(lr, wants.get("scale", 2))
    assert np.abs(sr[10:-10, 10:-10].astype(int) - lr[0, 0]).max() <= 1


def test_onnx_runtime_runs_the_same_graph_in_windows_of_its_one_size(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    free = open_engine(find_model(write_graph(tmp_path / "free.onnx")), 2, "onnxruntime")
    assert free.name == "onnxruntime"
    assert_tiles_give_the_whole(free)
    model = find_model(write_graph(tmp_path / "fixed.onnx", sides=(24, 32)))
    fixed = open_engine(model, 2, "onnxruntime")
    lr = np.random.default_rng(3).integers(0, 256, (61, 50, 3), dtype=np.uint8)
    small, large = (TiledUpscaler(engine).upscale_float(lr) for engine in (fixed, free))
    inner = slice(8, -8)  # the fixed window is filled up beyond the picture's border, where the free one ends
    assert np.abs(small - large)[inner, inner].max() < 2e-6


def test_the_command_line_and_the_benchmark_run_a_graph(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graph, photo = write_graph(tmp_path / "net.onnx"), tmp_path / "Set" / "photo.png"
    photo.parent.mkdir()
    Image.effect_noise((32, 32), 60).convert("RGBA").save(photo)
    assert main(["upscale", str(photo), "-o", str(tmp_path / "o.png"), "-m", str(graph), "--precision", "fp32"]) == 0
    assert Image.open(tmp_path / "o.png").size == (128, 128) and Image.open(tmp_path / "o.png").mode == "RGBA"
    assert main(["benchmark", str(photo.parent), "-m", str(graph), "-s", "2", "-p", "standard"]) == 0
    assert capfd.readouterr().err.count("\n") <= 3


def two_inputs(path: Path) -> None:
    value = helper.make_tensor_value_info
    sides = [1, 3, "h", "w"]
    ends = [value(name, TensorProto.FLOAT, sides) for name in "xyz"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["z"])], "sum", ends[:2], ends[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def one_node(path: Path, kind: str, shape: list[object], domain: str = "", opset: int = 17) -> None:
    value = helper.make_tensor_value_info
    node = helper.make_node(kind, ["x"], ["y"], domain=domain)
    graph = helper.make_graph(
        [node], "one", [value("x", TensorProto.FLOAT, shape)], [value("y", TensorProto.FLOAT, None)]
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("strange", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def test_what_is_no_super_resolution_graph_gets_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("p.png")
    two_inputs(Path("two.onnx"))
    one_node(Path("same.onnx"), "Relu", [1, 3, "h", "w"])
    one_node(Path("matrix.onnx"), "Relu", ["a", "b"])
    one_node(Path("strange.onnx"), "Wonder", [1, 3, "h", "w"], domain="strange")
    one_node(Path("future.onnx"), "Relu", [1, 3, "h", "w"], opset=999)
    write_graph(Path("whole.onnx"))
    Path("half.onnx").write_bytes(Path("whole.onnx").read_bytes()[:-400])
    Path("text.onnx").write_text("no graph at all")
    Path("empty.onnx").write_bytes(b"")
    negative(Path("negative.onnx"))
    for name, words in [
        ("two", "it has the inputs x, y"),
        ("same", "pixels become"),
        ("matrix", "its input has 2 axes"),
        ("strange", "strange.onnx"),
        ("future", "future.onnx"),
        ("half", "half.onnx is cut short"),
        ("text", "text.onnx is no ONNX model"),
        ("empty", "empty.onnx is empty"),
        ("negative", "of a smooth picture it gives back"),
        ("gone", "no weights file gone.onnx"),
    ]:
        assert main(["upscale", "p.png", "-o", "o.png", "-m", f"{name}.onnx"]) == 2, name
        line = one_clear_line(capfd.readouterr().err)
        assert words in line, line
    assert not Path("o.png").exists()


def negative(path: Path) -> None:
    """Make a graph that enlarges, but gives black for white."""
    model = onnx.load(write_graph(path))
    kernel = next(each for each in model.graph.initializer if each.name == "kernel")
    kernel.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(kernel), "kernel"))
    onnx.save(model, path)


def test_engines_that_run_no_graphs_are_refused(tmp_path: Path) -> None:
    model = find_model(write_graph(tmp_path / "net.onnx"))
    with pytest.raises(EngineError, match="for engine openvino or onnxruntime"):
        open_engine(model, 2, "pytorch")
    with pytest.raises(EngineError, match="runs on the CPU"):
        open_engine(model, 2, "auto", "auto", "cuda")
