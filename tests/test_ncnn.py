"""engines/ncnn.py: the networks in ncnn, on the CPU and on what Vulkan offers, Mesa's software device included."""

from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from superfine.engines import open_engine
from superfine.engines.native_graph import PICTURE, Graph, Node
from superfine.errors import EngineError
from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, Network, build
from superfine.quality.metrics import psnr
from superfine.upscaling.stitch import run_tiles_float
from superfine.upscaling.tiles import plan_tiles
from superfine.weights import find

if find_spec("ncnn") is None:
    pytest.skip("ncnn is not installed", allow_module_level=True)

from superfine.engines.ncnn import NcnnEngine
from superfine.engines.ncnn_files import ncnn_files
from superfine.engines.vulkan import vulkan_devices
from test_engines import photograph, pixel_difference

SMALL = {
    "esrgcnn": ESRGCNNConfig(width=16, distilled=4, blocks=1),
    "cfsrcnn": CFSRCNNConfig(width=16, units=2, enhance=1, refine=1),
}
DEVICES = ["cpu", pytest.param("vulkan", marks=pytest.mark.skipif(not vulkan_devices(), reason="no Vulkan here"))]
pytestmark = pytest.mark.usefixtures("one_torch_thread")
needs_vulkan = pytest.mark.skipif(not vulkan_devices(), reason="no Vulkan here")


def crop() -> NDArray[np.uint8]:
    return photograph()[:32, :36]


@cache
def network(name: str) -> Network:
    torch.manual_seed(0)
    return build(SMALL[name]).eval()


@cache
def wanted(name: str, scale: int) -> NDArray[np.float32]:
    """Run a shipped network on a photograph in float32."""
    return open_engine(find(name), scale, "openvino", "fp32", "cpu").run(planes(crop()))


def planes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


@pytest.mark.parametrize(("name", "scale"), [("esrgcnn", 3), ("cfsrcnn", 4)])
@pytest.mark.parametrize("device", DEVICES)
def test_ncnn_computes_what_pytorch_computes(name: str, scale: int, device: str) -> None:
    used = NcnnEngine.of_network(network(name), scale, "fp32", device)
    x = np.random.default_rng(0).random((1, 3, 13, 22), np.float32)
    with torch.inference_mode():
        expected = network(name)(torch.from_numpy(x), scale).numpy()
    assert used.device == (device if device == "cpu" else "vulkan:0")
    assert pixel_difference(used.run(x), expected) <= 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_the_shipped_networks_on_a_cpu_differ_by_roundings_only(name: str) -> None:
    used = open_engine(find(name), 2, "ncnn", "auto", "cpu")
    assert (used.name, used.precision, used.device) == ("ncnn", "fp32", "cpu")
    assert pixel_difference(used.run(planes(crop())), wanted(name, 2)) <= 1e-5


@needs_vulkan
@pytest.mark.parametrize(("name", "scale"), [("cfsrcnn", 2)])
def test_fp16_on_a_gpu_is_half_a_level_off_at_most_and_costs_no_psnr(name: str, scale: int) -> None:
    used = open_engine(find(name), scale, "ncnn", "fp16", "vulkan")
    half, single = used.run(planes(crop())), wanted(name, scale)
    assert pixel_difference(half, single) <= 2e-3
    # Noise at 69 dB costs a picture of 40 dB 0.005 dB.
    assert psnr(half * 255, single * 255) >= 69


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("device", DEVICES)
def test_tiled_equals_whole_but_for_roundings(name: str, device: str) -> None:
    used = NcnnEngine.of_network(network(name), 3, "fp32", device)
    rgb = np.random.default_rng(1).random((61, 47, 3), np.float32)
    whole = run_tiles_float(used, rgb, plan_tiles(61, 47, 100, used.halo))
    plan = plan_tiles(61, 47, 9, used.halo)
    assert len(plan) > 1
    assert pixel_difference(run_tiles_float(used, rgb, plan), whole) <= 1e-5


def test_released_and_limited_it_computes_the_same_again() -> None:
    used = NcnnEngine.of_network(network("esrgcnn"), 2, device="cpu")
    before = used.run_uint8(crop())
    used.limit(5000)
    assert used.window == 5000
    used.release()
    assert np.array_equal(used.run_uint8(crop()), before)


@pytest.mark.parametrize(
    ("precision", "device", "says"),
    [("bf16", "cpu", "fp32"), ("fp16", "cpu", "CPUs"), ("auto", "vulkan:77", "'vulkan:77' here: there are ")],
)
def test_what_ncnn_cannot_do_is_said_in_one_line(precision: str, device: str, says: str) -> None:
    with pytest.raises(EngineError) as raised:
        open_engine(find("esrgcnn"), 2, "ncnn", precision, device)
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_a_network_with_an_operation_ncnn_is_not_written_for_is_refused() -> None:
    weight = np.zeros((3, 3, 3, 3), np.float32)
    nodes = [Node("conv", (PICTURE, "w"), ("a",)), Node("tanh", ("a",), ("b",))]
    with pytest.raises(EngineError, match="tanh"):
        ncnn_files(Graph(nodes, {"w": weight}), half=False)
