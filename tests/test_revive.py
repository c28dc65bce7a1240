"""Channels that no picture makes fire are found, and fire again; nothing else moves."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from superfine import checkpoints
from superfine.export.revive import main, revive
from superfine.nets import CFSRCNN, ESRGCNN, CFSRCNNConfig, ESRGCNNConfig
from superfine.training.data import Batch
from superfine.training.pack import PackOptions, write_pack
from superfine.training.start import interpolator

CONFIG = ESRGCNNConfig(scales=(2, 3), width=16, distilled=4, blocks=2)
DEAD = {"conv6": (9, 14), "conv1": (7,)}


def harmed() -> ESRGCNN:
    """A network of which three channels of the second block are dead: all they read is positive, no weight is."""
    network = ESRGCNN(CONFIG)
    interpolator(network, seed=3)
    with torch.no_grad():
        for name, channels in DEAD.items():
            getattr(network.blocks[1], name).weight[list(channels)] = -0.1
    return network


def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    sides = ((scale, 20 * scale) for scale in (2, 3))
    return [
        Batch(
            scale,
            torch.randint(0, 256, (2, 3, 20, 20), dtype=torch.uint8, generator=generator),
            torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=generator),
        )
        for scale, side in sides
    ]


def firing(network: ESRGCNN, name: str, channel: int) -> float:
    """Share of the positions at which a channel of the second block fires."""
    shares: list[float] = []
    hook = getattr(network.blocks[1], name).register_forward_hook(
        lambda _, __, out: shares.append(float((out[:, channel] > 0).float().mean()))
    )
    for batch in batches():
        network(batch.lr.float() / 255, batch.scale)
    hook.remove()
    return float(np.mean(shares))


def test_dead_channels_are_counted_and_fire_again_and_the_others_keep_their_kernels() -> None:
    network = harmed()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    assert all(firing(network, name, channel) == 0 for name, channels in DEAD.items() for channel in channels)
    counts = revive(network, batches())
    assert {name: count for name, count in counts.items() if count} == {"blocks.1.conv6": 2, "blocks.1.conv1": 1}
    for name, channels in DEAD.items():
        assert all(0.1 < firing(network, name, channel) < 0.9 for channel in channels)
    for name, parameter in network.named_parameters():
        changed = (parameter != before[name]).view(len(parameter), -1).any(dim=1).nonzero().flatten().tolist()
        wanted = DEAD[name.split(".")[2]] if name.startswith("blocks.1.conv") and name.split(".")[2] in DEAD else ()
        assert changed == list(wanted), name
    assert not any(revive(network, batches()).values())


def test_a_new_kernel_follows_the_gradient_and_a_little_of_it_lowers_the_loss() -> None:
    network = harmed()

    def loss() -> float:
        # In float64: a hundredth of the kernels moves the loss by less than float32's rounding of it.
        exact = copy.deepcopy(network).double()
        with torch.no_grad():
            return sum(float(F.l1_loss(exact(b.lr.double() / 255, b.scale), b.hr.double() / 255)) for b in batches())

    before = loss()
    revive(network, batches())
    with torch.no_grad():
        for name, channels in DEAD.items():
            getattr(network.blocks[1], name).weight[list(channels)] *= 0.01
    assert loss() < before


def test_the_command_says_what_it_found_and_refuses_cfsrcnn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    write_pack(tmp_path / "a.pack", [tmp_path / "a.png"], PackOptions(smallest_side=96), workers=1)
    checkpoints.save(harmed(), tmp_path / "in.safetensors", dtype=torch.float32, metadata={})
    command = [str(tmp_path / "in.safetensors"), str(tmp_path / "a.pack"), "-o", str(tmp_path / "out.safetensors")]
    assert main([*command, "--batches", "1"]) == 0
    assert "blocks.1.conv6: 2 dead" in capsys.readouterr().out
    assert checkpoints.load(tmp_path / "out.safetensors").config == CONFIG
    assert main([*command, "--batches", "0"]) == 2
    assert "--batches 0: nothing can be seen" in capsys.readouterr().err
    other = CFSRCNN(CFSRCNNConfig(scales=(2,), width=8, units=2, enhance=1, refine=1))
    checkpoints.save(other, tmp_path / "in.safetensors", dtype=torch.float32, metadata={})
    assert main(command) == 2
    assert "only ESRGCNN is known to lose channels" in capsys.readouterr().err
