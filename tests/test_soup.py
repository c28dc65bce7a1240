"""export/soup.py: a soup of several checkpoints, its shares learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from superfine import checkpoints
from superfine.export.soup import KEPT, Soup, main
from superfine.nets import ESRGCNNConfig, Network, build, with_scales
from superfine.training import start
from superfine.training.data import PatchSampler
from superfine.training.pack import Pack, PackOptions, write_pack


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Two smooth pictures, x2 and x3, large enough for the command's patches."""
    rng = np.random.default_rng(1)
    for name in ("one", "two"):
        Image.fromarray(rng.integers(0, 256, (12, 14, 3), np.uint8)).resize((210, 180)).save(tmp_path / f"{name}.png")
    target = tmp_path / "made.pack"
    write_pack(target, sorted(tmp_path.glob("*.png")), PackOptions((2, 3), smallest_side=96), workers=1)
    return target


def network(seed: int, scales: tuple[int, ...] = (2, 3), width: int = 16) -> Network:
    made = build(ESRGCNNConfig(scales, width=width, distilled=4, blocks=1))
    start.interpolator(made, seed=seed)
    return made.eval()


def spoilt(good: Network, by: float) -> Network:
    """A copy of `good` with noise in every weight."""
    copy = with_scales(good, good.config.scales)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in copy.parameters():
            weight.add_(by * torch.randn_like(weight))
    return copy.eval()


def test_weights_are_the_base_and_each_channels_share_of_the_way_to_every_other() -> None:
    base, one, two = network(1), network(2), with_scales(network(3), (2,))
    soup = Soup(with_scales(base, (2, 3)), [one, two], 0.25)
    theirs = [dict(net.named_parameters()) for net in (base, one, two)]
    for name, weight in soup.weights(soup.shares).items():
        wanted = theirs[0][name] + 0.25 * (theirs[1][name] - theirs[0][name])
        if name in theirs[2]:  # the branch of x3 is not
            wanted = wanted + 0.25 * (theirs[2][name] - theirs[0][name])
        assert torch.allclose(weight, wanted, rtol=0, atol=1e-6), name
    with torch.no_grad():
        soup.averaged["head.weight"][1, 3] = 1.0
    finished = dict(soup.finish().named_parameters())["head.weight"]
    wanted = theirs[0]["head.weight"] + 0.25 * (theirs[1]["head.weight"] - theirs[0]["head.weight"])
    wanted += 0.25 * (theirs[2]["head.weight"] - theirs[0]["head.weight"])
    wanted[3] += KEPT * 0.75 * (theirs[2]["head.weight"] - theirs[0]["head.weight"])[3]
    assert torch.allclose(finished, wanted, rtol=0, atol=1e-6)


def test_learning_leaves_spoilt_weights_for_good_ones(pack: Path) -> None:
    good = network(1)
    soup = Soup(spoilt(good, 0.05), [good], 0.2)
    sampler = PatchSampler(Pack(pack), batch=2, patch=24, seed=1, device=torch.device("cpu"))
    unseen = sampler.draw(1000, 2)
    before = float(soup.loss(unseen.lr, unseen.hr, 2).detach())
    seen: list[int] = []
    soup.learn(sampler, 50, lambda done, loss: seen.append(done))
    assert seen == [25, 50]
    with torch.inference_mode():
        sr = soup.finish()(unseen.lr.float() / 255, 2)
    after = float((sr - unseen.hr.float() / 255).abs().mean())
    assert after < 0.9 * before


def test_the_command_writes_a_checkpoint_of_the_bases_scales(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name for name in ("base.safetensors", "other.safetensors", "soup.safetensors")]
    checkpoints.save(network(1), paths[0], dtype=torch.float32)
    checkpoints.save(network(2, (2,)), paths[1], dtype=torch.float16)
    base, other, out = map(str, paths)
    assert main([base, other, "-p", str(pack), "-o", out, "--steps", "2", "--share", "0.5"]) == 0
    assert f"wrote {out}: 0.5" in capsys.readouterr().out
    assert checkpoints.load(paths[2]).config.scales == (2, 3)


def test_what_cannot_be_mixed_is_refused_in_one_line(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, wide, far, four, out = (tmp_path / f"{name}.safetensors" for name in ("base", "wide", "far", "four", "out"))
    checkpoints.save(network(1), base, dtype=torch.float32)
    checkpoints.save(network(1, width=24), wide, dtype=torch.float32)
    checkpoints.save(network(1, (4,)), far, dtype=torch.float32)
    checkpoints.save(network(1, (2, 4)), four, dtype=torch.float32)
    for one, other, steps, words in (
        (base, wide, "1", "cannot be mixed into"),
        (base, far, "1", "cannot be mixed into"),
        (four, four, "1", "needs x4 too"),
        (base, base, "0", "no step finds no share"),
        (base, tmp_path / "absent.safetensors", "1", "absent.safetensors"),
    ):
        assert main([str(one), str(other), "-p", str(pack), "-o", str(out), "--steps", steps]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
        assert not out.exists()
