"""The automatic choice: worn pictures get the network for them, clean ones are what they were, and a line says why."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processes import assert_refused, superfine
from superfine import images
from superfine.images.picture import Picture
from superfine.images.resize import downscale
from superfine.upscaling import Upscaler, upscale
from superfine.upscaling.auto import CLEAN, PHOTO, WORN_QUALITY, Choice
from superfine.weights import find

PHOTO_FILE = Path(__file__).resolve().parents[1] / "src" / "superfine" / "demo" / "budgerigar.jpg"


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """96 x 80 pixels of a photograph with no trace of JPEG left."""
    with Image.open(PHOTO_FILE) as image:
        return np.ascontiguousarray(downscale(np.asarray(image.convert("RGB")), 3)[20:100, 30:126])


@pytest.fixture(scope="module")
def auto() -> Upscaler:
    return Upscaler(engine="openvino", precision="fp32")


@pytest.fixture(scope="module")
def by_name() -> dict[str, Upscaler]:
    return {name: Upscaler(name, engine="openvino", precision="fp32") for name in (CLEAN, PHOTO)}


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def worn(pixels: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg(pixels, quality))))


def test_both_networks_are_shipped_and_differ(clean: np.ndarray, by_name: dict[str, Upscaler]) -> None:
    assert find(CLEAN).scales == find(PHOTO).scales == (2, 3, 4)
    assert not np.array_equal(by_name[CLEAN](clean, 2), by_name[PHOTO](clean, 2))


@pytest.mark.parametrize("scale", [2, 3])
def test_a_clean_picture_is_what_the_clean_network_makes_to_the_bit(
    clean: np.ndarray, auto: Upscaler, by_name: dict[str, Upscaler], scale: int
) -> None:
    np.testing.assert_array_equal(auto(clean, scale), by_name[CLEAN](clean, scale))
    assert auto.choose(Picture(clean)) == Choice(CLEAN, "clean")


def test_each_picture_gets_the_network_its_own_evidence_asks_for(
    clean: np.ndarray, auto: Upscaler, by_name: dict[str, Upscaler], tmp_path: Path
) -> None:
    noisy = np.clip(clean + np.random.default_rng(0).standard_normal(clean.shape) * 12, 0, 255).astype(np.uint8)
    (tmp_path / "60.jpg").write_bytes(jpeg(clean, 60))
    (tmp_path / "best.jpg").write_bytes(jpeg(clean, 98))
    Image.fromarray(worn(clean, 30)).save(tmp_path / "again.png")
    for name, model, reason in (
        ("60.jpg", PHOTO, "JPEG of quality 60"),
        ("best.jpg", CLEAN, "JPEG of quality 98, clean"),
        ("again.png", PHOTO, "blocks of an earlier JPEG"),
    ):
        made = auto(tmp_path / name, 2)
        np.testing.assert_array_equal(np.asarray(made), np.asarray(by_name[model](tmp_path / name, 2)))
        assert auto.choose(images.read(tmp_path / name)) == Choice(model, reason)
    batch = np.stack([clean, noisy, worn(clean, 30)])
    made = auto(batch, 2)
    for each, result, model in zip(batch, made, (CLEAN, PHOTO, PHOTO), strict=True):
        np.testing.assert_array_equal(result, by_name[model](each, 2))
    choice = auto.choose(Picture(noisy))
    assert choice is not None and choice.reason.startswith("noise of ")


def test_the_choice_does_not_change_with_the_engine_or_the_copy(clean: np.ndarray, auto: Upscaler) -> None:
    source = Picture(worn(clean, 40))
    others = [pickle.loads(pickle.dumps(auto)), Upscaler(engine="onnxruntime"), Upscaler(tta=True, precision="bf16")]
    assert {str(each.choose(source)) for each in (auto, *others)} == {f"{PHOTO} (blocks of an earlier JPEG)"}
    assert Upscaler(CLEAN).choose(source) is None and Upscaler(engine="nearest").choose(source) is None
    np.testing.assert_array_equal(others[0](source.pixels, 2), auto(source.pixels, 2))


def test_a_quality_at_the_limit_is_worn_and_one_above_it_is_not(clean: np.ndarray, auto: Upscaler) -> None:
    for quality, model in ((WORN_QUALITY, PHOTO), (WORN_QUALITY + 1, CLEAN)):
        choice = auto.choose(images.read(io.BytesIO(jpeg(clean, quality))))
        assert choice is not None and choice.model == model


def test_the_one_call_chooses_too(clean: np.ndarray, by_name: dict[str, Upscaler]) -> None:
    image = Image.open(io.BytesIO(jpeg(clean[:32, :32], 50)))
    expected = np.asarray(by_name[PHOTO](image, 2))
    options = {"engine": "openvino", "precision": "fp32"}
    np.testing.assert_array_equal(np.asarray(upscale(image, 2, **options)), expected)
    assert not np.array_equal(np.asarray(upscale(image, 2, CLEAN, **options)), expected)


def test_a_limit_on_memory_is_kept_with_two_networks_open(clean: np.ndarray, tmp_path: Path) -> None:
    limited = Upscaler(engine="openvino", precision="fp32", memory="3GiB")
    small = limited(clean[:24, :24], 2)
    assert small.shape == (48, 48, 3)
    photo = limited.of(Choice(PHOTO, ""))
    assert photo is limited.of(Choice(PHOTO, "another reason")) and limited.of(Choice(CLEAN, "")) is limited
    assert photo.memory == 3 << 30 and photo.memory_before >= limited.memory_before > 0
    limited.close()
    assert limited.of(Choice(PHOTO, "")) is not photo


def test_the_command_says_what_it_chose_and_why(clean: np.ndarray, tmp_path: Path) -> None:
    small = clean[:32, :40]
    (tmp_path / "a.jpg").write_bytes(jpeg(small, 60))
    Image.fromarray(small).save(tmp_path / "b.png")
    options = ("-s", 2, "--engine", "openvino", "--precision", "fp32")
    done = superfine("upscale", "a.jpg", "-o", "a.png", *options, "--note", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{PHOTO} (JPEG of quality 60)" in done.stdout and len(done.stdout.splitlines()) == 1
    facts = json.loads(superfine("inspect", "a.png", "--json", cwd=tmp_path).stdout)
    note = (facts[0] if isinstance(facts, list) else facts)["note"]
    assert (note["model"], note["reason"]) == (PHOTO, "JPEG of quality 60")
    done = superfine("upscale", "a.jpg", "b.png", "-o", "both", *options, cwd=tmp_path)
    assert f"{CLEAN} for 1 (clean)" in done.stdout and f"{PHOTO} for 1 (JPEG of quality 60)" in done.stdout
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "both" / "b.png")),
        Upscaler(CLEAN, engine="openvino", precision="fp32")(small, 2),
    )
    done = superfine("upscale", "a.jpg", "b.png", "-o", "dry", *options, "--dry-run", cwd=tmp_path, env=wide())
    assert "JPEG of quality 60" in done.stdout and f"{CLEAN} (clean)" in done.stdout
    assert not (tmp_path / "dry").exists()
    done = superfine("upscale", "a.jpg", "-o", "named.png", *options, "-m", CLEAN, cwd=tmp_path)
    assert done.returncode == 0 and "quality" not in done.stdout


def wide() -> dict[str, str]:
    import os

    return os.environ | {"COLUMNS": "200"}


def test_a_video_takes_one_model(tmp_path: Path) -> None:
    assert_refused(superfine("video", "a.mp4", "b.mp4", "-m", "auto", cwd=tmp_path), "-m esrgcnn-photo")
