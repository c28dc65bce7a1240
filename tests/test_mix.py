"""tools/mix.py: the middle between two checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mix import main
from superfine.nets import ESRGCNNConfig, build
from superfine.weights import network_file


def saved(path: Path, scales: tuple[int, ...], *, seed: int, width: int = 8) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = build(ESRGCNNConfig(scales, width=width, distilled=2, blocks=1))
    network_file.save(network, path, dtype=torch.float32)
    return dict(network.named_parameters())


def test_every_weight_is_so_far_on_the_way_and_only_common_scales_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / name) for name in ("one.safetensors", "other.safetensors", "mix.safetensors")]
    one = saved(Path(paths[0]), (2, 3), seed=1)
    other = saved(Path(paths[1]), (3, 4), seed=2)
    for share, more in ((0.25, []), (0.5, ["--dtype", "fp16"])):
        assert main([paths[0], paths[1], "-o", paths[2], "--share", str(share), *more]) == 0
        assert capsys.readouterr().out.strip() == f"wrote {paths[2]}, scales x3"
        mixed = network_file.load(paths[2])
        assert mixed.config.scales == (3,)
        for name, weight in mixed.named_parameters():
            wanted = one[name] + share * (other[name] - one[name])
            assert torch.allclose(weight.float(), wanted, rtol=0, atol=1e-3 if more else 1e-6), name


def test_weights_that_cannot_be_mixed_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, wide, far, out = (tmp_path / f"{name}.safetensors" for name in ("one", "wide", "far", "out"))
    saved(one, (2,), seed=1)
    saved(wide, (2,), seed=1, width=16)
    saved(far, (4,), seed=1)
    for other, share, words in (
        (wide, "0.5", "nothing in common"),
        (far, "0.5", "nothing in common"),
        (one, "1.5", "a share of 1.5 is not between 0"),
        (tmp_path / "absent.safetensors", "0.5", "absent.safetensors"),
    ):
        assert main([str(one), str(other), "-o", str(out), "--share", share]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
        assert not out.exists()
