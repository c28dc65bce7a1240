"""engines/native.py: the project's own kernels give what PyTorch gives, tiled equals whole, to the bit."""

import copy
import os
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from superfine.benchmark.sets import read_rgb
from superfine.benchmark.speed import reason_for
from superfine.demo import PHOTOGRAPH
from superfine.engines import native as native_module
from superfine.engines import open_engine
from superfine.engines.base import round_to_uint8, widen
from superfine.engines.native import NativeEngine
from superfine.errors import EngineError
from superfine.images.resize import downscale
from superfine.native import library as native_library
from superfine.native.library import instructions, matrix_units
from superfine.nets import ESRGCNN, CFSRCNNConfig, ESRGCNNConfig, Network, build
from superfine.upscaling.self_ensemble import SelfEnsembleEngine
from superfine.upscaling.stitch import run_tiles_float
from superfine.upscaling.tiles import plan_tiles
from superfine.weights import find, network_file

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = {
    "small esrgcnn": ESRGCNNConfig(width=24, distilled=5, blocks=1),
    "small cfsrcnn": CFSRCNNConfig(width=16, units=2, enhance=1, refine=1),
    "bare cfsrcnn": CFSRCNNConfig(width=20, units=2, enhance=0, refine=0),
}
SHIPPED = ("esrgcnn", "cfsrcnn")
PRECISIONS = ("fp32", "int16") if instructions(int16=True) else ("fp32",)
all_precisions = pytest.mark.parametrize("precision", PRECISIONS)
all_scales = pytest.mark.parametrize("scale", [2, 3, 4])
here = pytest.mark.skipif(instructions() is None, reason="the kernels are not compiled, or not for this processor")


@cache
def network(name: str) -> Network:
    """A small network with random weights, or a shipped one."""
    if name in SHIPPED:
        return network_file.load(find(name).weights).eval()
    torch.manual_seed(0)
    return build(SMALL[name]).eval()


@cache
def engine(name: str, scale: int, precision: str = "fp32") -> NativeEngine:
    if name in SHIPPED:
        return NativeEngine(find(name), scale, precision)
    return NativeEngine.of_network(network(name), scale, precision)


def noise(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((height, width, 3), dtype=np.float32)


def planes(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])


needs_int16 = pytest.mark.skipif("int16" not in PRECISIONS, reason="this processor has no kernels for 16-bit numbers")


@needs_int16
@pytest.mark.parametrize("name", SHIPPED)
@all_scales
def test_int16_changes_few_pixels_of_a_photograph_by_one_level(name: str, scale: int) -> None:
    levels = downscale(read_rgb(PHOTOGRAPH)[0], 4)[:96, :96]
    wanted, found = (engine(name, scale, each).run_uint8(levels).astype(int) for each in PRECISIONS)
    off = np.abs(found - wanted)
    assert 0 < (off > 0).mean() < 0.02
    assert off.max() == 1


@needs_int16
@pytest.mark.parametrize("weights", ["ones", "signs", "few large"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(-20, 20))
def test_int16_holds_for_weights_and_maps_of_any_size(weights: str, seed: int, size: int) -> None:
    # Ones and bright maps make the largest sums there are; a few large weights among small ones the coarsest steps.
    random = np.random.default_rng(seed)
    odd = copy.deepcopy(network("small cfsrcnn"))
    for parameter in odd.parameters():
        if parameter.dim() == 4 and parameter.shape[2] == 3 and min(parameter.shape[:2]) > 3:
            normal = random.standard_normal(parameter.shape)
            kinds = {
                "ones": np.ones(parameter.shape),
                "signs": np.sign(normal),
                "few large": np.where(random.random(parameter.shape) < 0.02, normal, normal / 1000),
            }
            parameter.data = torch.from_numpy(kinds[weights] / parameter[0].numel() ** 0.5).float()
    odd.head.weight.data *= 2.0**size
    rgb = planes(np.sign(noise(13, 18) - 0.5) / 2 + 0.5)
    wanted, found = (NativeEngine.of_network(odd, 2, each).run(rgb) for each in PRECISIONS)
    assert np.abs(found - wanted).max() <= 5e-3 * np.abs(wanted).max()


@here
@pytest.mark.parametrize("name", [*SMALL, *SHIPPED])
@all_scales
@pytest.mark.parametrize("height, width", [(21, 30), (1, 1), (3, 101)])
def test_native_agrees_with_pytorch(name: str, scale: int, height: int, width: int) -> None:
    rgb = planes(noise(height, width))
    with torch.inference_mode():
        wanted = network(name)(torch.from_numpy(rgb), scale).numpy()
    assert np.abs(engine(name, scale).run(rgb) - wanted).max() <= 1e-4


@here
@all_precisions
@pytest.mark.parametrize("name", SMALL)
@all_scales
@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 150), width=st.integers(1, 150), tile=st.integers(3, 90))
def test_tiled_equals_whole_to_the_bit(
    name: str, scale: int, precision: str, height: int, width: int, tile: int
) -> None:
    used = engine(name, scale, precision)
    plan = plan_tiles(height, width, tile, used.halo, used.grid)
    assume(len(plan) <= 30)
    rgb = noise(height, width)
    assert np.array_equal(run_tiles_float(used, rgb, plan), used.run(planes(rgb))[0].transpose(1, 2, 0))


@here
@all_precisions
@pytest.mark.parametrize("name", SHIPPED)
def test_tiled_equals_whole_with_the_full_networks(name: str, precision: str) -> None:
    used = engine(name, 2, precision)
    rgb = noise(50, 2 * used.halo + 41)
    plan = plan_tiles(*rgb.shape[:2], 32, used.halo, used.grid)
    assert len(plan) == 2
    assert np.array_equal(run_tiles_float(used, rgb, plan), used.run(planes(rgb))[0].transpose(1, 2, 0))


@here
@pytest.mark.parametrize("wrong", ["halo", "grid"])
def test_a_shorter_halo_or_another_grid_is_found_out(wrong: str) -> None:
    # The promise above could not fail if windows were never cut: here it does.
    used = engine("small cfsrcnn", 2)
    halo, grid = (8, used.grid) if wrong == "halo" else (used.halo, 1)
    assert network("small cfsrcnn").receptive_radius(2) <= 8  # what is right but for rounding needs no more
    rgb = noise(90, 90)
    whole = used.run(planes(rgb))[0].transpose(1, 2, 0)
    assert not np.array_equal(run_tiles_float(used, rgb, plan_tiles(90, 90, 9, halo, grid)), whole)


@here
@all_precisions
@pytest.mark.parametrize("name", ["small esrgcnn", "small cfsrcnn"])
def test_strips_of_columns_that_keep_within_memory_change_no_bit(name: str, precision: str) -> None:
    used = NativeEngine.of_network(network(name), 2, precision)
    rgb = planes(noise(37, 403))
    whole = used.run(rgb)
    used.limit(16)
    assert np.array_equal(used.run(rgb), whole)


@here
@all_precisions
@pytest.mark.parametrize("threads", [1, 3, 8])
def test_the_number_of_threads_changes_no_bit(threads: int, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used, rgb = engine("small cfsrcnn", 3, precision), planes(noise(61, 250))
    whole = used.run(rgb)
    monkeypatch.setattr(native_module, "cores", lambda: threads)
    assert np.array_equal(used.run(rgb), whole)


@here
@all_precisions
@pytest.mark.parametrize("name", ["small esrgcnn", "small cfsrcnn"])
@pytest.mark.parametrize("scale", [2, 3])
def test_a_self_ensemble_of_tiles_equals_that_of_the_whole_to_the_bit(name: str, scale: int, precision: str) -> None:
    used = SelfEnsembleEngine(engine(name, scale, precision))
    for height, width in ((41, 79), (62, 45)):  # no multiples of the grid: turned, windows begin between its lines
        rgb = noise(height, width)
        plan = plan_tiles(height, width, 8, used.halo, used.grid)
        assert len(plan) > 1
        assert np.array_equal(run_tiles_float(used, rgb, plan), used.run(planes(rgb))[0].transpose(1, 2, 0))


@here
@pytest.mark.parametrize("at", [(0, 1), (3, 2)])
def test_a_window_between_lines_of_the_grid_is_told_so_and_keeps_every_bit(at: tuple[int, int]) -> None:
    used, rgb = NativeEngine.of_network(network("small cfsrcnn"), 3), noise(70, 403)
    down, across, reach = at[0] + 4, at[1] + 8, used.halo + 4
    whole = used.run(planes(rgb))
    found = used.run(planes(rgb[down:, across:]), at)
    kept = (..., slice(reach * 3, None), slice(reach * 3, None))
    assert np.array_equal(found[kept], whole[..., down * 3 :, across * 3 :][kept])
    used.limit(16)  # in strips of columns
    assert np.array_equal(used.run(planes(rgb[down:, across:]), at), found)


@pytest.mark.skipif(instructions() != "AVX-512", reason="there is nothing narrower than what the tests above ran on")
def test_the_narrower_kernels_of_this_processor_keep_the_same_promises() -> None:
    script = Path(__file__)
    chosen = "small and esrgcnn and (agrees or tiled_equals_whole_to_the_bit) or int16_holds"
    command = [sys.executable, "-m", "pytest", "-q", str(script), "-k", chosen]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    narrow = os.environ | {"SUPERFINE_INSTRUCTIONS": "AVX2"}
    ran = subprocess.run(command, env=narrow, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    name = [sys.executable, "-c", "from superfine.native.library import instructions; print(instructions())"]
    assert subprocess.run(name, env=narrow, capture_output=True, text=True, check=True).stdout.strip() == "AVX2"


@here
@all_precisions
@pytest.mark.parametrize("name", SHIPPED)
@all_scales
def test_the_exported_graph_and_the_pytorch_network_make_the_same_layers(name: str, scale: int, precision: str) -> None:
    rgb = planes(noise(9, 14))
    made = NativeEngine.of_network(network(name), scale, precision)
    assert np.array_equal(made.run(rgb), engine(name, scale, precision).run(rgb))


@here
def test_an_operation_the_kernels_do_not_know_is_one_line() -> None:
    class Odd(ESRGCNN):
        def shallow(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(super().shallow(x))

    with pytest.raises(EngineError, match="does not know the operation sigmoid in esrgcnn: choose another engine"):
        NativeEngine.of_network(Odd(SMALL["small esrgcnn"]), 2)


@here
def test_a_sum_the_kernels_cannot_fuse_is_one_line() -> None:
    class Odd(ESRGCNN):
        def shallow(self, x: torch.Tensor) -> torch.Tensor:
            y = super().shallow(x)
            return y + y

    with pytest.raises(EngineError, match="has no form for add of"):
        NativeEngine.of_network(Odd(SMALL["small esrgcnn"]), 2)


@here
@pytest.mark.parametrize("name", SHIPPED)
def test_uint8_ends_give_the_rounded_float_result(name: str) -> None:
    levels = np.random.default_rng(1).integers(0, 256, (23, 34, 3), dtype=np.uint8)
    used = engine(name, 2)
    assert np.array_equal(used.run_uint8(levels), round_to_uint8(used.run(widen(levels))))


@here
def test_two_threads_of_a_program_may_share_an_engine() -> None:
    used, rgb = engine("small esrgcnn", 2), planes(noise(40, 40))
    wanted, found = used.run(rgb), {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: used.run(rgb)})) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[k], wanted) for k in range(3))


@here
def test_an_engine_runs_again_after_release() -> None:
    used, rgb = engine("small esrgcnn", 2), planes(noise(20, 30))
    first = used.run(rgb)
    used.release()
    assert np.array_equal(used.run(rgb), first)


@here
def test_a_precision_it_does_not_compute_in_is_one_line() -> None:
    with pytest.raises(EngineError, match="computes in fp32 or int16, not bf16"):
        open_engine(find("esrgcnn"), 2, "native", "bf16")


@here
def test_int16_on_a_processor_that_gains_nothing_by_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_module, "instructions", lambda int16=False: None if int16 else "NEON")
    with pytest.raises(EngineError, match="int16 on processors with AVX2, not here: choose auto or fp32"):
        open_engine(find("esrgcnn"), 2, "native", "int16")
    monkeypatch.setattr(native_module, "fast_int16", lambda: False)
    assert NativeEngine(find("esrgcnn"), 2).precision == "fp32"


@here
def test_a_library_compiled_for_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # Functions of the same names that take other structures would read wrong memory.
    monkeypatch.setattr("superfine.native.library._INTERFACE", 1)
    assert native_library.library.__wrapped__() is None


def test_without_compiled_kernels_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("superfine.native.library", "superfine.engines.native"):
        monkeypatch.setattr(f"{place}.library", lambda: None)
    with pytest.raises(EngineError, match="were not compiled when it was installed: install it again where a C"):
        open_engine(find("esrgcnn"), 2, "native")
    used = open_engine(find("esrgcnn"), 2, device="cpu")
    assert used.name == "openvino"
    assert "were not compiled when it was installed" in reason_for(used) or matrix_units()
