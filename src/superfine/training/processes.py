"""Several processes training one network, started by `torchrun`: who we are, and how we agree.

All processes take the same scale at a step, so the same parameters have gradients everywhere; those are
averaged in one flat message. (DistributedDataParallel would have to search for the unused upsampler
branches at every step.) Small decisions, the clock above all, travel on a CPU channel of their own, so
that no process ever computes with another learning rate than its neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Team:
    """The processes of one run; `Team.alone()` for the usual single one."""

    rank: int
    world: int
    control: dist.ProcessGroup | None = None

    @classmethod
    def alone(cls) -> Team:
        return cls(0, 1)

    @classmethod
    def join(cls, *, cuda: bool) -> Team:
        """The team `torchrun` describes in the environment, or `alone`."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls.alone()
        if not dist.is_initialized():
            # Others wait while the first process validates and saves.
            dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=1))
            if cuda:
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        return cls(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))

    @property
    def first(self) -> bool:
        """Whether this process validates, saves and speaks."""
        return self.rank == 0

    def agree(self, *values: float) -> tuple[float, ...]:
        """The first process's numbers, on every process."""
        if self.world == 1:
            return values
        message = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(message, 0, group=self.control)
        return tuple(message.tolist())

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier(group=self.control)

    def leave(self) -> None:
        """End the connection, if there is one."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()
