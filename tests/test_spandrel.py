"""spandrel in both directions: our networks in its registry, and the models it knows in our engines.

torchvision, which spandrel imports, does not load beside a CPU build of torch: a stand-in of two names serves here.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import torchvision_stand_in
from processes import one_clear_line
from superfine.__main__ import main
from superfine.engines import find_model, open_engine
from superfine.errors import CheckpointError, EngineError, ModelError
from superfine.nets import CFSRCNN, ESRGCNN, CFSRCNNConfig, ESRGCNNConfig
from superfine.upscaling import TiledUpscaler, Upscaler
from superfine.upscaling.stitch import run_tiles_float
from superfine.weights import load_network, network_file
from upstream_files import read_golden

pytest.importorskip("einops")
torchvision_stand_in.install()
spandrel = pytest.importorskip("spandrel")

from superfine.integrations.spandrel import describe, install  # noqa: E402


@pytest.fixture
def registry() -> Any:
    """A copy of spandrel's registry with both networks."""
    copy = spandrel.MAIN_REGISTRY.copy()
    assert install(registry=copy) == ["ESRGCNN", "CFSRCNN"]
    return copy


# ---- ours in spandrel


@pytest.mark.parametrize(
    ("name", "wrap"), [("esrgcnn_multi", None), ("esrgcnn_x2", "params_ema"), ("cfsrcnn_x3", None)]
)
def test_spandrel_loads_the_authors_files_and_gives_their_result(
    name: str, wrap: str | None, registry: Any, tmp_path: Path
) -> None:
    golden = read_golden(name)
    torch.save(golden.state if wrap is None else {wrap: golden.state}, tmp_path / "theirs.pth")
    for scale in golden.scales:
        install(scale, registry)
        model = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "theirs.pth")
        assert isinstance(model, spandrel.ImageModelDescriptor)
        assert (model.architecture.name.lower(), model.scale, model.purpose) == (golden.network, scale, "SR")
        sr = model.model(golden.lr)
        assert torch.allclose(sr, golden.sr[scale], atol=1e-5 * float(np.ptp(golden.sr[scale].numpy())))


def test_spandrel_loads_our_files_at_the_chosen_scale_and_by_default_the_largest(registry: Any, tmp_path: Path) -> None:
    network = ESRGCNN(ESRGCNNConfig(width=8, distilled=2, blocks=1))
    network_file.save(network, tmp_path / "ours.safetensors", dtype=torch.float32)
    lr = torch.rand(1, 3, 9, 7)
    for scale, found in [(None, 4), (2, 2), (3, 3)]:
        install(scale, registry)
        model = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "ours.safetensors")
        assert model.scale == found
        assert torch.equal(model(lr), network(lr, found).clamp(0, 1))


def test_installing_twice_adds_nothing_and_other_models_are_still_found(registry: Any) -> None:
    assert install(registry=registry) == []
    assert registry.load(compact().state_dict()).architecture.id == "Compact"


def test_a_scale_a_network_lacks_is_refused() -> None:
    with pytest.raises(ModelError, match="no x4"):
        describe(CFSRCNN(CFSRCNNConfig((2,), width=4, units=2)), 4)


# ---- spandrel's in ours


def compact(scale: int = 2) -> torch.nn.Module:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(1)
    return SRVGGNetCompact(num_feat=8, num_conv=3, upscale=scale)


def swinir() -> torch.nn.Module:
    from spandrel.architectures.SwinIR.__arch.SwinIR import SwinIR

    torch.manual_seed(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = SwinIR(
            upscale=2, img_size=16, window_size=8, depths=[2], embed_dim=8, num_heads=[2], mlp_ratio=2,
            upsampler="pixelshuffledirect",
        )  # fmt: skip
    with torch.no_grad():  # attention that is drawn larger, so that it matters where windows begin
        for name, value in network.named_parameters():
            if "qkv.weight" in name or "proj.weight" in name or "fc" in name:
                value *= 20
        network.upsample[0].bias += 0.5
    return network


def esrgan() -> torch.nn.Module:
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    torch.manual_seed(3)
    return RRDBNet(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=4)


@pytest.fixture(scope="module", params=["compact", "swinir", "esrgan"])
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("foreign") / f"{request.param}.pth"
    torch.save(
        {"params_ema": {"compact": compact, "swinir": swinir, "esrgan": esrgan}[request.param]().state_dict()}, path
    )
    return request.param, path


HALOS = {"compact": (4, 1), "swinir": (16, 8), "esrgan": (17, 1)}
"""(halo, grid) at least. Compact: five 3x3 convolutions in a row, of which the last is at LR size too, and none of a
pixel's own row; SwinIR: two layers of 8x8 windows, the second shifted; ESRGAN: 15 in the block, two around it."""


def test_a_foreign_model_is_described_and_tiles_give_what_the_whole_picture_gives(foreign: tuple[str, Path]) -> None:
    kind, path = foreign
    model = find_model(path)
    assert model.kind == "spandrel" and model.scales == ((4,) if kind == "esrgan" else (2,))
    engine = open_engine(model, model.scales[0], "auto", "fp32", "cpu")
    halo, grid = HALOS[kind]
    assert engine.halo >= halo and engine.grid == grid and engine.remark == ""  # type: ignore[attr-defined]
    lr = np.random.default_rng(3).random((56, 67, 3), np.float32)
    whole = engine.run(np.ascontiguousarray(lr.transpose(2, 0, 1)[None]))[0].transpose(1, 2, 0)
    tiles = TiledUpscaler(engine, tile=8).plan(56, 67)
    assert len(tiles) > 1 and np.ptp(whole) > 0.01
    assert np.abs(run_tiles_float(engine, lr, tiles) - whole).max() < 1e-4


def test_the_result_is_spandrels_own(foreign: tuple[str, Path]) -> None:
    descriptor = spandrel.ModelLoader().load_from_file(foreign[1])
    lr = np.random.default_rng(4).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    expected = descriptor.eval()(torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255)
    with Upscaler(foreign[1], precision="fp32", device="cpu") as upscaler:
        sr = upscaler(lr, descriptor.scale)
    assert np.abs(sr.astype(int) - (expected[0].permute(1, 2, 0) * 255).round().numpy()).max() <= 1


def test_the_old_esrgan_names_that_begin_with_model_are_found(tmp_path: Path) -> None:
    torch.manual_seed(3)
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    network = RRDBNet(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=2)
    assert all(key.startswith("model.") for key in network.state_dict())
    torch.save(network.state_dict(), tmp_path / "old.pth")
    assert find_model(tmp_path / "old.pth").network == "ESRGAN"


def test_the_command_line_runs_it_and_the_benchmark_measures_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.save(compact().state_dict(), tmp_path / "any.pth")
    (tmp_path / "Set5").mkdir()
    Image.effect_noise((32, 32), 60).convert("RGB").save(tmp_path / "Set5" / "a.png")
    photo = tmp_path / "Set5" / "a.png"
    assert main(["upscale", str(photo), "-o", str(tmp_path / "o.png"), "-s", "3", "-m", str(tmp_path / "any.pth")]) == 0
    assert Image.open(tmp_path / "o.png").size == (96, 96)
    arguments = ["benchmark", str(tmp_path / "Set5"), "-m", str(tmp_path / "any.pth"), "-s", "2", "-p", "standard"]
    assert main(arguments) == 0
    assert "any" in capfd.readouterr().out


class Runs:
    """A pickle of it makes a folder when it is opened."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


def test_files_that_nothing_knows_and_files_that_run_code_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("p.png")
    torch.save({"weight": torch.zeros(3), "net": Runs()}, "evil.pth")
    torch.save({"a.weight": torch.zeros(3, 3)}, "unknown.pth")
    state = compact().state_dict()
    torch.save({key: value for key, value in state.items() if not key.startswith("body.2")}, "holes.pth")
    torch.save(state, "whole.pth")
    Path("half.pth").write_bytes(Path("whole.pth").read_bytes()[:-2000])
    torch.save(compact(1).state_dict(), "denoiser.pth")
    for name, words in [
        ("evil", "run a stranger's code"),
        ("unknown", "nor a network of spandrel"),
        ("holes", ""),
        ("half", "cut short"),
        ("denoiser", "restores pictures at their size"),
    ]:
        assert main(["upscale", "p.png", "-o", "o.png", "-m", f"{name}.pth"]) == 2, name
        assert words in one_clear_line(capsys.readouterr().err)
    assert not Path("ran").exists() and not Path("o.png").exists()


def test_engines_and_precisions_that_it_cannot_have_are_refused(tmp_path: Path) -> None:
    torch.save(compact().state_dict(), tmp_path / "any.pth")
    model = find_model(tmp_path / "any.pth")
    with pytest.raises(EngineError, match="runs in PyTorch"):
        open_engine(model, 2, "openvino")
    with pytest.raises(EngineError, match="cannot run fp16 on cpu"):
        open_engine(model, 2, "auto", "fp16", "cpu")
    with pytest.raises(CheckpointError, match="no weights file"):
        find_model(tmp_path / "gone.pth")


def test_a_shipped_network_through_spandrel_is_the_shipped_network() -> None:
    network, lr = load_network("cfsrcnn"), torch.rand(1, 3, 12, 10)
    assert torch.allclose(describe(network, 3)(lr), network(lr, 3).clamp(0, 1), atol=1e-6)
