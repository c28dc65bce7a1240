"""A colour cast is measured on photographs and taken out of the weights, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from neutral import main, make_neutral, read_pictures
from superfine.demo import PHOTOGRAPH
from superfine.errors import DataError
from superfine.images import read
from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, Network, NetworkConfig, build
from superfine.nets.start import start_as_interpolator
from superfine.weights import network_file

ESRGCNN = ESRGCNNConfig(scales=(2, 4), width=8, distilled=2, blocks=1)
CFSRCNN = CFSRCNNConfig(scales=(2,), width=8, units=2, enhance=1, refine=1)


def tinted(config: NetworkConfig = ESRGCNN) -> Network:
    """An interpolator that makes everything redder by two levels of 255 or more."""
    network = build(config).eval()
    start_as_interpolator(network, seed=0)
    with torch.no_grad():
        for branch in network.upsampler.branches.values():
            branch[-1].bias[:4] += 2 / 255
            branch[-1].bias[4:8] -= 2 / 255
    return network


@pytest.mark.parametrize("config", [ESRGCNN, CFSRCNN], ids=["esrgcnn", "cfsrcnn"])
def test_the_cast_goes_and_the_kernels_stay(config: NetworkConfig) -> None:
    network = tinted(config)
    kernels = {name: p.detach().clone() for name, p in network.named_parameters() if p.dim() == 4}
    photograph = read(PHOTOGRAPH).pixels[96:192, 336:432]
    found = make_neutral(network, [photograph, photograph[:, ::-1].copy()], precisions=["fp32"])
    assert set(found) == set(config.scales)
    for casts in found.values():
        assert len(casts) == 4
        assert casts[0][0] > 1.2 and np.abs(casts[-1]).max() < 0.1
    assert all(torch.equal(kernels[name], p) for name, p in network.named_parameters() if name in kernels)


def test_a_round_that_makes_the_cast_worse_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    reds = iter([0.4, -0.1, 0.3, 0.2])  # the second round answers the -0.1 with too much, as rounding can make it

    def cast(*_: object) -> NDArray[np.float64]:
        return np.array([next(reds), 0.0, 0.0])

    monkeypatch.setattr("neutral.cast", cast)
    network = build(CFSRCNN).eval()
    start_as_interpolator(network, seed=0)
    found = make_neutral(network, [], precisions=["fp32"])
    assert [each[0] for each in found[2]] == [0.4, -0.1, 0.3, 0.2]
    bias = network.upsampler.branches["x2"][-1].bias.detach() * 255
    assert bias[:4].tolist() == pytest.approx([-0.4] * 4, abs=1e-5)
    assert bias[4:8].tolist() == pytest.approx([0.4] * 4, abs=1e-5)


def test_the_command_keeps_what_the_header_says_and_refuses_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network_file.save(tinted(), tmp_path / "in.safetensors", dtype=torch.float32, metadata={"step": "7", "x": "y"})
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    Image.open(PHOTOGRAPH).crop((0, 0, 100, 130)).save(photographs / "a.png")
    arguments = [str(tmp_path / "in.safetensors"), str(photographs), "-o", str(tmp_path / "out.safetensors")]
    assert main([*arguments, "--precisions", "fp32"]) == 0
    assert "x2: +" in capsys.readouterr().out
    assert network_file.load(tmp_path / "out.safetensors").config == tinted().config
    assert [picture.shape for picture in read_pictures(photographs, 5)] == [(120, 96, 3)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in"):
        read_pictures(tmp_path / "empty", 5)
    arguments[1] = str(tmp_path / "empty")
    arguments[3] = str(tmp_path / "other.safetensors")
    assert main(arguments) == 2 and "no pictures in" in capsys.readouterr().err
    assert not (tmp_path / "other.safetensors").exists()
