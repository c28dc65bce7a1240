"""Channels that never fire, given kernels again: `python -m superfine.export.revive MODEL PACK -o OUT`.

A kernel in front of a ReLU can be driven so far down that no picture makes its channel positive. No gradient reaches
it from then on: it is lost for good, and no figure tells. ESRGCNN is prone to it, as the last convolution of a block
adds to the block's input through a ReLU and has no bias: the first hour of the released weights' training, with Adam,
put 36 to 52 of its 64 channels out in every block.

A dead channel gets the kernel whose answer foretells best, by least squares, what the loss asks of the channel (as in
Evci et al., "GradMax", 2022, but by the ridge regression of the gradient on what the convolution reads), open
to half of what it sees and quiet. What the network computes hardly changes; what is made of it is up to training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from superfine import checkpoints, weights
from superfine.errors import CheckpointError, DataError
from superfine.export.commands import exit_code
from superfine.nets import ESRGCNN, Network
from superfine.nets.layers import channels_last
from superfine.training.data import Batch, PatchSampler
from superfine.training.pack import Pack
from superfine.training.start import PAIRS

BATCH, PATCH = 8, 40
"""Patches of LR pixels the channels are looked at on, at each scale in turn."""
SEED = 77
LOUDNESS = 0.25
"""Spread of a channel given a kernel, as a share of the median spread of what its convolution reads."""
RIDGE = 1e-3
"""Share of the mean eigenvalue."""
AJAR = 1e-12
"""What a dead channel hands on while gradients are taken: nothing, but a ReLU lets its gradient pass."""
STRIDE = 3
"""Every so many positions count: neighbours are alike."""


@dataclass
class Gate:
    """A convolution whose outputs from `first` on go through a ReLU, and what was seen of it."""

    name: str
    conv: nn.Conv2d
    first: int
    dead: Tensor
    """(outputs,): never above zero so far."""
    products: Tensor
    """(taps, taps) float64: sum of products of what the kernel reads, over positions."""
    sums: Tensor
    """(taps,) float64."""
    positions: int = 0

    def watch(self, _: nn.Module, __: tuple[Tensor, ...], out: Tensor) -> None:
        self.dead &= (out <= 0).all(dim=3).all(dim=2).all(dim=0)

    def open(self, _: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        taps = F.unfold(inputs[0].detach(), 3, padding=1).transpose(0, 1).flatten(1)[:, ::STRIDE]
        self.products += (taps @ taps.t()).double()
        self.sums += taps.sum(dim=1).double()
        self.positions += taps.shape[1]
        return torch.where(self.dead.view(1, -1, 1, 1), out - out.detach() + AJAR, out)

    @torch.no_grad()
    def revive(self) -> None:
        """New kernels for the dead channels, from what was seen and the gradients their kernels hold."""
        if not self.dead.any():
            return
        assert self.conv.weight.grad is not None
        mean, products = self.sums / self.positions, self.products / self.positions
        ridge = RIDGE * products.trace() / len(products)
        asked = -self.conv.weight.grad[self.dead].flatten(1).double()
        kernels = torch.linalg.solve(products + ridge * torch.eye(len(products)), asked.t()).t()
        kernels -= (kernels @ mean)[:, None] * mean / (mean @ mean)  # open to half of what comes
        covariance = products - torch.outer(mean, mean)
        spread = ((kernels @ covariance) * kernels).sum(dim=1).clamp(min=0).sqrt()
        wanted = LOUDNESS * covariance.diagonal().clamp(min=0).sqrt().median()
        kernels *= (wanted / spread.clamp(min=1e-12))[:, None]
        self.conv.weight[self.dead] = kernels.float().view(-1, *self.conv.weight.shape[1:])


def revive(network: ESRGCNN, batches: Sequence[Batch]) -> dict[str, int]:
    """Give the dead channels of `network` (float32, on the CPU) new kernels, in place.

    Looked at are the last convolution of every block, but for the channels that carry the picture, and the channels the
    first one refines. Dead is what no pixel of `batches` makes positive. Returns how many there were, by layer.
    """
    gates = []
    for number, block in enumerate(network.blocks):
        for name, first in (("conv6", PAIRS), ("conv1", network.config.distilled)):
            conv = getattr(block, name)
            taps = conv.weight[0].numel()
            dead = torch.arange(conv.out_channels) >= first
            zeros = torch.zeros(taps, taps, dtype=torch.float64)
            gates.append(Gate(f"blocks.{number}.{name}", conv, first, dead, zeros, zeros[0].clone()))
    with torch.no_grad():
        _run(network, batches, [gate.conv.register_forward_hook(gate.watch) for gate in gates], lambda sr, hr: None)
    network.zero_grad()
    opened = [gate.conv.register_forward_hook(gate.open) for gate in gates]
    _run(network, batches, opened, lambda sr, hr: F.l1_loss(sr, hr).backward())  # type: ignore[no-untyped-call]
    for gate in gates:
        gate.revive()
    network.zero_grad()
    return {gate.name: int(gate.dead.sum()) for gate in gates}


def _run(
    network: Network,
    batches: Iterable[Batch],
    hooks: Sequence[RemovableHandle],
    then: Callable[[Tensor, Tensor], None],
) -> None:
    """Enlarge all patches, doing `then` with (sr, hr) of each batch, and take the hooks off."""
    try:
        for batch in batches:
            then(network(batch.lr.float() / 255, batch.scale), batch.hr.float() / 255)
    finally:
        for hook in hooks:
            hook.remove()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped model's name or a weights file, of ESRGCNN")
    parser.add_argument("pack", type=Path, help="training pictures: what superfine pack made")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=6, help="of 8 patches at each scale")
    options = parser.parse_args(arguments)

    def work() -> None:
        if options.batches < 1:
            raise DataError(f"--batches {options.batches}: nothing can be seen of no patches, give 1 or more")
        network = checkpoints.load(weights.find(options.model).weights)
        if not isinstance(network, ESRGCNN):
            raise CheckpointError(f"{options.model} is a {network.name}: only ESRGCNN is known to lose channels")
        channels_last(network)
        sampler = PatchSampler(Pack(options.pack), batch=BATCH, patch=PATCH, seed=SEED, device=torch.device("cpu"))
        steps = range(options.batches)
        batches = [sampler.draw(step, scale) for step in steps for scale in network.config.scales]
        for name, count in revive(network, batches).items():
            print(f"{name}: {count} dead")
        checkpoints.save(network, options.out, dtype=torch.float32, metadata={})

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
