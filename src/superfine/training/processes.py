"""The process that trains: its device, its memory, how it stops, and how several of them work together."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType, TracebackType

import torch
import torch.distributed as dist
from torch import Tensor

from superfine.errors import TrainingError
from superfine.nets.kernels import native_bf16

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of mallopt's options in <malloc.h>."""


def choose_device(name: str) -> torch.device:
    """Return the device of hardware.device; auto takes CUDA, then MPS, then the CPU.

    Raises TrainingError if it is absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present[name]:
        raise TrainingError(f'hardware.device = "{name}", but PyTorch sees no such device here: use "auto" or "cpu"')
    return torch.device(name)


def choose_bf16(precision: str, device: torch.device) -> bool:
    """Return True if convolutions run in bf16 (hardware.precision); auto takes it where the hardware has it."""
    return native_bf16(device) if precision == "auto" else precision == "bf16"


def keep_heap() -> bool:
    """Make malloc keep what is freed, for the rest of this process; return False where it cannot (glibc only).

    Left alone, glibc gives every large block back to the system as soon as it is freed, and the system hands it
    out again page by page, zeroed: every step pays for the same memory anew. On two Zen 5 cores that is 3 to 9 % of
    a step. The process then holds its peak to its end, so this is for programs that only train.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))


class Interrupts:
    """Delays a stop to the end of a step: the first Ctrl-C (or SIGTERM, as clusters send it) only sets `requested`.

    A second one acts at once. Half a step, with the optimizer moved and the counter not, could not be resumed to the
    bit. Signals that were
    ignored before stay ignored, and outside the main thread, where Python allows no handlers, nothing changes.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN and before is not None:
                    self._before[number] = before
                    signal.signal(number, self._request)
        return self

    def _request(self, number: int, _: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)


@dataclass
class Team:
    """The processes of one run, of which this is one; usually it is the only one.

    All processes take the same scale at a step, so the same parameters have gradients everywhere; those are
    averaged in one flat message. (DistributedDataParallel would have to search for the unused upsampler
    branches at every step.) Small decisions, the clock above all, travel on a CPU channel of their own, so
    that no process ever computes with another learning rate than its neighbours.
    """

    rank: int = 0
    world: int = 1
    control: dist.ProcessGroup | None = None

    @classmethod
    def join(cls, *, cuda: bool) -> Team:
        """Join the team that `torchrun` describes in the environment; without one, be alone."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            # Its functions take the group of that moment for their default, and would keep it to the end; compiling
            # imports it.
            import torch.distributed.nn.functional

            # Others wait while the first process validates and saves.
            dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=1))
            if cuda:
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        return cls(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))

    @property
    def first(self) -> bool:
        """True for the process that validates, saves and speaks."""
        return self.rank == 0

    def broadcast(self, *values: float) -> tuple[float, ...]:
        """Return the first process's numbers, on every process."""
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
        """Wait until every process is here."""
        if self.world > 1:
            dist.barrier(group=self.control)

    def leave(self) -> None:
        """End the connection, if there is one, and its threads.

        A group's threads end with the last reference to it. A thread that still frees a tensor while Python ends
        takes the whole process down.
        """
        self.control = None
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()
