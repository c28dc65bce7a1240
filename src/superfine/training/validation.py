"""PSNR on pictures that are never trained on, under the `standard` protocol."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from superfine.benchmark.degrade import degrade, parse_degradations
from superfine.errors import DataError, RecipeError
from superfine.images.resize import crop_to_multiple, downscale, resize
from superfine.nets import Network
from superfine.nets.layers import channels_last
from superfine.quality.protocols import PROTOCOLS, measure
from superfine.training.data.pictures import decode, evenly_spaced, find_pictures
from superfine.training.recipe import ValidationSection

SMALLEST_SIDE = 24
"""HR pixels: below that nothing is left inside the border a protocol cuts."""


def validation_pictures(section: ValidationSection) -> list[Path]:
    """Find the pictures a recipe validates on; none if it names no folder.

    Raises RecipeError if the folder holds none.
    """
    if section.folder is None:
        return []
    try:
        return evenly_spaced(find_pictures([Path(section.folder)]), section.pictures)
    except DataError as error:
        raise RecipeError(f"validation.folder: {error} (--validate names another)") from error


@dataclass
class ValidationSet:
    """HR pictures and the LR made of each, by scale; all HWC uint8 RGB."""

    pairs: dict[int, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]]

    @classmethod
    def read(cls, section: ValidationSection, scales: tuple[int, ...]) -> ValidationSet | None:
        """Read the set a recipe names, or return None. Raises RecipeError if the folder holds no pictures."""
        chosen = validation_pictures(section)
        if not chosen:
            return None
        hrs = [_centre(_decoded(path), section.crop, lcm(*scales)) for path in chosen]
        steps = parse_degradations(section.degrade) if section.degrade else ()
        return cls({scale: [(hr, degrade(downscale(hr, scale), steps)) for hr in hrs] for scale in scales})

    def bicubic(self) -> dict[int, float]:
        """Measure bicubic enlargement, which any network has to beat: mean PSNR in dB by scale."""
        return {
            scale: float(
                np.mean(
                    [measure(resize(lr, hr.shape[:2]), hr, scale, PROTOCOLS["standard"])["psnr"] for hr, lr in pairs]
                )
            )
            for scale, pairs in self.pairs.items()
        }

    def psnr(self, network: Network, device: torch.device, *, bf16: bool) -> dict[int, float]:
        """Measure a network in evaluation mode: mean PSNR in dB by scale."""
        network = network.to(device)
        channels_last(network)
        means = {}
        for scale, pairs in self.pairs.items():
            values = []
            for hr, lr in pairs:
                x = torch.from_numpy(lr).to(device).permute(2, 0, 1)[None].float() / 255
                with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    sr = network(x, scale)[0].permute(1, 2, 0).float().cpu().numpy()
                values.append(measure(sr, hr, scale, PROTOCOLS["standard"])["psnr"])
            means[scale] = float(np.mean(values))
        return means


def mean_psnr(entry: dict[str, Any]) -> float:
    """Return the mean over the scales of one validation, dB."""
    values = list(entry["psnr"].values())
    return float(sum(values) / len(values))


def _decoded(path: Path) -> NDArray[np.uint8]:
    pixels = decode(path, smallest_side=SMALLEST_SIDE)
    if isinstance(pixels, str):
        raise RecipeError(f"validation.folder: {pixels}")
    return pixels


def _centre(pixels: NDArray[np.uint8], side: int, multiple: int) -> NDArray[np.uint8]:
    if side:
        top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
        pixels = pixels[top : top + side, left : left + side]
    return np.ascontiguousarray(crop_to_multiple(pixels, multiple))
