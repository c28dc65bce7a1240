"""A soup of several checkpoints, its recipe learned: `python -m superfine.export.soup BASE OTHER... -p PACK -o OUT`.

Weights that were trained on from one another lie in one valley, and what differs between them is part progress, part
noise. `mix.py` takes the same share of every weight; here each output channel of each layer has a share of its own of
the way from the base to every other checkpoint, and training pictures decide it (a learned soup: Wortsman et al.,
"Model soups", 2022, appendix). Few as the shares are, what is learned of them is part noise too: kept is the middle
between where they began and what was learned.

The soup has the scales of the base. An other may have fewer; the branches it lacks it leaves alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from superfine import checkpoints, native, weights
from superfine.errors import CheckpointError, DataError
from superfine.export.commands import exit_code
from superfine.nets import Network, same_but_for_scales, winograd
from superfine.nets.layers import channels_last
from superfine.nets.precision import native_bf16
from superfine.training.data import PatchSampler
from superfine.training.pack import Pack
from superfine.training.recipe import ScheduleSection
from superfine.training.schedule import rate_share

BATCH, PATCH = 4, 48
"""Patches of LR pixels a step sees."""
SEED = 83
RATE = 0.02
"""Of Adam, highest: a share moves about so much a step at first."""
SMOOTHING = 0.98
"""Decay a step of the averaged shares, of which KEPT is kept."""
KEPT = 0.5
"""How far from the first shares to the learned ones the soup is."""

Shares = dict[str, Tensor]
"""Of every weight (others, out, 1 ...): how far on the way to each other checkpoint."""


class Soup:
    """`base` + Σ share · (other - base), each share one number an output channel, layer and other."""

    def __init__(self, base: Network, others: Sequence[Network], share: float) -> None:
        """share: of every other at first. Raises CheckpointError for an other that differs in more than its scales."""
        for other in others:
            common = set(other.config.scales) & set(base.config.scales)
            if not same_but_for_scales(other.config, base.config) or not common:
                raise CheckpointError(f"{other.config} cannot be mixed into {base.config}")
        self.network, self.first = base, share
        named = [dict(other.named_parameters()) for other in others]
        self.base = {name: weight.detach().clone() for name, weight in base.named_parameters()}
        self.ways = {
            name: torch.stack([each[name].detach() - weight if name in each else 0 * weight for each in named])
            for name, weight in self.base.items()
        }
        self.shares: Shares = {
            name: torch.full((len(others), len(weight), *[1] * (weight.dim() - 1)), share, requires_grad=True)
            for name, weight in self.base.items()
        }
        self.averaged = {name: shares.detach().clone() for name, shares in self.shares.items()}

    def weights(self, shares: Shares) -> dict[str, Tensor]:
        """The network's weights at these shares."""
        return {name: weight + (shares[name] * self.ways[name]).sum(0) for name, weight in self.base.items()}

    def loss(self, lr: Tensor, hr: Tensor, scale: int) -> Tensor:
        """L1 over uint8 patches (NCHW), in 0..1."""
        bf16 = native_bf16(torch.device("cpu"))
        functions = None if bf16 else native.winograd.load()[0]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), winograd.using(functions):
            sr = functional_call(self.network, self.weights(self.shares), (lr.float() / 255, scale))
        return F.l1_loss(sr, hr.float() / 255)

    def learn(self, sampler: PatchSampler, steps: int, progress: Callable[[int, float], None] | None = None) -> None:
        """Find the shares in so many steps, the rate along a cosine to nothing.

        progress: called with (steps done, mean loss so far) now and then.
        """
        optimizer = torch.optim.Adam(self.shares.values(), lr=RATE, betas=(0.9, 0.99))
        schedule = ScheduleSection(steps=steps, warmup=0)
        scales, total = self.network.config.scales, 0.0
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = RATE * rate_share(schedule, step, step / steps)
            batch = sampler.draw(step, scales[step % len(scales)])
            loss = self.loss(batch.lr, batch.hr, batch.scale)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            for name, shares in self.shares.items():
                self.averaged[name].lerp_(shares.detach(), 1 - min(SMOOTHING, step / (step + 1)))
            total += float(loss.detach())
            if progress and (step + 1) % 25 == 0:
                progress(step + 1, total / (step + 1))

    def kept(self) -> Shares:
        """What the soup is made by: `KEPT` of the way from the first shares to the learned ones."""
        return {name: self.first + KEPT * (shares - self.first) for name, shares in self.averaged.items()}

    @torch.no_grad()
    def finish(self) -> Network:
        """The network with the kept shares' weights."""
        finished = self.weights(self.kept())
        for name, weight in self.network.named_parameters():
            weight.copy_(finished[name])
        return self.network.eval()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="a shipped model's name or a weights file")
    parser.add_argument("others", nargs="+", help="the same, one or more")
    parser.add_argument("-p", "--pack", type=Path, required=True, help="training pictures: what superfine pack made")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500, help="each on one batch at one scale (default: 500)")
    parser.add_argument("--share", type=float, default=0.13, help="of every other at first (default: 0.13)")
    options = parser.parse_args(arguments)

    def progress(done: int, loss: float) -> None:
        print(f"\r{done} of {options.steps} steps, loss {loss:.5f}", end="", file=sys.stderr, flush=True)

    def work() -> None:
        if options.steps < 1:
            raise DataError(f"--steps {options.steps}: no step finds no share, give 1 or more")
        base, *others = (
            checkpoints.load(weights.find(name).weights).float() for name in (options.base, *options.others)
        )
        pack = Pack(options.pack)
        if missing := set(base.config.scales) - set(pack.scales):
            raise DataError(f"the pack {pack.path} has LR for {pack.scales}, {options.base} needs x{min(missing)} too")
        channels_last(base)
        soup = Soup(base, others, options.share)
        sampler = PatchSampler(pack, batch=BATCH, patch=PATCH, seed=SEED, device=torch.device("cpu"))
        soup.learn(sampler, options.steps, progress)
        checkpoints.save(soup.finish(), options.out, dtype=torch.float32, metadata={})
        means = torch.cat([shares.flatten(1) for shares in soup.kept().values()], 1).mean(1)
        print(
            f"\nwrote {options.out}: "
            + ", ".join(f"{m:.2f} of {n}" for m, n in zip(means, options.others, strict=True))
        )

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
