"""The Python door: `superfine`'s public names; every kind of image in, the same kind out, at any size."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import superfine
from box_filter import BoxFilter
from superfine import errors
from superfine.engines.nearest import NearestEngine
from superfine.errors import EngineError, ImageError, ModelError, PlanError, SuperfineError
from superfine.upscaling.one_call import UpscaleKeywords
from superfine.upscaling.upscaler import Upscaler


def nearest() -> Upscaler:
    return Upscaler(engine="nearest")


def levels(shape: tuple[int, ...], dtype: type = np.uint8) -> NDArray[Any]:
    random = np.random.default_rng(1)
    if np.dtype(dtype).kind == "f":
        return random.random(shape).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def repeated(array: NDArray[Any], scale: int, first_axis: int = 0) -> NDArray[Any]:
    return array.repeat(scale, axis=first_axis).repeat(scale, axis=first_axis + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_an_array_comes_back_as_an_array_of_its_type_and_shape(shape: tuple[int, ...], dtype: type) -> None:
    array = levels(shape, dtype)
    larger = nearest()(array, 3)
    assert larger.dtype == array.dtype
    wanted = repeated(array, 3)
    assert larger.shape == wanted.shape
    # Whole levels survive; floats pass through float32, gray ones through a mean of three equal numbers.
    tolerance = 0 if array.dtype.kind == "u" else 1e-6 if dtype is not np.float16 else 1e-3
    assert np.abs(larger.astype(np.float64) - wanted).max() <= tolerance


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_of_an_array_is_magnified_and_comes_back_last(channels: int) -> None:
    array = levels((6, 5, channels))
    array[:, :, -1] = 77
    larger = nearest()(array, 2)
    assert larger.shape == (12, 10, channels)
    assert (larger[:, :, -1] == 77).all()
    assert np.array_equal(larger[:, :, :-1], repeated(array[:, :, :-1], 2))


def test_a_batch_is_its_pictures_one_by_one() -> None:
    batch = levels((3, 9, 8, 3))
    shares: list[float] = []
    upscaler = Upscaler(engine=BoxFilter(2))
    larger = upscaler(batch, 1.5, progress=shares.append)
    assert larger.shape == (3, 14, 12, 3)
    assert np.array_equal(larger, np.stack([upscaler(each, 1.5) for each in batch]))
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 5, 7), (2, 3, 5, 7)])
def test_a_tensor_comes_back_as_a_tensor_with_channels_first(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.from_numpy(levels(shape))
    tensor = values if dtype == torch.uint8 else (values.to(torch.float64) / 255).to(dtype)
    larger = nearest()(tensor, 2)
    assert isinstance(larger, torch.Tensor) and larger.dtype == dtype and larger.device == tensor.device
    wanted = tensor.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert larger.shape == wanted.shape and larger.is_contiguous()
    assert (larger.double() - wanted.double()).abs().max() <= (0 if dtype == torch.uint8 else 1e-6)


def test_a_tensor_of_a_training_loop_keeps_its_graph_to_itself() -> None:
    tensor = torch.rand(3, 4, 5, requires_grad=True)
    assert not nearest()(tensor, 2).requires_grad and tensor.requires_grad


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_pil_image_comes_back_in_its_mode(mode: str) -> None:
    image = Image.fromarray(levels((6, 8, 4)), "RGBA").convert(mode)
    larger = nearest()(image, 2)
    assert isinstance(larger, Image.Image) and larger.mode == mode and larger.size == (16, 12)


def test_a_path_gives_a_pil_image_with_its_profile(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(levels((6, 8, 3))).save(path, icc_profile=b"a profile")
    for given in (path, str(path)):
        larger = nearest()(given)
        assert larger.size == (32, 24) and larger.info["icc_profile"] == b"a profile"


def test_a_picture_gives_a_picture_that_can_be_written_and_read(tmp_path: Path) -> None:
    larger = superfine.upscale(superfine.Picture(levels((4, 5, 3)), dpi=(72.0, 72.0)), engine="nearest")
    superfine.write(larger, tmp_path / "out.png")
    back = superfine.read(tmp_path / "out.png")
    assert (back.width, back.height) == (20, 16) and np.array_equal(back.pixels, larger.pixels)


@pytest.mark.parametrize(
    "size, width, height",
    [
        ({}, 80, 48),
        ({"scale": 1.5}, 30, 18),
        ({"scale": "3/2"}, 30, 18),
        ({"scale": Fraction(3, 2)}, 30, 18),
        ({"scale": np.float32(2.5)}, 50, 30),
        ({"width": 30}, 30, 18),
        ({"height": 30}, 50, 30),
        ({"long_edge": 35}, 35, 21),
        ({"short_edge": 35}, 58, 35),
        ({"megapixels": 0.0024}, 63, 38),
        ({"size": (64, 36)}, 60, 36),
        ({"size": "64x36", "fit": "cover"}, 64, 36),
        ({"size": (64, 36), "fit": "stretch"}, 64, 36),
        ({"print": "1x1in@50dpi"}, 50, 30),
    ],
)
def test_every_size_is_the_same_for_the_class_and_the_function(size: dict[str, Any], width: int, height: int) -> None:
    array = levels((12, 20, 3))
    larger = nearest()(array, **size)
    assert larger.shape == (height, width, 3)
    assert np.array_equal(superfine.upscale(array, engine="nearest", **size), larger)


def test_a_print_is_marked_with_its_resolution() -> None:
    assert nearest()(Image.new("L", (20, 12)), print="1x1in@50dpi").info["dpi"] == (50.0, 50.0)


@pytest.mark.parametrize(
    "size, says",
    [
        ({"scale": 2, "width": 9}, "scale and width contradict"),
        ({"scale": 0}, "no number above 0"),
        ({"scale": -2.0}, "no number above 0"),
        ({"scale": float("nan")}, "no number above 0"),
        ({"width": 0}, "width 0"),
        ({"height": 9.5}, "height 9.5"),
        ({"size": (64, 0)}, "(1920, 1080)"),
        ({"size": (64,)}, "(1920, 1080)"),
        ({"size": "64"}, "1920x1080"),
        ({"size": (9, 9), "fit": "squeeze"}, "contain, cover, stretch"),
        ({"megapixels": 0}, "above 0"),
        ({"print": "A4"}, "30x40cm@300dpi"),
        ({"scale": 99}, "out of reach"),
    ],
)
def test_a_size_that_is_none_is_refused_in_one_line(size: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError) as refused:
        nearest()(levels((4, 5, 3)), **size)
    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((3, 4, 8), np.uint8),
        np.zeros(4),
        np.zeros((4, 4), np.int64),
        torch.zeros(4, 4),
        torch.zeros(5, 4, 3),
        42,
        None,
    ],
)
def test_what_is_no_picture_is_refused(wrong: Any) -> None:
    with pytest.raises(ImageError, match=r"want|give"):
        nearest()(wrong)


def test_other_mistakes_have_names() -> None:
    with pytest.raises(ImageError):
        nearest()("no such picture.png")
    with pytest.raises(ModelError):
        Upscaler("no-such-model")
    settings: tuple[tuple[dict[str, Any], type[SuperfineError]], ...] = (
        ({"tile": 0}, PlanError),
        ({"alpha": "magic"}, PlanError),
        ({"memory": "much"}, PlanError),
        ({"engine": "magic"}, EngineError),
        ({"precision": "fp64"}, EngineError),
        ({"device": "abacus"}, EngineError),
    )
    for wrong, error in settings:
        with pytest.raises(error):
            Upscaler(**wrong)


def test_an_upscaler_says_what_computes_goes_through_pickle_and_gives_its_memory_back() -> None:
    array = levels((8, 9, 3))
    with Upscaler("esrgcnn", engine="openvino", precision="fp32", tile=5) as upscaler:
        assert repr(upscaler) == "Upscaler('esrgcnn', engine='openvino', precision='fp32', device='cpu')"
        larger = upscaler(array, 2)
        again = pickle.loads(pickle.dumps(upscaler))
    assert repr(again) == repr(upscaler)
    assert np.array_equal(again(array, 2), larger)
    assert np.array_equal(upscaler(array, 2), larger)  # after its end it opens its engine anew


def test_an_engine_of_ones_own_takes_any_size() -> None:
    array = levels((6, 7, 3))
    upscaler = Upscaler(engine=NearestEngine(3))
    assert np.array_equal(upscaler(array, 3), repeated(array, 3))
    assert upscaler(array, 4).shape == (24, 28, 3)


def test_all_is_what_is_visible_and_every_name_is_documented() -> None:
    assert dir(superfine) == sorted(superfine.__all__)
    for name in superfine.__all__:
        value = getattr(superfine, name)
        assert isinstance(value, str) or (inspect.getdoc(value) and not isinstance(value, ModuleType))
    tree = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert tree <= set(superfine.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        superfine.no_such_name  # noqa: B018


def test_the_function_takes_every_keyword_of_the_class() -> None:
    keywords = set(inspect.signature(superfine.upscale).parameters)
    of_class = inspect.signature(Upscaler).parameters.keys() | inspect.signature(Upscaler.__call__).parameters.keys()
    assert keywords == of_class - {"self"}
    assert keywords == UpscaleKeywords.__annotations__.keys() | {"image", "scale", "model"}


def test_the_models_are_listed_and_a_network_is_loaded_by_name() -> None:
    assert [each.name for each in superfine.list_models()][:2] == ["esrgcnn", "cfsrcnn"]
    network = superfine.load_network("esrgcnn")
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 8, 8), 2).shape == (1, 3, 16, 16)


def test_without_pytorch_load_network_says_what_helps_and_still_has_its_documentation() -> None:
    program = """if True:
        import sys
        sys.modules["torch"] = None  # what Python itself does for a module that must not be imported
        import superfine
        assert "shipped name" in superfine.load_network.__doc__
        try:
            superfine.load_network("esrgcnn")
        except superfine.EngineError as error:
            print(error)
        print(superfine.upscale(__import__("numpy").zeros((4, 4, 3), "uint8"), 2, engine="openvino").shape)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    message, shape = done.stdout.splitlines()
    assert "needs PyTorch" in message and "pip install" in message and shape == "(8, 8, 3)"
