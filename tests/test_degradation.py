"""Degradations: JPEG is libjpeg's, every choice follows from seed and step, and HR stays where LR is."""

import io
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from superfine.errors import RecipeError
from superfine.images.resize import downscale
from superfine.training.data.pack import Pack, PackOptions, write_pack
from superfine.training.data.sampler import PatchBatch, PatchSampler
from superfine.training.degradation import COLUMNS, Degrader
from superfine.training.jpeg import Jpeg
from superfine.training.loop import Run, StepReport, Watcher
from superfine.training.recipe import DegradationSection, Recipe, parse_recipe
from superfine.weights import network_file

CPU = torch.device("cpu")
PHOTO = Path(__file__).resolve().parents[1] / "src" / "superfine" / "demo" / "budgerigar.jpg"
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
EVERYTHING: dict[str, Any] = {
    "downscale": 0.5,
    "blur": 0.5,
    "shake": 2.0,
    "noise": 0.5,
    "poisson": 6.0,
    "jpeg": 0.8,
    "jpeg_twice": 0.5,
    "random_order": 0.5,
}


def photograph() -> np.ndarray:
    return np.asarray(Image.open(PHOTO).convert("RGB").resize((320, 240), Image.Resampling.LANCZOS))


def texture(seed: int) -> np.ndarray:
    """Coloured clouds with detail of every size, as photographs have it."""
    rng = np.random.default_rng(seed)
    total = np.zeros((160, 240, 3))
    for size in (4, 8, 16, 40, 80, 160):
        cloud = rng.standard_normal((size, size * 3 // 2, 3))
        planes = [Image.fromarray(cloud[..., c].astype(np.float32)).resize((240, 160), 3) for c in range(3)]
        total += np.stack([np.asarray(plane) for plane in planes], 2) * 40 / size**0.5
    return np.clip(128 + total, 0, 255).astype(np.uint8)


def saved(pixels: np.ndarray, quality: int, subsampling: str) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file)).astype(np.float64)


def to_batch(pixels: np.ndarray, count: int = 1) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].repeat(count, 1, 1, 1)


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(((one - other) ** 2).mean()))


@pytest.mark.parametrize("pixels", [photograph(), texture(1), texture(2)], ids=["photograph", "texture", "another"])
@pytest.mark.parametrize("kind", [0, 1, 2], ids=SUBSAMPLINGS)
def test_jpeg_agrees_with_libjpeg_to_one_level(pixels: np.ndarray, kind: int) -> None:
    qualities = [10, 30, 49, 50, 75, 92, 100]
    n = len(qualities)
    ours = Jpeg(CPU)(to_batch(pixels, n).float(), torch.tensor(qualities).float(), torch.full((n,), float(kind)))
    for got, quality in zip(ours.permute(0, 2, 3, 1).numpy(), qualities, strict=True):
        want = saved(pixels, quality, SUBSAMPLINGS[kind])
        assert rms(got, want) < 1
        assert quality == 100 or rms(got, want) < rms(pixels, want) / 2


def degrader(seed: int = 3, **section: Any) -> Degrader:
    return Degrader(parse(section), seed=seed, device=CPU)


def parse(section: dict[str, Any]) -> DegradationSection:
    return DegradationSection.model_validate(section)


def test_the_grid_of_blocks_lies_where_the_row_says() -> None:
    pixels = photograph()[64:112, 100:148]
    spoil = degrader(jpeg=1.0, jpeg_quality=(60.0, 60.0, 60.0), subsampling=(0.0, 0.0, 1.0))
    rows = spoil.draw(0, 6)
    drawn = dict(zip(COLUMNS, rows.T.int().tolist(), strict=True))
    lr = spoil(PatchBatch(2, to_batch(pixels, 6), torch.zeros(6, 3, 64, 64, dtype=torch.uint8)), rows).lr
    for patch, top, left in zip(lr.permute(0, 2, 3, 1).numpy(), drawn["top"], drawn["left"], strict=True):
        moved = np.pad(pixels, ((top, 16), (left, 16), (0, 0)), mode="edge")
        want = saved(moved, 60, "4:2:0")[top : top + 48, left : left + 48][8:40, 8:40]
        assert rms(patch, want) < 1
    assert len(set(drawn["top"])) > 1


def test_noise_has_the_sigma_of_its_row_and_gray_noise_no_colour() -> None:
    gray = torch.full((40, 3, 48, 48), 100, dtype=torch.uint8)
    hr = torch.zeros(40, 3, 64, 64, dtype=torch.uint8)
    spoil = degrader(noise=1.0, noise_sigma=12.0, gray=0.5)
    rows = spoil.draw(5, 40)
    drawn = dict(zip(COLUMNS, rows.T, strict=True))
    lr = spoil(PatchBatch(2, gray, hr), rows).lr.float()
    found = lr.std((1, 2, 3))
    large = drawn["sigma"] > 2
    assert torch.allclose(found[large], drawn["sigma"][large], rtol=0.1)
    coloured = (lr.amax(1) - lr.amin(1)).amax((1, 2)) > 0
    assert torch.equal(coloured[large], drawn["gray"][large] == 0)
    assert abs(float(lr.mean()) - 100) < 0.2
    light = degrader(noise=1.0, noise_sigma=0.0, poisson=12.0)
    dark, bright = (
        light(PatchBatch(2, torch.full_like(gray, level), hr), light.draw(1, 40)).lr.float().std()
        for level in (40, 160)
    )
    assert float(bright / dark) == pytest.approx(2, rel=0.1)  # the square root of the light


def test_blur_keeps_the_light_and_has_the_width_of_its_row() -> None:
    dot = torch.zeros(12, 3, 48, 48, dtype=torch.uint8)
    dot[:, :, 24, 24] = 255
    spoil = degrader(blur=1.0, blur_sigma=(0.8, 1.6), anisotropic=0.0)
    rows = spoil.draw(0, 12)
    drawn = dict(zip(COLUMNS, rows.T, strict=True))
    spread = spoil(PatchBatch(2, dot, torch.zeros(12, 3, 64, 64, dtype=torch.uint8)), rows).lr[:, 0].float()
    peak = 255 / (2 * np.pi * drawn["sigma_a"] ** 2)
    assert torch.allclose(spread.amax((1, 2)), peak, atol=2)
    assert torch.allclose(spread, spread.mT)
    moved = degrader(blur=1.0, blur_sigma=(0.3, 0.3), shake=6.0)
    assert float(moved(PatchBatch(2, dot, dot[..., :32, :32]), moved.draw(0, 12)).lr.float().amax((1, 2, 3)).min()) < 90


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(3):
        Image.fromarray(texture(k + 10)).save(folder / f"{k}.png")
    write_pack(folder / "all.pack", sorted(folder.glob("*.png")), PackOptions(smallest_side=120), workers=1)
    return Pack(folder / "all.pack")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_hr_lies_where_lr_does_and_bicubic_made_on_the_device_is_the_packs(pack: Pack, scale: int) -> None:
    spoil = degrader(downscale=1.0, kernels=("bicubic",))
    sampler = PatchSampler(pack, batch=4, patch=12, seed=1, device=CPU, margins=spoil.section.margins)
    for step in range(3):
        batch = sampler.draw(step, scale)
        made = spoil(batch, spoil.draw(step, 4))
        plain = spoil(batch, torch.zeros(4, len(COLUMNS)))
        assert made.lr.shape == (4, 3, 12, 12) and made.hr.shape == (4, 3, 12 * scale, 12 * scale)
        assert int((made.lr.int() - plain.lr.int()).abs().max()) <= 1  # rounded once, not after each axis
        for hr, lr in zip(plain.hr.permute(0, 2, 3, 1).numpy(), plain.lr.permute(0, 2, 3, 1).numpy(), strict=True):
            assert np.abs(downscale(hr, scale)[3:-3, 3:-3].astype(int) - lr[3:-3, 3:-3]).max() <= 1


def test_kernels_without_antialiasing_are_sharper() -> None:
    noise = torch.randint(0, 256, (4, 3, 56, 56), dtype=torch.uint8, generator=torch.manual_seed(0))
    strengths = []
    for kernel in ("area", "bilinear", "bicubic", "lanczos", "bicubic-aliased", "nearest"):
        spoil = degrader(downscale=1.0, kernels=(kernel,))
        made = spoil(PatchBatch(2, noise[..., :28, :28], noise), spoil.draw(0, 4)).lr.float()
        strengths.append((float(made.std()), kernel))
    assert [name for _, name in sorted(strengths)][-2:] == ["bicubic-aliased", "nearest"]


def test_what_happens_depends_on_seed_and_step_alone_and_processes_share_one_batch() -> None:
    one, other = degrader(**EVERYTHING), degrader(**EVERYTHING)
    one.draw(1, 8)
    assert torch.equal(one.draw(7, 8), other.draw(7, 8))
    assert not torch.equal(one.draw(8, 8), other.draw(7, 8))
    assert not torch.equal(degrader(4, **EVERYTHING).draw(7, 8), other.draw(7, 8))
    halves = [one.draw(7, 4, rank=rank, world=2) for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), one.draw(7, 8))


def test_a_patch_comes_out_the_same_whatever_its_neighbours_in_the_batch_are(pack: Pack) -> None:
    spoil = degrader(**EVERYTHING)
    sampler = PatchSampler(pack, batch=6, patch=12, seed=1, device=CPU, margins=spoil.section.margins)
    batch, rows = sampler.draw(0, 2), spoil.draw(0, 6)
    whole = spoil(batch, rows)
    for k in range(6):
        alone = spoil(replace(batch, lr=batch.lr[k : k + 1], hr=batch.hr[k : k + 1]), rows[k : k + 1])
        assert int((alone.lr.int() - whole.lr[k : k + 1].int()).abs().max()) <= 1
        assert torch.equal(alone.hr, whole.hr[k : k + 1])


def test_the_order_is_the_recipes_unless_it_is_drawn() -> None:
    drawn = degrader(jpeg=1.0, order=("jpeg", "noise", "blur")).draw(0, 4)[:, -3:]
    assert drawn.tolist() == [[2, 1, 0]] * 4
    orders = degrader(jpeg=1.0, random_order=1.0).draw(0, 200)[:, -3:]
    assert len({tuple(row) for row in orders.tolist()}) == 6
    assert torch.equal(orders.sort(1).values, torch.tensor([[0.0, 1.0, 2.0]]).repeat(200, 1))


def recipe(**sections: Any) -> Recipe:
    whole = {
        "name": "tiny",
        "network": {"name": "esrgcnn", "width": 8, "distilled": 2, "blocks": 1},
        "data": {"pack": "made by the test", "patch": 12, "batch": 4},
        "degradation": EVERYTHING,
        "schedule": {"steps": 12, "warmup": 2},
        "hardware": {"device": "cpu", "precision": "fp32", "threads": 1},
    }
    return parse_recipe(whole | sections, source="test")


class Stop(Watcher):
    def step(self, report: StepReport) -> None:
        if report.step == 5:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_stopped_run_with_degradations_resumes_to_the_same_weights(pack: Pack, tmp_path: Path) -> None:
    Run(recipe(), pack, tmp_path / "whole", resume=False).train()
    with pytest.raises(KeyboardInterrupt):
        Run(recipe(), pack, tmp_path / "parts", resume=False).train(Stop())
    Run(recipe(), pack, tmp_path / "parts", resume=True).train()
    one, other = (network_file.load(tmp_path / run / "last.safetensors").state_dict() for run in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_validates_on_pictures_spoilt_as_the_recipe_says(pack: Pack, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(texture(30)).save(folder / "a.png")
    found = {}
    for name, settings in {"clean": {}, "jpeg": {"degrade": "jpeg:20"}}.items():
        run = Run(recipe(validation={"folder": str(folder), **settings}), pack, tmp_path / name, resume=False)
        assert run.validation is not None
        found[name] = run.validation.bicubic()
    assert all(found["jpeg"][scale] < found["clean"][scale] - 0.3 for scale in (2, 3, 4))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("jpeg", 1.5, "degradation.jpeg"),
        ("jpeg_quality", (90.0, 60.0, 95.0), "the lowest first"),
        ("jpeg_quality", (0.0, 60.0, 95.0), "degradation.jpeg_quality.0"),
        ("blur_sigma", (2.0, 1.0), "the least first"),
        ("subsampling", (0.0, 0.0, 0.0), "leaves every way"),
        ("kernels", (), "at least one"),
        ("kernels", ("cubic",), "degradation.kernels.0"),
        ("order", ("blur", "blur", "jpeg"), "once"),
        ("jpg", 1.0, "unknown field degradation.jpg"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field(field: str, value: Any, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as caught:
        recipe(degradation={field: value})
    assert "\n" not in str(caught.value)
    with pytest.raises(RecipeError, match=r"validation.degrade: .*jpeg:40"):
        recipe(validation={"degrade": "jpg:60"})


def test_recipes_without_degradations_are_what_they_were() -> None:
    plain = recipe(degradation={})
    assert plain.degradation.margins == (0, 0)
    assert not any(name.startswith("degradation") for name in plain.decisive())
    assert plain.identity() != recipe().identity()
