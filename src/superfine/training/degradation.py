"""Spoil LR patches as real pictures are: another downscale, blur, noise, JPEG; on the device, by seed and step.

What happens to each patch is one row of numbers, drawn on the CPU. The device's work is the same for every row (what
a row leaves out is computed and not taken), so that it can be recorded as part of a step. Grain comes from a hash of
the row's number and the pixel's place, and is the same on every device.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from superfine.images.resize import taps
from superfine.training.data.sampler import PatchBatch
from superfine.training.jpeg import UNIT, Jpeg
from superfine.training.recipe import DegradationSection
from superfine.training.recipe.degradation import MARGIN

COLUMNS = (
    *("kernel", "blur", "sigma_a", "sigma_b", "angle", "shake", "noise", "sigma", "poisson", "gray", "grain"),
    *("jpeg", "quality", "subsampling", "top", "left"),
    *("jpeg2", "quality2", "subsampling2", "top2", "left2"),
    *("first", "second", "third"),
)
"""The numbers of a row. kernel: from 1, 0 for the LR as it is. blur, noise, gray, jpeg: 0 or 1. first: of PROCESSES."""

PROCESSES = ("blur", "noise", "jpeg")
ORDERS = np.array(list(itertools.permutations(range(3))))
SHARPEST = 0.05
"""Sigma in pixels below which a sampled Gaussian is no blur at all."""
PATH = 9
"""Points on the path of a camera shake."""


class Degrader:
    """Spoils batches as a recipe's [degradation] says."""

    def __init__(self, section: DegradationSection, *, seed: int, device: torch.device) -> None:
        self.section, self.seed, self.device = section, seed, device
        self._codec = Jpeg(device)
        self._kernels: dict[tuple[int, int], Tensor] = {}

    def draw(self, step: int, batch: int, *, rank: int = 0, world: int = 1) -> Tensor:
        """Draw what happens to the patches of one step: float32 (batch, COLUMNS), on the CPU.

        `world` processes draw `batch` rows each, together the rows of one batch `world` times as large.
        """
        n, s = batch * world, self.section
        rng = np.random.default_rng((self.seed, step, 1 << 21))

        def chance(share: float) -> NDArray[np.bool_]:
            return rng.random(n) < share

        row: dict[str, NDArray[np.generic]] = {}
        row["kernel"] = chance(s.downscale) * (1 + rng.integers(0, len(s.kernels), n))
        row["blur"], row["sigma_a"] = chance(s.blur), rng.uniform(*s.blur_sigma, n)
        row["sigma_b"] = np.where(chance(s.anisotropic), rng.uniform(*s.blur_sigma, n), row["sigma_a"])
        row["angle"], row["shake"] = rng.uniform(0, math.pi, n), rng.uniform(0, s.shake, n)
        row["noise"], row["sigma"] = chance(s.noise), rng.uniform(0, s.noise_sigma, n)
        row["poisson"], row["gray"] = rng.uniform(0, s.poisson, n), chance(s.gray)
        row["grain"] = rng.integers(0, 1 << 24, n)
        for which, share in (("", s.jpeg), ("2", s.jpeg_twice)):
            row["jpeg" + which] = chance(share)
            low, most, high = s.jpeg_quality
            row["quality" + which] = np.rint(rng.triangular(low, most, high, n) if low < high else np.full(n, low))
            odds = np.array(s.subsampling) / sum(s.subsampling)
            row["subsampling" + which] = rng.choice(3, n, p=odds)
            row["top" + which], row["left" + which] = rng.integers(0, UNIT, n), rng.integers(0, UNIT, n)
        usual = [PROCESSES.index(name) for name in s.order]
        order = np.where(chance(s.random_order)[:, None], ORDERS[rng.integers(0, len(ORDERS), n)], usual)
        row |= {name: order[:, k] for k, name in enumerate(("first", "second", "third"))}
        table = np.stack([row[name] for name in COLUMNS], 1)
        return torch.from_numpy(table[rank * batch : (rank + 1) * batch].astype(np.float32))

    def __call__(self, batch: PatchBatch, rows: Tensor) -> PatchBatch:
        """Spoil the LR of a batch with margins; return the batch without them. rows: of `draw`, on the device."""
        of = dict(zip(COLUMNS, rows.T, strict=True))
        inner = (batch.hr.shape[-1] // batch.scale - (batch.lr.shape[-1] - 2 * MARGIN)) // 2
        lr = batch.lr.float()
        if self.section.downscale:
            lr = _chosen(of["kernel"] > 0, self._downscale(batch.hr.float(), batch.scale, of["kernel"]), lr)
        for which, place in enumerate(("first", "second", "third")):
            for number, process in enumerate(PROCESSES):
                if getattr(self.section, process) and (
                    self.section.random_order or self.section.order[which] == process
                ):
                    here = (of[place] == number) & (of[process] > 0)
                    lr = _chosen(here, getattr(self, "_" + process)(lr, of), lr)
        return replace(batch, lr=_without(lr, MARGIN).to(torch.uint8), hr=_without(batch.hr, inner * batch.scale))

    def _downscale(self, hr: Tensor, scale: int, kernel: Tensor) -> Tensor:
        """Make LR of (n, 3, h, h) by each patch's own kernel; `kernel` counts from 1."""
        side = hr.shape[-1]
        if (side, scale) not in self._kernels:
            made = np.stack([_matrix(name, side, scale) for name in self.section.kernels])
            self._kernels[side, scale] = torch.from_numpy(made).float().to(self.device)
        chosen = self._kernels[side, scale][(kernel.long() - 1).clamp(min=0)].unsqueeze(1)  # (n, 1, h / scale, h)
        return _levels(chosen @ hr @ chosen.mT)

    def _blur(self, x: Tensor, of: dict[str, Tensor]) -> Tensor:
        """Convolve each patch with a Gaussian of two axes, moved along a short straight path."""
        radius = math.ceil(3 * self.section.blur_sigma[1] + self.section.shake / 2)
        line = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float32)
        cos, sin = (f(of["angle"]).view(-1, 1, 1) for f in (torch.cos, torch.sin))
        along, across = cos * line + sin * line.view(-1, 1), cos * line.view(-1, 1) - sin * line  # (n, k, k)
        a, b = (of[name].clamp(min=SHARPEST).view(-1, 1, 1) for name in ("sigma_a", "sigma_b"))
        kernel = torch.zeros_like(along)
        for step in np.linspace(-0.5, 0.5, PATH if self.section.shake else 1):
            moved = along - float(step if self.section.shake else 0) * of["shake"].view(-1, 1, 1)
            kernel = kernel + torch.exp(-((moved / a) ** 2 + (across / b) ** 2) / 2)
        kernel = kernel / kernel.sum((1, 2), keepdim=True).clamp(min=1e-9)
        n, c, h, w = x.shape
        flat = F.pad(x, (radius,) * 4, mode="replicate").reshape(1, n * c, h + 2 * radius, w + 2 * radius)
        return _levels(F.conv2d(flat, kernel.repeat_interleave(c, 0).unsqueeze(1), groups=n * c).reshape(x.shape))

    def _noise(self, x: Tensor, of: dict[str, Tensor]) -> Tensor:
        """Add noise of the sensor (Gaussian) and of light (Gaussian too, its square in proportion to the light)."""
        shape = (-1, 1, 1, 1)
        grain = _grain(of["grain"], x.shape[1:])
        grain = torch.where(of["gray"].view(shape) > 0, grain[:, :1], grain)
        variance = of["sigma"].view(shape) ** 2 + of["poisson"].view(shape) ** 2 * x / 255
        return _levels(x + variance.sqrt() * grain)

    def _jpeg(self, x: Tensor, of: dict[str, Tensor]) -> Tensor:
        """Save as JPEG, some a second time."""
        once = self._saved(x, of, "")
        return _chosen(of["jpeg2"] > 0, self._saved(once, of, "2"), once) if self.section.jpeg_twice else once

    def _saved(self, x: Tensor, of: dict[str, Tensor], which: str) -> Tensor:
        """Save as JPEG with the first block `top` and `left` pixels outside the patch; borders are repeated."""
        n, _, side, _ = x.shape
        line = torch.arange((side + 2 * UNIT - 2) // UNIT * UNIT, device=x.device)
        across = torch.arange(n, device=x.device).view(-1, 1, 1)
        top, left = (of[name + which].long().view(-1, 1) for name in ("top", "left"))
        rows, columns = ((line - offset).clamp(0, side - 1) for offset in (top, left))
        moved = x.permute(0, 2, 3, 1)[across, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
        saved = self._codec(moved, of["quality" + which], of["subsampling" + which])
        rows, columns = (torch.arange(side, device=x.device) + offset for offset in (top, left))
        return saved.permute(0, 2, 3, 1)[across, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def _chosen(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(mask.view(-1, 1, 1, 1), yes, no)


def _levels(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255)


def _without(x: Tensor, margin: int) -> Tensor:
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]


def _matrix(name: str, inputs: int, scale: int) -> NDArray[np.float64]:
    """Write a downscale of one axis as a matrix (inputs / scale, inputs)."""
    outputs = inputs // scale
    if name == "area":
        return np.kron(np.eye(outputs), np.full((1, scale), 1 / scale))
    kernel, _, aliased = name.partition("-")
    index, weight = taps(inputs, outputs, 1 / scale, kernel, antialias=not aliased)
    matrix = np.zeros((outputs, inputs))
    np.add.at(matrix, (np.arange(outputs)[:, None], index), weight)
    return matrix


def _grain(numbers: Tensor, shape: torch.Size) -> Tensor:
    """Make standard normal noise, (n, *shape), out of one whole number a patch."""
    count = math.prod(shape)
    places = torch.arange(2 * count, device=numbers.device)
    bits = _hash(_hash(numbers.long().view(-1, 1) + 1) ^ places)
    uniform = ((bits >> 8).float() + 0.5) / (1 << 24)
    radius = torch.sqrt(-2 * torch.log(uniform[:, :count]))
    return (radius * torch.cos(2 * math.pi * uniform[:, count:])).view(-1, *shape)


def _hash(x: Tensor) -> Tensor:
    """Mix the 32 bits of whole numbers held as int64 (Wellons' "lowbias32")."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return x ^ (x >> 16)
