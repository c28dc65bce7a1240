"""engines/: every engine gives what the PyTorch network gives, and tiled equals whole."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import superfine
from superfine.engines import Engine, devices, open_engine
from superfine.engines.base import Window, round_to_uint8, widen
from superfine.engines.devices import has_kernels
from superfine.engines.nearest import NearestEngine
from superfine.engines.openvino import OpenVINOEngine, choose_precision, strips
from superfine.engines.pytorch import PyTorchEngine, half_precision_copy
from superfine.engines.runtime import core, ov
from superfine.engines.vulkan import VulkanDevice
from superfine.errors import EngineError, ModelError
from superfine.images import Picture
from superfine.native.library import fast_int16, instructions
from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, Network, build
from superfine.upscaling import TiledUpscaler
from superfine.upscaling.stitch import run_tiles_float
from superfine.upscaling.tiles import plan_tiles
from superfine.weights import Model, find, network_file

SMALL = {
    "small esrgcnn": ESRGCNNConfig(width=16, distilled=4, blocks=1),
    "small cfsrcnn": CFSRCNNConfig(width=16, units=2, enhance=1, refine=1),
}
HAS_BF16 = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
OPENVINO_PRECISIONS = ["fp32", pytest.param("bf16", marks=pytest.mark.skipif(not HAS_BF16, reason="no bf16 here"))]
SHIPPED = ("esrgcnn", "cfsrcnn")
small_networks = pytest.mark.parametrize("name", SMALL)
shipped_networks = pytest.mark.parametrize("name", SHIPPED)
all_scales = pytest.mark.parametrize("scale", [2, 3, 4])


@cache
def network(name: str) -> Network:
    """A small network with random weights, or a shipped one."""
    if name in SHIPPED:
        return network_file.load(find(name).weights).eval()
    torch.manual_seed(0)
    return build(SMALL[name]).eval()


@cache
def engine(kind: str, name: str, scale: int, precision: str) -> Engine:
    if name in SHIPPED:
        return open_engine(find(name), scale, kind, precision, "cpu")
    if kind == "openvino":
        return OpenVINOEngine.of_network(network(name), scale, precision)
    return PyTorchEngine.of_network(network(name), scale, precision, "cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread(one_torch_thread: None) -> Iterator[None]:
    """Run OpenVINO in one thread too."""
    threads = core().get_property("CPU", "INFERENCE_NUM_THREADS")
    core().set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
    yield
    core().set_property("CPU", {"INFERENCE_NUM_THREADS": threads})


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def photograph() -> NDArray[np.uint8]:
    demo = Path(superfine.__file__).parent / "demo"
    with Image.open(next(demo.glob("*.jpg"))) as image:
        return np.asarray(image.convert("RGB").crop((300, 200, 372, 264)))


def pixel_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).max())


pictures = {"height": st.integers(1, 60), "width": st.integers(1, 60), "tile": st.integers(3, 40)}


@small_networks
@all_scales
@pytest.mark.parametrize("precision", OPENVINO_PRECISIONS)
@settings(max_examples=10, deadline=None)
@given(**pictures)
def test_tiled_equals_whole_to_the_bit_on_openvino(
    name: str, scale: int, precision: str, height: int, width: int, tile: int
) -> None:
    used = engine("openvino", name, scale, precision)
    plan = plan_tiles(height, width, tile, used.halo)
    assume(len(plan) <= 60)
    rgb = noise(height, width)
    whole = run_tiles_float(used, rgb, plan_tiles(height, width, 60, used.halo))
    assert np.array_equal(run_tiles_float(used, rgb, plan), whole)


@small_networks
@all_scales
@settings(max_examples=10, deadline=None)
@given(**pictures)
def test_tiled_equals_whole_on_pytorch(name: str, scale: int, height: int, width: int, tile: int) -> None:
    used = engine("pytorch", name, scale, "fp32")
    plan = plan_tiles(height, width, tile, used.halo)
    assume(len(plan) <= 60)
    rgb = noise(height, width)
    whole = run_tiles_float(used, rgb, plan_tiles(height, width, 60, used.halo))
    assert pixel_difference(run_tiles_float(used, rgb, plan), whole) <= 1e-6


@shipped_networks
@pytest.mark.parametrize("scale, tile", [(2, 17), (3, 32), (4, 25)])
@pytest.mark.parametrize("kind, precision", [("openvino", "fp32"), ("openvino", "bf16"), ("pytorch", "fp32")])
def test_tiled_equals_whole_with_the_full_networks(name: str, scale: int, tile: int, kind: str, precision: str) -> None:
    if precision == "bf16" and not HAS_BF16:
        pytest.skip("no bf16 here")
    used = engine(kind, name, scale, precision)
    rgb = noise(2 * used.halo + 41, 2 * used.halo + 33)
    whole = run_tiles_float(used, rgb, plan_tiles(*rgb.shape[:2], 200, used.halo))
    plan = plan_tiles(*rgb.shape[:2], tile, used.halo)
    assert len(plan) > 1
    assert pixel_difference(run_tiles_float(used, rgb, plan), whole) <= (1e-6 if kind == "pytorch" else 0)


def test_a_halo_one_pixel_short_is_found_out() -> None:
    # The promise above could not fail if windows were never cut: here it does.
    used = engine("openvino", "small cfsrcnn", 2, "fp32")
    rgb = noise(50, 50)
    whole = run_tiles_float(used, rgb, plan_tiles(50, 50, 60, used.halo))
    assert not np.array_equal(run_tiles_float(used, rgb, plan_tiles(50, 50, 9, used.halo - 1)), whole)


@shipped_networks
@all_scales
@pytest.mark.parametrize("picture", ["noise", "photograph"])
def test_openvino_agrees_with_pytorch(name: str, scale: int, picture: str) -> None:
    rgb = widen(photograph()) if picture == "photograph" else noise(31, 45).transpose(2, 0, 1)[None].copy()
    with torch.inference_mode():
        wanted = network(name)(torch.from_numpy(rgb), scale).numpy()
    assert pixel_difference(engine("openvino", name, scale, "fp32").run(rgb), wanted) <= 1e-4
    assert pixel_difference(engine("pytorch", name, scale, "fp32").run(rgb), wanted) <= 1e-4


@shipped_networks
@pytest.mark.parametrize("kind, precision", [("openvino", "fp32"), ("openvino", "bf16"), ("pytorch", "fp32")])
def test_uint8_ends_give_the_rounded_float_result(name: str, kind: str, precision: str) -> None:
    if precision == "bf16" and not HAS_BF16:
        pytest.skip("no bf16 here")
    used = engine(kind, name, 2, precision)
    levels = photograph()
    off = np.abs(used.run_uint8(levels).astype(int) - round_to_uint8(used.run(widen(levels))))
    # A compiler may subtract the mean in one step with the division: the last bit tips a rare half.
    assert off.max() <= 1 and off.mean() < 1e-3


def test_bf16_stays_near_fp32() -> None:
    if not HAS_BF16:
        pytest.skip("no bf16 here")
    rgb = widen(photograph())
    for name in SHIPPED:
        wide = engine("openvino", name, 3, "fp32").run(rgb)
        assert 0 < pixel_difference(engine("openvino", name, 3, "bf16").run(rgb), wide) < 0.02


def test_an_engine_runs_again_after_release_and_after_many_shapes() -> None:
    used = engine("openvino", "small esrgcnn", 2, "fp32")
    first = used.run_uint8(photograph())
    for side in range(1, 9):
        used.run(noise(side, side).transpose(2, 0, 1)[None].copy())
    used.release()
    assert np.array_equal(used.run_uint8(photograph()), first)


def test_compiled_shapes_stay_within_the_memory_of_one_window() -> None:
    used = engine("openvino", "small esrgcnn", 2, "fp32")
    assert isinstance(used, OpenVINOEngine)
    planned, used.window = used.window, 40 * 40
    used.release()
    try:
        for side, held in ((20, 1), (21, 2), (30, 2), (60, 1), (10, 1)):
            used.run(np.zeros((1, 3, side, side), np.float32))
            assert len(used._compiled_windows) == held
    finally:
        used.window = planned
        used.release()


@pytest.mark.parametrize("precision", OPENVINO_PRECISIONS)
def test_the_number_of_threads_changes_no_bit(precision: str) -> None:
    results = []
    for threads in (1, 2):
        core().set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
        results.append(open_engine(find("esrgcnn"), 2, "openvino", precision).run(widen(photograph())))
    core().set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
    assert np.array_equal(*results)


def test_nearest_repeats_pixels() -> None:
    used = NearestEngine(3)
    levels = photograph()
    assert np.array_equal(used.run_uint8(levels), np.kron(levels, np.ones((3, 3, 1), np.uint8)))
    assert np.array_equal(TiledUpscaler(used, tile=7)(Picture(levels)).pixels, used.run_uint8(levels))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small network's file of ours, without graphs beside it."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    network_file.save(network("small cfsrcnn"), path, dtype=torch.float32)
    return find(path)


def test_every_engine_opens_a_checkpoint_without_graphs_and_agrees(checkpoint: Model) -> None:
    rgb = noise(20, 24).transpose(2, 0, 1)[None].copy()
    opened = [open_engine(checkpoint, 3, kind, "fp32", "cpu") for kind in ("openvino", "pytorch")]
    assert all(isinstance(each, Engine) for each in opened)
    assert [each.halo for each in opened] == [checkpoint.halo[3]] * 2
    assert pixel_difference(opened[0].run(rgb), opened[1].run(rgb)) <= 1e-4


def test_auto_takes_an_engine_and_a_precision_that_run_here(checkpoint: Model) -> None:
    used = open_engine(checkpoint, 2)
    assert used.name in ("native", "openvino", "pytorch") and used.precision in ("fp32", "int16", "bf16", "fp16")
    assert used.run_uint8(photograph()).shape == (128, 144, 3)


@pytest.mark.skipif(instructions() is None, reason="the kernels are not compiled, or not for this processor")
@pytest.mark.parametrize(
    ("units", "precision", "taken"),
    [
        (False, "auto", ("native", "int16" if fast_int16() else "fp32")),
        (True, "auto", ("openvino", choose_precision("auto"))),
        (True, "fp32", ("native", "fp32")),
        (False, "int8", ("openvino", "int8")),
    ],
)
def test_auto_takes_the_own_kernels_but_matrix_units_for_bf16(
    monkeypatch: pytest.MonkeyPatch, units: bool, precision: str, taken: tuple[str, str]
) -> None:
    monkeypatch.setattr("superfine.native.library.matrix_units", lambda: units)
    used = open_engine(find("esrgcnn"), 2, "auto", precision, "cpu")
    assert (used.name, used.precision) == taken


@pytest.mark.parametrize(("own", "chosen"), [("bf16", "bf16"), ("f32", "fp32"), ("f16", "fp32")])
def test_auto_takes_bf16_only_where_the_processor_prefers_it_and_int8_never(
    monkeypatch: pytest.MonkeyPatch, own: str, chosen: str
) -> None:
    facts = {
        "OPTIMIZATION_CAPABILITIES": ["FP32", "BF16", "FP16", "INT8"],
        "INFERENCE_PRECISION_HINT": getattr(ov.Type, own),
    }
    processor = SimpleNamespace(get_property=lambda device, name: facts[name])
    monkeypatch.setattr("superfine.engines.openvino.core", lambda: processor)
    assert choose_precision("auto") == chosen


@pytest.mark.parametrize(
    ("built", "gpu", "taken"),
    [
        (["sm_75", "sm_80", "sm_90a"], (9, 0), True),
        (["sm_75", "sm_80"], (12, 0), True),
        (["sm_75", "sm_80"], (6, 1), False),
        (["gfx1100"], (11, 0), True),
        ([], (8, 0), True),
    ],
)
def test_auto_passes_over_a_gpu_this_pytorch_has_no_kernels_for(
    built: list[str], gpu: tuple[int, int], taken: bool
) -> None:
    cuda = SimpleNamespace(get_arch_list=lambda: built, get_device_capability=lambda: gpu)
    assert has_kernels(SimpleNamespace(cuda=cuda)) is taken


@pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
@pytest.mark.parametrize(
    "file, asked", [("dri/renderD128", True), ("nvidia0", True), ("nvidiactl", False), ("", False)]
)
def test_auto_asks_vulkan_only_where_a_gpu_has_a_device_file(
    file: str, asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if file:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    card = VulkanDevice(0, "a card", is_card=True, is_software=False)
    monkeypatch.setattr(devices, "_DEVICE_FILES", tmp_path)
    monkeypatch.setattr(devices, "_vulkan", lambda: (card,))
    monkeypatch.setattr(devices, "pytorch_sees_a_gpu", lambda: False)
    assert devices.engine_on_gpu("auto") == ("ncnn" if asked else None)
    assert devices.engine_on_gpu("gpu") == "ncnn"


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("dtype, most", [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_the_copy_that_a_gpu_runs_in_half_precision_is_the_same_network(
    name: str, dtype: torch.dtype, most: float
) -> None:
    """Computed on the CPU: the arithmetic is that of the copy, the speed is not."""
    original = network(name)
    twin = half_precision_copy(original, dtype)
    x = torch.from_numpy(widen(photograph())[:, :, :24, :20].copy())
    for scale in (2, 3, 4):
        with torch.inference_mode():
            assert (twin(x, scale) - original(x, scale)).abs().max() <= most
    assert original.head.weight.dtype == torch.float32 and twin.head.weight.dtype == dtype
    assert twin.tail.weight.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision, most", [("fp32", 0), ("fp16", 1)])
def test_a_recorded_window_is_the_window_computed_at_once(precision: str, most: int) -> None:
    used = PyTorchEngine.of_network(build(SMALL["small esrgcnn"]).eval(), 2, precision, "cuda")
    first = used.run_uint8(photograph())
    turned = np.ascontiguousarray(photograph()[::-1])
    recorded = [used.run_uint8(pixels) for pixels in (photograph(), turned, photograph())]
    for again in (recorded[0], recorded[2]):
        assert np.abs(again.astype(int) - first).max() <= most  # cuDNN may choose other kernels for a recording
    assert np.array_equal(recorded[0], recorded[2]) and not np.array_equal(recorded[1], recorded[0])
    used.release()
    assert np.array_equal(used.run_uint8(photograph()), first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_batches_under_way_on_a_gpu_are_the_windows_one_by_one(precision: str) -> None:
    """The rest of what runs ahead is tested without a GPU, in test_ahead.py."""
    used = PyTorchEngine.of_network(build(SMALL["small esrgcnn"]).eval(), 2, precision, "cuda")
    pixels = photograph()
    used.limit(8 * pixels.size // 3)
    windows: list[Window] = [np.roll(pixels, turn, axis=0) for turn in range(11)]
    floats: list[Window] = [widen(window) for window in windows]
    for inputs, run, most in ((windows, used.run_uint8, 1), (floats, used.run, 1e-5 if precision == "fp32" else 5e-3)):
        wanted = [run(window) for window in inputs]
        for _ in range(3):  # at once, recorded, and replayed
            batches = list(used.run_ahead(iter(inputs)))
            assert [len(batch) for batch in batches] == [4, 4, 2, 1]
            found = [result for batch in batches for result in batch]
            assert all(np.abs(a.astype(np.float64) - b).max() <= most for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        ({"engine": "tensorrt"}, EngineError, "openvino"),
        ({"engine": "openvino", "device": "cuda"}, EngineError, "computes on cpu, gpu"),
        ({"device": "gpu:first"}, EngineError, "gpu:1"),
        ({"precision": "fp64"}, EngineError, "bf16"),
        ({"engine": "pytorch", "device": "cpu", "precision": "fp16"}, EngineError, "fp32"),
        ({"engine": "pytorch", "device": "abacus"}, EngineError, "cpu"),
        ({"engine": "native", "device": "vulkan:0"}, EngineError, "computes on the CPU"),
        ({"engine": "ncnn", "device": "cuda"}, EngineError, "cpu, vulkan, gpu"),
        ({"device": "vulkan:99"}, EngineError, "there are "),
        ({"device": "cuda:99"}, EngineError, ", cpu"),
        ({"scale": 5}, ModelError, "x2, x3, x4"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(
    checkpoint: Model, wrong: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as raised:
        open_engine(checkpoint, **{"scale": 2, **wrong})  # type: ignore[arg-type]
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_a_network_engine_without_a_model_is_refused() -> None:
    with pytest.raises(ModelError):
        open_engine(None, 2, "openvino")


@small_networks
@all_scales
@pytest.mark.parametrize("precision", OPENVINO_PRECISIONS)
def test_strips_of_a_window_change_no_bit(name: str, scale: int, precision: str) -> None:
    used = engine("openvino", name, scale, precision)
    assert isinstance(used, OpenVINOEngine)
    rgb, planned = widen(photograph()), used._strip
    whole, levels = used.run(rgb), used.run_uint8(photograph())
    try:
        for rows in (9, 16, 33):
            used.release()
            used._strip = rows * rgb.shape[3]
            assert np.array_equal(used.run(rgb), whole)
            assert np.array_equal(used.run_uint8(photograph()), levels)
    finally:
        used.release()
        used._strip = planned


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 4), st.integers(1, 60))
def test_strips_cover_every_row_once_with_context(height: int, halo: int, extra: int) -> None:
    rows = min(height, 2 * halo + extra)
    kept = []
    for read, first, last in strips(height, rows, halo):
        assert read >= 0 and read + rows <= height
        assert read == 0 or first - read >= halo
        assert read + rows == height or read + rows - last >= halo
        kept += range(first, last)
    assert kept == list(range(height))
