"""The ComfyUI node, imported and called as ComfyUI does with a folder of custom_nodes."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import superfine

FOLDER = Path(__file__).resolve().parents[1] / "integrations" / "comfyui"


def load(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_nodes.superfine", folder / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def node(tmp_path: Path) -> Any:
    """The node of a folder that a user has copied."""
    module = load(shutil.copytree(FOLDER, tmp_path / "superfine"))
    assert module.NODE_CLASS_MAPPINGS.keys() == module.NODE_DISPLAY_NAME_MAPPINGS.keys() == {"SuperfineUpscale"}
    return module.NODE_CLASS_MAPPINGS["SuperfineUpscale"]()


def test_the_node_keeps_the_interface_of_the_host(node: Any) -> None:
    inputs = type(node).INPUT_TYPES()
    assert inputs["required"]["image"] == ("IMAGE",) and node.RETURN_TYPES == ("IMAGE",) and node.CATEGORY
    assert inputs["required"]["model"][0] == [entry.name for entry in superfine.list_models()]
    assert callable(getattr(node, node.FUNCTION))


def test_a_batch_comes_out_as_the_package_enlarges_each_image(node: Any) -> None:
    images = torch.rand(2, 12, 10, 3)
    (larger,) = getattr(node, node.FUNCTION)(image=images, model="esrgcnn", scale=1.5, precision="fp32")
    assert larger.shape == (2, 18, 15, 3) and larger.dtype == torch.float32
    assert float(larger.min()) >= 0 and float(larger.max()) <= 1
    expected = superfine.upscale(images[1].numpy(), 1.5, precision="fp32")
    assert np.abs(larger[1].numpy() - expected).max() < 1e-6


def test_progress_is_shown_and_an_interruption_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    comfy, management, utils = (ModuleType(f"comfy{end}") for end in ("", ".model_management", ".utils"))

    class Interrupted(Exception):
        pass

    def interrupt() -> None:
        if seen:
            raise Interrupted

    class ProgressBar:
        def __init__(self, total: int) -> None:
            assert total == 1000

        def update_absolute(self, value: int) -> None:
            seen.append(value)

    management.throw_exception_if_processing_interrupted = interrupt  # type: ignore[attr-defined]
    utils.ProgressBar = ProgressBar  # type: ignore[attr-defined]
    for module in (comfy, management, utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    node = load(FOLDER).SuperfineUpscale()
    with pytest.raises(Interrupted):
        node.upscale(torch.rand(2, 8, 8, 3), "esrgcnn", 2.0)
    assert seen == [500]


def test_a_file_that_is_not_there_is_one_line(node: Any) -> None:
    with pytest.raises(superfine.CheckpointError, match=r"no weights file gone\.pth"):
        node.upscale(torch.rand(1, 8, 8, 3), "esrgcnn", 2.0, file="gone.pth")
