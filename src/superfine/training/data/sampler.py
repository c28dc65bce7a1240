"""Random training patches out of a pack, the same ones on every device and after every resume.

A batch is a pure function of (seed, step): which pictures, where, and which of the eight flips and
quarter turns. So nothing about the data needs saving, and a resumed run sees what a run never stopped
would have seen. The samples are gathered by index arithmetic from one flat tensor, which may live on
the CPU (memory-mapped) or wholly on the GPU.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from superfine.errors import DataError
from superfine.training.data.pack import Pack


@dataclass(frozen=True)
class PatchBatch:
    """Patches: lr (n, 3, p, p) and hr (n, 3, p·scale, p·scale), uint8, channels_last in memory.

    Out of a sampler with margins, p is larger by twice the margin, for LR and HR each.
    """

    scale: int
    lr: Tensor
    hr: Tensor


class PatchSampler:
    """Draws batches of `batch` patches of `patch` x `patch` LR pixels from `pack`, onto `device`."""

    def __init__(
        self,
        pack: Pack,
        *,
        batch: int,
        patch: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        margins: tuple[int, int] = (0, 0),
        flat: Tensor | None = None,
    ) -> None:
        """List where the pictures lie that are large enough.

        margins: LR pixels cut on every side around the LR patch, and (as many or fewer) around the HR patch.
        flat: the pack's samples on `device`, if they are there already. `world` processes that train together draw
            `batch` each: together the one batch `world` times as large.
        Raises DataError if no picture is large enough for the patch at every scale.
        """
        self.pack, self.batch, self.patch, self.seed, self.device = pack, batch, patch, seed, device
        self.rank, self.world, self.margins = rank, world, margins
        self.flat = samples_on(device, pack) if flat is None else flat
        self._tables: dict[int, NDArray[np.int64]] = {}
        self._odds: dict[int, NDArray[np.float64]] = {}
        side = patch + 2 * margins[0]
        for scale in pack.scales:
            large = [p for p in pack if min(p.lr[scale].height, p.lr[scale].width) >= side]
            if not large:
                raise DataError(f"no picture is {side * scale} pixels a side: patch = {patch} at x{scale} needs one")
            self._tables[scale] = np.array(
                [[p.hr.offset, p.hr.width, p.lr[scale].offset, p.lr[scale].height, p.lr[scale].width] for p in large]
            )
            area = self._tables[scale][:, 3] * self._tables[scale][:, 4]
            self._odds[scale] = np.cumsum(area / area.sum())

    def draw(self, step: int, scale: int) -> PatchBatch:
        """Draw the batch of one step. Raises DataError if the pack has been cut short since it was opened."""
        return self.cut(self.places(step, scale).to(self.device, non_blocking=True), scale)

    def places(self, step: int, scale: int) -> Tensor:
        """Draw where the patches of one step lie: int64 (2, 3, batch), on the CPU.

        For LR and HR each: the first sample, the samples in a row of the picture, and how the patch is turned (bits).
        Raises DataError if the pack has been cut short since it was opened.
        """
        if self.flat.device.type == "cpu":
            self.pack.check_alive()
        rng = np.random.default_rng((self.seed, step))
        table, everyone = self._tables[scale], self.batch * self.world
        mine = slice(self.rank * self.batch, (self.rank + 1) * self.batch)
        chosen = table[np.minimum(np.searchsorted(self._odds[scale], rng.random(everyone)), len(table) - 1)]
        outer, inner = self.margins
        top = rng.integers(0, chosen[:, 3] - self.patch - 2 * outer + 1)[mine]
        left = rng.integers(0, chosen[:, 4] - self.patch - 2 * outer + 1)[mine]
        turns = rng.integers(0, 8, everyone)[mine]
        hr_offset, hr_width, lr_offset, _, lr_width = chosen[mine].T
        lr = [lr_offset + (top * lr_width + left) * 3, lr_width * 3, turns]
        top, left = top + outer - inner, left + outer - inner
        hr = [hr_offset + (top * hr_width + left) * 3 * scale, hr_width * 3, turns]
        return torch.from_numpy(np.array([lr, hr]))

    def cut(self, places: Tensor, scale: int) -> PatchBatch:
        """Cut the patches at `places`, which must be on the sampler's device."""
        outer, inner = (self.patch + 2 * margin for margin in self.margins)
        return PatchBatch(scale, self._gather(places[0], outer), self._gather(places[1], inner * scale))

    def _gather(self, places: Tensor, side: int) -> Tensor:
        """Cut squares of `side` out of the flat samples, flipped and transposed as the bits of `turns` say."""
        start, row, bits = (places[k].view(-1, 1, 1) for k in range(3))
        line = torch.arange(side, device=self.device)
        i, j = line.view(1, -1, 1), line.view(1, 1, -1)
        i, j = torch.where(bits & 4 != 0, j, i), torch.where(bits & 4 != 0, i, j)
        i = torch.where(bits & 1 != 0, side - 1 - i, i)
        j = torch.where(bits & 2 != 0, side - 1 - j, j)
        index = (start + i * row + j * 3).unsqueeze(-1) + torch.arange(3, device=self.device)
        return self.flat[index].permute(0, 3, 1, 2)


class Samplers:
    """The samplers of one pack on one device, one for each size of patch and batch that the stages of a run have."""

    def __init__(
        self, pack: Pack, *, seed: int, device: torch.device, rank: int, world: int, margins: tuple[int, int] = (0, 0)
    ) -> None:
        self.device = device
        self._common: dict[str, Any] = {
            "pack": pack,
            "seed": seed,
            "device": device,
            "rank": rank,
            "world": world,
            "margins": margins,
            "flat": samples_on(device, pack),
        }
        self._samplers: dict[tuple[int, int], PatchSampler] = {}

    def of_size(self, patch: int, batch: int) -> PatchSampler:
        """Return the sampler of `batch` patches of `patch` x `patch` LR pixels.

        Raises DataError if no picture is so large.
        """
        if (patch, batch) not in self._samplers:
            self._samplers[patch, batch] = PatchSampler(patch=patch, batch=batch, **self._common)
        return self._samplers[patch, batch]


def samples_on(device: torch.device, pack: Pack) -> Tensor:
    """Return the pack's samples, flat uint8: memory-mapped on the CPU, whole in a GPU's own memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a read-only map is what we want
        flat = torch.from_numpy(pack.data)
    return flat.to(device) if device.type != "cpu" else flat


def scale_of_step(seed: int, step: int, scales: tuple[int, ...], odds: tuple[float, ...]) -> int:
    """Draw the scale trained at a step: a pure function too, so that every process agrees."""
    rng = np.random.default_rng((seed, step, 1 << 20))
    return int(rng.choice(scales, p=np.array(odds) / sum(odds)))
