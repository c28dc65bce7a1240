"""Patches: the right ones, the same ones every time, and the LR that belongs to the HR."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from superfine.errors import DataError
from superfine.images.resize import downscale
from superfine.training.data.pack import Pack, PackOptions, write_pack
from superfine.training.data.sampler import PatchSampler, scale_of_step

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for k, (height, width) in enumerate([(120, 144), (96, 240), (180, 96)]):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    target = folder / "all.pack"
    write_pack(target, sorted(folder.glob("*.png")), PackOptions(smallest_side=96), workers=1)
    return Pack(target)


def sampler(pack: Pack, **changes: int) -> PatchSampler:
    settings = {"batch": 6, "patch": 12, "seed": 5} | changes
    return PatchSampler(pack, device=CPU, **settings)


def as_pictures(patches: torch.Tensor) -> np.ndarray:
    return patches.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_patch_is_a_turned_crop_of_a_picture(pack: Pack, scale: int) -> None:
    batch = sampler(pack).draw(3, scale)
    planes = [pack.plane(p.lr[scale]) for p in pack]
    for patch in as_pictures(batch.lr):
        turned = [np.rot90(m, k) for m in (patch, patch.transpose(1, 0, 2)) for k in range(4)]
        found = any(
            np.array_equal(plane[y : y + 12, x : x + 12], t)
            for plane in planes
            for y in range(plane.shape[0] - 11)
            for x in range(plane.shape[1] - 11)
            for t in turned
            if np.array_equal(plane[y, x], t[0, 0])
        )
        assert found


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_and_hr_patches_show_the_same_place_the_same_way_round(pack: Pack, scale: int) -> None:
    batch = sampler(pack).draw(0, scale)
    for lr, hr in zip(as_pictures(batch.lr), as_pictures(batch.hr), strict=True):
        made = downscale(hr, scale)  # its rim lacks the neighbours the picture had
        # A transposed patch was rounded in the other order of passes: one level at most.
        assert np.abs(made[3:-3, 3:-3].astype(int) - lr[3:-3, 3:-3]).max() <= 1


def test_all_eight_turns_are_drawn(pack: Pack) -> None:
    small = Pack(pack.path)
    small.pictures = small.pictures[:1]
    lr = small.pictures[0].lr[4]
    whole = min(lr.height, lr.width)
    drawn = {sampler(small, patch=whole, batch=1).draw(step, 4).lr.numpy().tobytes() for step in range(120)}
    assert len(drawn) >= 8  # eight turns, times a few positions


def test_a_batch_depends_on_seed_and_step_alone(pack: Pack) -> None:
    one, other = sampler(pack), sampler(pack)
    one.draw(1, 2)
    assert torch.equal(one.draw(7, 2).hr, other.draw(7, 2).hr)
    assert not torch.equal(one.draw(8, 2).hr, other.draw(7, 2).hr)
    assert not torch.equal(sampler(pack, seed=6).draw(7, 2).hr, other.draw(7, 2).hr)


def test_two_processes_draw_the_halves_of_one_double_batch(pack: Pack) -> None:
    double = sampler(pack, batch=8).draw(4, 3)
    halves = [sampler(pack, batch=4, rank=rank, world=2).draw(4, 3) for rank in (0, 1)]
    assert torch.equal(torch.cat([h.lr for h in halves]), double.lr)
    assert torch.equal(torch.cat([h.hr for h in halves]), double.hr)


def test_patches_are_channels_last_so_that_convolutions_need_no_copy(pack: Pack) -> None:
    batch = sampler(pack).draw(0, 2)
    assert batch.lr.is_contiguous(memory_format=torch.channels_last)
    assert batch.lr.dtype == torch.uint8


def test_a_patch_no_picture_can_hold_is_refused(pack: Pack) -> None:
    with pytest.raises(DataError, match="patch = 61"):
        sampler(pack, patch=61)


def test_a_pack_cut_short_in_mid_run_is_one_clear_error(pack: Pack, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pack"
    copy.write_bytes(pack.path.read_bytes())
    drawing = sampler(Pack(copy))
    drawing.draw(0, 2)
    with copy.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match="cut short while in use"):
        drawing.draw(1, 2)


def test_scales_are_drawn_by_their_odds_and_alike_everywhere() -> None:
    drawn = [scale_of_step(1, step, (2, 3, 4), (2.0, 1.0, 1.0)) for step in range(2000)]
    assert drawn == [scale_of_step(1, step, (2, 3, 4), (2.0, 1.0, 1.0)) for step in range(2000)]
    assert abs(drawn.count(2) / 2000 - 0.5) < 0.05
