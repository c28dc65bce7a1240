"""superfine doctor on data sets, on the machine, and --fix on checkpoints that can be mended."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter

from processes import assert_refused, superfine
from superfine.__main__ import main
from superfine.cli.doctor_output import describe_folder
from superfine.datasets.doctor import examine_folder
from superfine.datasets.looks import METHODS, fingerprint, how_made
from superfine.errors import CheckpointError, DataError
from superfine.images.resize import downscale
from superfine.weights import find, network_file
from superfine.weights.mend import mend
from superfine.weights.state_dict import read_state
from upstream_files import read_golden


def scene(seed: int, size: tuple[int, int] = (240, 216)) -> Image.Image:
    """A picture with large and small structure, another one for each seed; size is width, height."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 10, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).filter(ImageFilter.GaussianBlur(1))
    return Image.blend(coarse, fine, 0.3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of every oddity."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    scene(1).save(folder / "a.png")
    scene(1).save(folder / "more/copy.bmp")
    ImageEnhance.Brightness(scene(1)).enhance(0.8).resize((160, 144)).save(folder / "again.jpg", quality=60)
    scene(2).save(folder / "b.png")
    scene(3).convert("L").save(folder / "gray.png")
    scene(4).convert("L").convert("RGB").save(folder / "gray-rgb.png")
    Image.fromarray(np.asarray(scene(5).convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def test_a_folder_is_examined_for_what_spoils_training(photos: Path) -> None:
    report = examine_folder(photos)
    assert (report.layout, report.pictures, report.smallest) == ("folder", 8, (160, 144))
    assert [(each.one, each.other) for each in report.duplicates] == [("a.png", "more/copy.bmp")]
    assert {(each.one, each.other) for each in report.near} == {("a.png", "again.jpg"), ("again.jpg", "more/copy.bmp")}
    assert (report.gray, report.gray_as_rgb, report.deep) == (["deep.png", "gray.png"], ["gray-rgb.png"], ["deep.png"])
    assert report.small == ["again.jpg"]
    assert len(report.faults) == 1 and "broken.png" in report.faults[0]
    assert not report.healthy and not report.pairs and not report.overlaps


def test_an_overlap_with_a_benchmark_set_is_found_after_saving_it_anew(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "Own").mkdir()
    scene(2).resize((120, 108)).save(tmp_path / "Own/seen.jpg", quality=70)
    scene(9).save(tmp_path / "Own/unseen.png")
    report = examine_folder(photos, [tmp_path])
    assert report.compared_with == 2
    assert [(each.one, Path(each.other).name) for each in report.overlaps] == [("b.png", "seen.jpg")]
    assert not examine_folder(tmp_path / "Own", [photos / "more"]).overlaps


def test_different_scenes_are_far_apart_and_one_colour_is_like_nothing() -> None:
    prints = np.stack([fingerprint(np.asarray(scene(seed, (64, 48)))) for seed in range(12)])
    likeness = prints @ prints.T
    assert np.allclose(np.diag(likeness), 1, atol=1e-5)
    assert np.abs(likeness - np.eye(12)).max() < 0.6
    assert not fingerprint(np.full((20, 20, 3), 77, np.uint8)).any()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("scale", [2, 3])
def test_how_lr_was_made_is_found(name: str, scale: int) -> None:
    hr = np.asarray(scene(1, (96, 72)))
    lr = METHODS[name](hr, scale)
    assert how_made(hr, lr, scale) == f"{name}, bit for bit"
    # rounded once more, as another program would
    other = np.clip(lr.astype(int) + np.random.default_rng(0).integers(-1, 2, lr.shape), 0, 255).astype(np.uint8)
    assert how_made(hr, other, scale) == f"like {name}"


def test_lr_that_was_spoilt_or_belongs_elsewhere_is_told_apart(tmp_path: Path) -> None:
    hr = np.asarray(scene(1, (96, 72)))
    Image.fromarray(downscale(hr, 2)).save(tmp_path / "lr.jpg", quality=85)
    spoilt = np.asarray(Image.open(tmp_path / "lr.jpg"))
    assert "then altered" in how_made(hr, spoilt, 2)
    assert "no known method" in how_made(hr, downscale(np.asarray(scene(2, (96, 72))), 2), 2)


def test_pairs_are_examined_scale_by_scale_and_the_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hr = tmp_path / "Mine_HR"
    hr.mkdir()
    for seed in (1, 2):
        scene(seed).save(hr / f"{seed}.png")
    for scale, make in ((2, METHODS["MATLAB's bicubic"]), (3, METHODS["Pillow's bicubic"])):
        (tmp_path / f"Mine_LR_bicubic/X{scale}").mkdir(parents=True)
        for seed in (1, 2):
            lr = make(np.asarray(scene(seed)), scale)
            Image.fromarray(lr).save(tmp_path / f"Mine_LR_bicubic/X{scale}/{seed}x{scale}.png")
    report = examine_folder(tmp_path)
    assert [(each.scale, each.count) for each in report.pairs] == [(2, 2), (3, 2)]
    assert report.healthy
    assert "  pairs x2     2; LR is MATLAB's bicubic, bit for bit (2)" in describe_folder(report)
    (tmp_path / "Mine_LR_bicubic/X3/2x3.png").unlink()
    assert main(["doctor", str(tmp_path), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert len(said["faults"]) == 1 and "2.png" in said["faults"][0]
    assert [each["scale"] for each in said["pairs"]] == [2]


def test_the_machine_is_examined_by_running_every_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    engines = {each["engine"]: each for each in said["engines"]}
    assert "fp32" in engines["openvino"]["precisions"] and "fp32" in engines["pytorch"]["precisions"]
    assert all(bool(each["precisions"]) != bool(each["refusal"]) for each in engines.values())
    name, precision = said["auto"].split()[:2]
    assert precision in engines[name]["precisions"] and said["reason"]
    assert said["facts"]["cores"] > 0 and said["versions"]["superfine"]


def test_a_wrapped_single_scale_checkpoint_is_mended_and_gives_the_same_network(tmp_path: Path) -> None:
    golden = read_golden("cfsrcnn_x3").state
    state = {f"module.{key}": value.double() for key, value in golden.items()} | {"module.step": torch.ones(1)}
    torch.save({"epoch": 3, "net": state}, tmp_path / "a.pth")
    broken = network_file.identify(read_state(tmp_path / "a.pth"))
    assert broken.unexpected == ["step"]  # so `load` refuses the file
    mended = mend(tmp_path / "a.pth", tmp_path / "b.safetensors")
    said = "\n".join(mended.changes)
    for part in ("net, 'module.'", "of no network: step", "float16, no longer float64", "header: format, network"):
        assert part in said
    found = network_file.identify(read_state(mended.path))
    assert found.fits and (found.names, found.config.scales) == ("superfine", (3,))
    written = read_state(mended.path).state
    for theirs, ours in broken.table.items():
        assert torch.equal(written[ours], golden[theirs].half())


def test_a_slip_in_a_name_is_mended_and_the_command_shows_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = dict(read_golden("esrgcnn_x2").state)
    state["b1.conv1_7.0.weight"] = state.pop("b1.conv1_2.0.weight")
    torch.save(state, tmp_path / "a.pth")
    code = main(["doctor", str(tmp_path / "a.pth"), "--fix", str(tmp_path / "b.safetensors")])
    said = capsys.readouterr()
    assert "renamed: b1.conv1_7.0.weight to b1.conv1_2.0.weight" in said.err
    assert code == 1 and "untrained" in said.out  # golden weights are random


def test_what_cannot_be_mended_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    state = dict(read_golden("esrgcnn_x2").state)
    state.pop("conv2.0.weight")
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"cannot be mended: .*lacks conv2\.0\.weight"):
        mend(tmp_path / "a.pth", tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"ends in \.safetensors"):
        mend(find("esrgcnn").weights, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="exists already"):
        mend(find("esrgcnn").weights, find("esrgcnn").weights)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_a_folder_without_pictures_or_with_broken_ones_alone_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        examine_folder(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        examine_folder(tmp_path / "gone")
    (tmp_path / "a.png").write_bytes(b"no picture")
    report = examine_folder(tmp_path)
    assert (report.pictures, len(report.faults), report.healthy) == (1, 1, False)
    with pytest.raises(DataError, match="no folder"):
        examine_folder(tmp_path, [tmp_path / "gone"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--fix", "x.safetensors"], "--fix mends a weights file"), (["a.pth", "--against", "b"], "--against compares")],
)
def test_options_without_what_they_are_for_are_refused(arguments: list[str], words: str) -> None:
    assert_refused(superfine("doctor", *arguments), words)
