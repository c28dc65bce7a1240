"""quality/perceptual.py: LPIPS and DISTS through torchmetrics and torchvision, and what is said where they are missing.

The networks here are real ones with random weights: what is checked is the way the pictures take, not the figures of
the trained networks, which need a download.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from processes import assert_refused, superfine
from superfine.benchmark import significance, tables
from superfine.benchmark.result import PictureFigures, Result, Row
from superfine.errors import DataError
from superfine.quality import perceptual

# torchvision's ordinary wheel needs CUDA's libraries. Beside a PyTorch without them its operators are missing, and it
# gives up on import; the two networks need none of them, so saying what they would look like is enough.
LOAD = """
import torch
try:
    import torchvision
except RuntimeError:
    import sys
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    declared = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        declared.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
"""

MAKE_WEIGHTS = """
import pathlib
folder = pathlib.Path(torch.hub.get_dir()) / "checkpoints"

# Loading overwrites what a network begins with, and drawing VGG16's 138 million numbers takes seconds.
torch.nn.init.kaiming_uniform_ = torch.nn.init.uniform_ = lambda tensor, *_, **__: tensor

def make_weights():
    models = torchvision.models
    for build, kind in ((models.alexnet, models.AlexNet_Weights), (models.vgg16, models.VGG16_Weights)):
        with torch.device("meta"):
            shapes = {key: value.shape for key, value in build().state_dict().items()}
        torch.manual_seed(0)
        # The classifiers are never used: one stored zero spread over their shape keeps the files small.
        values = {
            key: torch.randn(shape) / max(1, shape[1:].numel()) ** 0.5 if key.startswith("features")
            else torch.zeros(1).as_strided(shape, [0] * len(shape))
            for key, shape in shapes.items()
        }
        torch.save(values, folder / kind.DEFAULT.url.rpartition("/")[2])
"""

USE = """
import json, sys
import numpy as np
from superfine.__main__ import main
from superfine.errors import DataError
from superfine.quality.perceptual import DISTANCES, open_distance

results = {"offline": main(["benchmark", "Set5", "-s", "2", "-m", "bicubic", "--metric", "lpips"])}
(folder / torchvision.models.VGG16_Weights.DEFAULT.url.rpartition("/")[2]).write_bytes(b"not a checkpoint")
results["damaged"] = main(["benchmark", "Set5", "-s", "2", "-m", "bicubic", "--metric", "dists"])
make_weights()
random = np.random.default_rng(0)
# Smooth, as photographs are: sums of waves on 0..255.
y, x = np.mgrid[:48, :64] / 9.0
picture = np.stack([127.5 + 60 * np.sin(x + c) + 60 * np.cos(y * (c + 1) / 2) for c in range(3)])
noise = random.standard_normal(picture.shape)
for name in DISTANCES:
    distance = open_distance(name)
    assert open_distance(name) is distance
    results[name] = [distance(picture, np.clip(picture + level * noise, 0, 255)) for level in (0, 10, 40)]
    try:
        distance(picture[:, :31], picture[:, :31])
    except ValueError as error:
        results[name + " small"] = str(error)
asked = ["benchmark", "Set5", "-s", "2", "-m", "bicubic,nearest", "-p", "matlab,rgb", "--compare", "bicubic,nearest"]
results["code"] = main([*asked, "--metric", "psnr,lpips,dists", "--json", "out.json"])
results["small"] = main(["benchmark", "Small", "-s", "2", "-m", "bicubic", "--metric", "lpips"])
print("\\n" + json.dumps(results))
"""


@pytest.fixture
def pictures(tmp_path):
    y, x = np.mgrid[:80, :96] / 7.0
    for folder, height, mode in (("Set5", 80, "RGB"), ("Set5", 80, "L"), ("Small", 34, "RGB")):
        (tmp_path / folder).mkdir(exist_ok=True)
        waves = np.stack([127.5 + 60 * np.sin(3 * x + c) + 60 * np.cos(y * (c + 1)) for c in range(3)], axis=-1)
        Image.fromarray(waves[:height].astype(np.uint8)).convert(mode).save(tmp_path / folder / f"{mode}.png")
    return tmp_path


@pytest.mark.skipif(
    find_spec("torchvision") is None or find_spec("torchmetrics") is None,
    reason="the extra superfine[perceptual] is not installed",
)
def test_lpips_and_dists_of_random_networks_from_missing_weights_to_a_measured_set(pictures):
    (pictures / "home").mkdir()
    # No proxy listens at this port: as good as no network, and at once.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "no_proxy": "", "NO_PROXY": "", "TORCH_HOME": str(pictures / "home")}
    done = subprocess.run(
        [sys.executable, "-c", LOAD + MAKE_WEIGHTS + USE],
        cwd=pictures,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    # Where a run takes more than seconds, lines of progress stand between.
    complaints = [line for line in done.stderr.splitlines() if line.startswith("superfine: ")]
    assert [results["offline"], results["damaged"], results["code"], results["small"]] == [2, 2, 0, 2]
    assert len(complaints) == 3, done.stderr
    checkpoints = str(pictures / "home" / "hub" / "checkpoints")
    assert "alexnet" in complaints[0] and f"put them into {checkpoints}" in complaints[0]
    assert f"cannot use {checkpoints}" in complaints[1] and "remove it" in complaints[1]
    assert "at least 32x32 pixels" in complaints[2] and "RGB" in complaints[2]
    for name in perceptual.DISTANCES:
        same, slight, strong = results[name]
        assert same == pytest.approx(0.0, abs=1e-6)
        assert 1e-4 < slight < strong
        assert "at least 32x32" in results[f"{name} small"]
    assert "PSNR / LPIPS ↓ / DISTS ↓" in done.stdout
    rows = {(row["model"], row["protocol"]): row for row in json.loads((pictures / "out.json").read_text())["rows"]}
    for metric in perceptual.DISTANCES:
        for protocol in ("matlab", "rgb"):
            assert 0 < rows["bicubic", protocol]["figures"][metric] < rows["nearest", protocol]["figures"][metric]
        # They look at R, G, B whatever a protocol says about luma and gray pictures.
        assert rows["bicubic", "matlab"]["figures"][metric] == rows["bicubic", "rgb"]["figures"][metric]


def test_a_missing_extra_is_named_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None if name == "torchmetrics" else object())
    perceptual.open_distance.cache_clear()
    with pytest.raises(DataError, match=r"lpips needs torchmetrics.*pip install .*\[perceptual\]"):
        perceptual.open_distance("lpips")


def test_a_torchvision_of_another_pytorch_is_one_line_and_exit_code_2(pictures):
    for package, text in (
        ("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')"),
        ("torchmetrics", ""),
    ):
        (pictures / "packages" / package).mkdir(parents=True)
        (pictures / "packages" / package / "__init__.py").write_text(text)
    path = os.pathsep.join(filter(None, [str(pictures / "packages"), os.environ.get("PYTHONPATH")]))
    arguments = ("benchmark", "Set5", "-m", "bicubic", "-s", "2", "--metric", "psnr,dists")
    done = superfine(*arguments, cwd=pictures, env={**os.environ, "PYTHONPATH": path})
    for words in ("does not load beside PyTorch", "nms does not exist", "pytorch.org"):
        assert_refused(done, words)


def test_a_lower_distance_wins_the_paired_test():
    def row(model, value):
        pictures = [PictureFigures(str(n), {"lpips": value + n / 1000}) for n in range(8)]
        return Row("Set5", 2, model, "rgb", {"lpips": value}, pictures, 0.0)

    result = Result([row("ours", 0.1), row("theirs", 0.2)], [], [], {}, {}, {}, "")
    (line,) = significance.comparison(result, "ours", "theirs")
    assert "ours beats theirs" in line and "better on 8 of 8, worse on 0" in line
    assert tables.heading(["psnr", "lpips"]) == "PSNR / LPIPS ↓"
