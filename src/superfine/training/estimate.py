"""The time and memory a run would take, from a few timed steps at each scale; nothing of it stays on disk."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from superfine.training.data.pack import Pack
from superfine.training.loop import Run
from superfine.training.recipe import Recipe, Stage, ValidationSection
from superfine.upscaling.memory import peak_memory

WARM_UP, TIMED = 2, 4
"""Steps before the clock starts (threads, compilation), and steps timed, at each scale."""


@dataclass(frozen=True)
class RunEstimate:
    """The cost of training a recipe on this machine."""

    device: str
    precision: str
    parameters: int
    step_seconds: dict[tuple[int, int], float]
    """By stage (from 0) and scale."""
    mean_step: float
    """Seconds of a step, over the recipe's mixture of stages and scales."""
    steps: int
    seconds: float
    """Training time, without validation and saving."""
    lr_pixels: float
    """LR pixels drawn in the whole run."""
    memory: int
    """Bytes: of this process on a CPU, of the device on a GPU."""


def estimate(recipe: Recipe, pack: Pack, *, warm_up: int = WARM_UP, timed: int = TIMED) -> RunEstimate:
    """Time a few real steps of each of the recipe's stages at each of its scales. Raises what a run would."""
    times: dict[tuple[int, int], float] = {}
    quiet = recipe.model_copy(update={"validation": ValidationSection()})
    with tempfile.TemporaryDirectory() as folder:
        run = Run(quiet, pack, Path(folder), resume=False)
        run.state.network.train()
        for number, stage in enumerate(recipe.stages()):
            for scale, odds in zip(recipe.network.scales, stage.scale_odds, strict=True):
                if odds:
                    times[number, scale] = _seconds_per_step(run, stage, scale, warm_up, timed)
    begin, steps, seconds, pixels = 0.0, 0.0, 0.0, 0.0
    for number, stage in enumerate(recipe.stages()):
        mean = _mean(recipe, stage, {scale: took for (of, scale), took in times.items() if of == number})
        share = stage.until - begin
        here = share * (recipe.schedule.steps or (recipe.schedule.minutes or 0) * 60 / mean)
        steps, seconds = steps + here, seconds + here * mean
        pixels += here * stage.batch * stage.patch**2
        begin = stage.until
    return RunEstimate(
        device=run.device.type,
        precision="bf16" if run.bf16 else "fp32",
        parameters=sum(p.numel() for p in run.state.network.parameters()),
        step_seconds=times,
        mean_step=seconds / steps,
        steps=round(steps),
        seconds=seconds,
        lr_pixels=pixels,
        memory=_peak_memory(run.device),
    )


def _mean(recipe: Recipe, stage: Stage, times: dict[int, float]) -> float:
    odds: dict[int, float] = dict(zip(recipe.network.scales, stage.scale_odds, strict=True))
    return sum(odds[scale] * took for scale, took in times.items()) / sum(odds.values())


def _seconds_per_step(run: Run, stage: Stage, scale: int, warm_up: int, timed: int) -> float:
    for _ in range(warm_up):
        run.step(stage, scale, rate_share=1e-3)
    _finish(run.device)
    begin = time.perf_counter()
    for _ in range(timed):
        run.step(stage, scale, rate_share=1e-3)
    _finish(run.device)
    return (time.perf_counter() - begin) / timed


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_memory()
