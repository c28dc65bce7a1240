"""Compute LPIPS and DISTS: distances between the features that a network trained on photographs sees in two pictures.

Both come from torchmetrics, an optional extra: `superfine[perceptual]`. Both look through a network of torchvision
(AlexNet for LPIPS, VGG16 for DISTS), whose weights are fetched on first use and kept where PyTorch keeps such files.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superfine.errors import DataError, install_command

Distance = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""Two pictures (3, H, W), R, G, B on 0..255, to a number: 0 for equal ones, larger the less alike they look."""

DISTANCES = ("lpips", "dists")
"""LPIPS (Zhang et al., CVPR 2018), version 0.1 with AlexNet; DISTS (Ding et al., IEEE TPAMI 44, 2022)."""

SMALLEST = 32  # pixels a side: AlexNet's strides leave nothing of less than 31

_BACKBONES = {"lpips": "AlexNet_Weights", "dists": "VGG16_Weights"}
_NEEDS = ("torch", "torchmetrics", "torchvision")


@lru_cache(maxsize=len(DISTANCES))
def open_distance(name: str) -> Distance:
    """Open the distance called `name`; its network is loaded once and kept.

    It computes on the CPU, so that no figure depends on a GPU.

    Args:
        name: one of DISTANCES.

    Raises:
        DataError: the extra is not installed or does not load, or the network's weights cannot be had.
    """
    if missing := [package for package in _NEEDS if find_spec(package) is None]:
        raise DataError(f"{name} needs {missing[0]}, which is not installed: {install_command('perceptual')}")
    modules = _import_packages(name)
    weights = _fetch_weights(name, getattr(modules["torchvision.models"], _BACKBONES[name]).DEFAULT.url)
    try:
        if name == "lpips":
            network = (
                modules["torchmetrics.image.lpip"].LearnedPerceptualImagePatchSimilarity("alex", normalize=True).net
            )
        else:
            network = modules["torchmetrics.functional.image.dists"].DISTSNetwork()
    except Exception as error:  # pickle, zip and PyTorch each have their own ways to say that a file is damaged
        raise DataError(
            f"{name} cannot use {weights} ({_first_line(error)}); remove it, and it is fetched again"
        ) from error
    return _Network(name, network)


class _Network:
    """A distance whose network stays loaded from picture to picture."""

    def __init__(self, name: str, network: Any) -> None:
        self.name, self.network = name, network.eval()

    def __call__(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        if a.shape != b.shape or a.ndim != 3 or len(a) != 3 or min(a.shape[1:]) < SMALLEST:
            needed = f"two pictures (3, H, W) of one shape, at least {SMALLEST}x{SMALLEST} pixels"
            raise ValueError(f"{self.name} needs {needed}, not {a.shape} and {b.shape}")
        import torch

        left, right = (torch.from_numpy((each / 255.0).astype(np.float32))[None] for each in (a, b))
        with torch.inference_mode():
            found = self.network(left, right, normalize=True) if self.name == "lpips" else self.network(left, right)
        return float(found)


def _import_packages(name: str) -> dict[str, Any]:
    names = ("torchvision.models", "torchmetrics.image.lpip", "torchmetrics.functional.image.dists")
    try:
        with warnings.catch_warnings():  # torchvision's, about image files that it is not asked to read
            warnings.simplefilter("ignore")
            return {each: importlib.import_module(each) for each in names}
    except Exception as error:  # a torchvision that was built for another PyTorch fails in many ways
        import torch

        raise DataError(
            f"{name} needs torchvision, and the one installed does not load beside PyTorch {torch.__version__} "
            f"({_first_line(error)}); install the two as one pair from one place, see https://pytorch.org/get-started"
        ) from error


def _fetch_weights(name: str, url: str) -> Path:
    """Find the weights at `url` in PyTorch's own folder on this machine; fetch them if they are not there."""
    import torch

    target = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The first digits of the checksum stand behind the name's last hyphen.
        torch.hub.download_url_to_file(url, str(target), hash_prefix=target.stem.rpartition("-")[2])
    except Exception as error:
        raise DataError(
            f"{name} needs the weights {url}, which cannot be fetched here ({_first_line(error)}); "
            f"fetch them where there is a network, and put them into {target.parent}"
        ) from error
    return target


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
