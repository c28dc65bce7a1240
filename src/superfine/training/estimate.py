"""What a run would cost, from a few timed steps at each scale: nothing of it stays on disk."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from superfine.training.loop import Progress, Run
from superfine.training.pack import Pack
from superfine.training.recipe import Recipe, ValidationSection

WARM_UP, TIMED = 2, 4
"""Steps before the clock starts (threads, compilation), and steps timed, at each scale."""


@dataclass(frozen=True)
class Estimate:
    """What training a recipe would take on this machine."""

    device: str
    precision: str
    parameters: int
    step_seconds: dict[int, float]
    """By scale."""
    mean_step: float
    """Seconds, over the recipe's mixture of scales."""
    steps: int
    seconds: float
    """Training time, without validation and saving."""
    lr_pixels: float
    """LR pixels drawn in the whole run."""
    memory: int
    """Bytes: of this process on a CPU, of the device on a GPU."""


class _Enough(Exception):
    pass


def estimate(recipe: Recipe, pack: Pack, *, warm_up: int = WARM_UP, timed: int = TIMED) -> Estimate:
    """Times a few real steps of the recipe at each scale. Raises what a run would."""
    times: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for scale in recipe.network.scales:
            run = Run(_only(recipe, scale), pack, Path(folder) / f"x{scale}", resume=False)
            times[scale] = _seconds_a_step(run, warm_up, timed)
    odds = recipe.odds()
    mean = sum(share * times[scale] for share, scale in zip(odds, times, strict=True)) / sum(odds)
    steps = recipe.schedule.steps or round((recipe.schedule.minutes or 0) * 60 / mean)
    return Estimate(
        device=run.device.type,
        precision="bf16" if run.bf16 else "fp32",
        parameters=sum(p.numel() for p in run.state.network.parameters()),
        step_seconds=times,
        mean_step=mean,
        steps=steps,
        seconds=steps * mean,
        lr_pixels=float(steps) * recipe.data.batch * recipe.data.patch**2,
        memory=_peak_memory(run.device),
    )


def _only(recipe: Recipe, scale: int) -> Recipe:
    """The recipe without validation, and with (almost) nothing but one scale: odds of nothing are not allowed."""
    odds = tuple(1.0 if each == scale else 1e-12 for each in recipe.network.scales)
    data = recipe.data.model_copy(update={"scale_odds": odds})
    return recipe.model_copy(update={"data": data, "validation": ValidationSection()})


def _seconds_a_step(run: Run, warm_up: int, timed: int) -> float:
    marks: list[float] = []

    def watch(now: Progress) -> None:
        if now.step in (warm_up, warm_up + timed):
            if run.device.type == "cuda":
                torch.cuda.synchronize()
            marks.append(time.perf_counter())
        if len(marks) == 2:
            raise _Enough

    try:
        run.train(watch)
    except _Enough:
        return (marks[1] - marks[0]) / timed
    return run.state.seconds / max(1, run.state.step)  # the whole run is shorter than the trial


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
