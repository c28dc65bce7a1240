"""A network is one class and one line: a third one, registered here, goes through every public door."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import superfine
from superfine.__main__ import main
from superfine.native.library import instructions
from superfine.nets import NETWORKS, start
from superfine.nets.base import Network, Shapes, count_keys, kernel_shape
from superfine.nets.layers import RGB_MEAN, SCALES, Upsampler, WideConv2d, check_scales, choose_scale, conv3x3
from superfine.nets.layers import upsampler_radius as radius_of_upsampler


@dataclass(frozen=True)
class ToyConfig:
    """The sizes of a toy."""

    scales: tuple[int, ...] = SCALES
    """Magnifications with an upsampler branch."""
    width: int = 8
    """Feature channels."""
    steps: int = 2
    """Convolutions in a row."""

    def __post_init__(self) -> None:
        check_scales(self.scales)
        if self.steps < 1:
            raise ValueError("a toy wants at least one step")


class Toy(Network):
    """Head, a few convolutions with a skip around each, upsampler, tail."""

    name = "toy"
    title = "Toy (2026)"
    Config = ToyConfig
    parts = ("body", "reconstruct")
    feature_maps = 3
    he_start = False

    config: ToyConfig

    def __init__(self, config: ToyConfig | None = None) -> None:
        super().__init__()
        self.config = config or ToyConfig()
        width = self.config.width
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = conv3x3(3, width)
        self.row = nn.ModuleList(conv3x3(width, width) for _ in range(self.config.steps))
        self.upsampler = Upsampler(width, self.config.scales)
        self.tail = WideConv2d(width, 3, 3)

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        scale = choose_scale(self.config.scales, scale)
        return self.reconstruct(self.body(x), scale)

    def body(self, x: Tensor) -> Tensor:
        y = self.head.activated(x - self.mean)
        for conv in self.row:
            y = y + F.relu(conv(y))
        return y

    def reconstruct(self, y: Tensor, scale: int) -> Tensor:
        sr: Tensor = self.tail(F.relu(self.upsampler(y, scale))) + self.mean
        return sr

    def receptive_radius(self, scale: int) -> Fraction:
        return 1 + self.config.steps + radius_of_upsampler(scale) + Fraction(1, scale)

    def start_as_interpolator(self) -> None:
        start.head(self.head.weight)
        for conv in self.row:
            assert isinstance(conv, nn.Conv2d)
            conv.weight[: start.PAIRS] = 0
        start.upsampler(self.upsampler, gain=1.0)
        start.tail(self.tail.weight, gain=0.1)

    @classmethod
    def sizes(cls, shapes: Shapes, *, published: bool) -> dict[str, int]:
        return {"width": kernel_shape(shapes, "row.0.weight")[0], "steps": count_keys(shapes, r"row\.(\d+)\.weight")}


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "toy", Toy)  # the one line
        yield


RECIPE = """
name = "toy"
[network]
name = "toy"
scales = [2, 3]
steps = 3
[data]
folders = ["photos"]
patch = 12
batch = 4
[optimizer]
kind = "muon"
[schedule]
steps = 20
warmup = 2
[validation]
folder = "photos"
pictures = 1
[hardware]
device = "cpu"
precision = "fp32"
threads = 1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs and a recipe, where a toy has been trained and exported by the command line."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "photos").mkdir()
    y, x = np.mgrid[0:96, 0:120]
    for k in range(3):
        waves = np.stack([128 + 100 * np.sin((x * (k + 1) + y * c) / 7) for c in range(3)], axis=2)
        Image.fromarray(waves.astype(np.uint8)).save(folder / "photos" / f"{k}.png")
    (folder / "toy.toml").write_text(RECIPE)
    out, packs = str(folder / "run"), str(folder / "packs")
    assert main(["train", str(folder / "toy.toml"), "-o", out, "--packs", packs, "--no-tensorboard"]) == 0
    assert (
        main(["export", str(folder / "run" / "last.safetensors"), "-o", str(folder / "graphs"), "--name", "mine"]) == 0
    )
    return folder


def test_it_trains_from_a_recipe_with_its_own_sizes_and_starts_as_an_interpolator(place: Path) -> None:
    network = superfine.load_network(place / "run" / "last.safetensors")
    assert isinstance(network, Toy) and network.config == ToyConfig(scales=(2, 3), width=8, steps=3)
    assert (place / "run" / "report.html").is_file()


def test_its_recipe_can_be_printed_with_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "-n", "toy"]) == 0
    assert "# Convolutions in a row. Default: 2.\nsteps = 2\n" in capsys.readouterr().out


def test_a_foreign_state_dict_of_it_is_recognised(place: Path, tmp_path: Path) -> None:
    torch.save(superfine.load_network(place / "run" / "last.safetensors").state_dict(), tmp_path / "foreign.pth")
    assert superfine.load_network(tmp_path / "foreign.pth").config == ToyConfig(scales=(2, 3), width=8, steps=3)


@pytest.mark.parametrize("engine", ["native", "openvino", "pytorch"])
def test_exported_it_upscales_to_any_size_and_tiles_exactly(place: Path, engine: str) -> None:
    if engine == "native" and instructions() is None:
        pytest.skip("the kernels are not compiled, or not for this processor")
    pixels = np.random.default_rng(0).integers(0, 256, (41, 53, 3), dtype=np.uint8)
    network = superfine.load_network(place / "graphs" / "mine.safetensors").eval()
    with torch.no_grad():
        exact = network(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, 3)[0].permute(1, 2, 0).numpy()
    weights = place / "graphs" / "mine.safetensors"
    results = []
    for tile in (None, 24):
        with superfine.Upscaler(weights, engine=engine, device="cpu", precision="fp32", tile=tile) as upscaler:
            results.append(upscaler(pixels, scale=3))
            assert upscaler(pixels, width=100).shape == (77, 100, 3)
    whole, tiled = results
    assert np.abs(whole / 255 - exact.clip(0, 1)).max() < 1 / 255
    if engine != "pytorch":
        assert np.array_equal(tiled, whole)
    else:  # PyTorch rounds other shapes otherwise: within 1e-6 before 8 bits
        assert np.abs(tiled.astype(int) - whole).max() <= 1
