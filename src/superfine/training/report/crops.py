"""Crops of validation pictures at their most detailed spot: bicubic, network and original."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from superfine.images.resize import resize
from superfine.nets import Network
from superfine.quality.protocols import PROTOCOLS, measure, quantise
from superfine.training.validation import ValidationSet

SIDE = 96
"""HR pixels a side of a crop."""

Pixels = NDArray[np.uint8]
STANDARD = PROTOCOLS["standard"]


@dataclass(frozen=True)
class DetailedCrop:
    """One validation picture at one scale (HWC uint8), and its most detailed spot."""

    number: int
    """Place of the picture in the validation set, from 0."""
    scale: int
    hr: Pixels
    lr: Pixels
    top: int
    left: int

    def cut(self, picture: Pixels) -> Pixels:
        """Cut the spot out of an HR-sized picture."""
        return np.ascontiguousarray(picture[self.top : self.top + SIDE, self.left : self.left + SIDE])

    def lr_crop(self) -> Pixels:
        """Cut the spot out of the LR picture, every pixel drawn `scale` times as wide and high."""
        large = self.lr.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        return self.cut(large)

    def bicubic(self) -> Pixels:
        """Upscale the LR picture by bicubic interpolation."""
        height, width = self.hr.shape[:2]
        return resize(self.lr, (height, width))

    def psnr(self, picture: Pixels) -> float:
        """Measure the whole picture, `standard` protocol, dB."""
        return measure(picture, self.hr, self.scale, STANDARD)["psnr"]

    def upscale(self, network: Network, device: torch.device) -> Pixels:
        """Upscale the LR picture by a network (on `device`, in evaluation mode)."""
        x = torch.from_numpy(self.lr.copy()).to(device).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            sr = network(x, self.scale)[0].permute(1, 2, 0).float().cpu().numpy()
        return quantise(sr, STANDARD)


def detailed_crops(validation: ValidationSet, count: int) -> list[DetailedCrop]:
    """Find the spots of the first `count` validation pictures at every scale, picture by picture."""
    found = []
    for number in range(count):
        for scale, pairs in validation.pairs.items():
            if number < len(pairs) and min(pairs[number][0].shape[:2]) >= SIDE:
                hr, lr = pairs[number]
                found.append(DetailedCrop(number, scale, hr, lr, *_most_detailed(hr)))
    return found


def _most_detailed(picture: Pixels) -> tuple[int, int]:
    """Find (top, left) of the window with the strongest gradients, on a grid of 12: whole LR pixels at every scale."""
    gray = picture.astype(np.float64).mean(axis=2)
    strength = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    total = np.pad(strength.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    tops = np.arange(0, picture.shape[0] - SIDE + 1, 12)[:, None]
    lefts = np.arange(0, picture.shape[1] - SIDE + 1, 12)[None, :]
    bottoms, rights = np.minimum(tops + SIDE, len(total) - 1), np.minimum(lefts + SIDE, total.shape[1] - 1)
    inside = total[bottoms, rights] - total[tops, rights] - total[bottoms, lefts] + total[tops, lefts]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(tops[row, 0]), int(lefts[0, column])
