"""PyTorch takes seconds to import and a gigabyte to install: the base install must never ask for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPORT = """
import sys
from superfine.__main__ import main
code = main(sys.argv[1:])
print("|".join(["modules", *sorted({name.split(".")[0] for name in sys.modules})]))
raise SystemExit(code)
"""


def modules_after(*arguments: str) -> set[str]:
    """Top-level modules a real process has imported once it has obeyed a command line."""
    done = subprocess.run([sys.executable, "-c", REPORT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split("|"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("model", ["esrgcnn", "cfsrcnn"])
def test_upscaling_on_a_cpu_imports_openvino_and_no_torch(photo: Path, tmp_path: Path, model: str) -> None:
    out = tmp_path / "large.png"
    modules = modules_after("upscale", str(photo), "-o", str(out), "-s", "2", "-m", model, "--engine", "openvino")
    assert Image.open(out).size == (64, 48)
    assert "openvino" in modules
    # pydantic is not in the list: typer imports it where it is installed, and does without it elsewhere.
    assert not modules & {"torch", "onnx", "onnxscript", "lightning_fabric", "tensorboard"}


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["models"], ["upscale", "--help"], ["train", "--help"]]
)
def test_commands_that_compute_nothing_import_no_engine(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & {"torch", "openvino", "onnx"}


def test_importing_superfine_imports_no_engine_and_no_decoder() -> None:
    code = "import sys, superfine; print('|'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "openvino", "numpy", "PIL"} & set(loaded.strip().split("|"))
