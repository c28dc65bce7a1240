"""The training loop.

clock ─▶ rate, stage, scale ─▶ step (patches ─▶ network ─▶ loss ─▶ optimizer ─▶ average) ─▶ watch ─▶ validate ─▶ save
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from superfine.errors import TrainingError
from superfine.nets import Network, build, same_but_for_scales, with_scales
from superfine.nets.layers import channels_last
from superfine.nets.start import start_as_interpolator, start_at_random
from superfine.training.data.pack import Pack
from superfine.training.data.sampler import Samplers, scale_of_step
from superfine.training.losses import LossWatch
from superfine.training.optimizer import Optimizer
from superfine.training.processes import Interrupts, Team, choose_bf16, choose_device
from superfine.training.recipe import Recipe
from superfine.training.schedule import Deadline, progress, rate_share
from superfine.training.state import TrainingState
from superfine.training.step import TrainingStep
from superfine.training.validation import ValidationSet, mean_psnr
from superfine.weights import network_file

CHECK_STEPS, CHECK_SECONDS = 25, 1.0
"""The loss is read after so many steps or seconds, whichever comes first: the host then waits for the device."""

LOWEST_FACTOR = 1 / 64
"""A run whose rate had to be halved more often than this is given up."""

SPARE = 5.0
"""Seconds before a deadline that are left to what nobody timed: the log and the report."""


@dataclass(frozen=True)
class StepReport:
    """The state of a run after a step."""

    step: int
    done: float
    """Share of the run, 0..1."""
    seconds: float
    """Training time, over all resumes."""
    scale: int
    rate: float
    loss: float
    """Mean over the scales of their running means, when the loss was last read."""
    batch: int
    """Patches in the step, on all devices."""


class Watcher:
    """Sees what a run does. Every method does nothing unless a subclass overrides it."""

    def preparing(self, what: str, done: int = 0, total: int = 0) -> None:
        """See what is being made ready ("packing pictures"), and how much of it is done if that can be counted."""

    def note(self, text: str) -> None:
        """See a line that people should read."""

    def step(self, report: StepReport) -> None:
        """See a step that has been made."""

    def validated(self, entry: dict[str, Any]) -> None:
        """See a new entry of the history: step, seconds, loss (or None), psnr (dB by scale)."""


class Run:
    """One training run in one folder: `state.pt` (to go on from), `best.safetensors` and `last.safetensors`."""

    def __init__(self, recipe: Recipe, pack: Pack, folder: Path, *, resume: bool, team: Team | None = None) -> None:
        """Get everything ready to train.

        team: the processes of the run; None joins them.
        Raises TrainingError if the folder holds a run and `resume` is false, or one of another recipe.
        """
        self.recipe, self.folder, self.state_path = recipe, folder, folder / "state.pt"
        self.device = choose_device(recipe.hardware.device)
        if recipe.hardware.threads:
            torch.set_num_threads(recipe.hardware.threads)
        self.bf16 = choose_bf16(recipe.hardware.precision, self.device)
        if missing := set(recipe.network.scales) - set(pack.scales):
            raise TrainingError(f"the pack {pack.path} has LR for {pack.scales}, the recipe trains x{min(missing)} too")
        self.team = team = team or Team.join(cuda=self.device.type == "cuda")
        margins = recipe.degradation.margins
        samplers = Samplers(
            pack, seed=recipe.seed, device=self.device, rank=team.rank, world=team.world, margins=margins
        )
        for stage in recipe.stages():  # a patch no picture is large enough for is found out now
            samplers.of_size(stage.patch, stage.batch)
        self.state = self._fresh_state(pack)
        holds_a_run = self.state_path.exists()
        team.wait()  # all have looked before the first process saves
        if holds_a_run:
            if not resume:
                raise TrainingError(f"{folder} already holds a run: add --resume, or name another folder")
            self.state.restore(self.state_path)
        self._check_agreement(pack)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"cannot make the run's folder {folder}: {error.strerror}") from error
        self.validation = ValidationSet.read(recipe.validation, recipe.network.scales) if self.team.first else None
        self.step = TrainingStep(recipe, self.state, samplers, self.team, bf16=self.bf16)

    def _check_agreement(self, pack: Pack) -> None:
        """Raise TrainingError if this process has another state or other pictures than the first one."""
        mine = float(self.state.step), float(int(pack.identity, 16) >> 16)
        first = self.team.broadcast(*mine)
        if first[0] != mine[0]:
            raise TrainingError(
                f"{self.folder} is at step {mine[0]:.0f} here and at step {first[0]:.0f} on the first machine: let all "
                "machines share the run's folder, or copy its state.pt to each"
            )
        if first[1] != mine[1]:
            raise TrainingError(f"{pack.path} holds other pictures than the first machine's pack: copy that one here")

    def _fresh_state(self, pack: Pack) -> TrainingState:
        network = starting_network(self.recipe).to(self.device)
        channels_last(network)
        optimizer = Optimizer(network, self.recipe.optimizer)
        ema = {name: p.detach().clone() for name, p in network.named_parameters()}
        identity = {**self.recipe.decisive(), "pack": pack.identity, "processes": self.team.world}
        return TrainingState(network, optimizer, ema, identity)

    def train(self, watcher: Watcher | None = None, *, end: float | None = None) -> None:
        """Train to the end of the schedule. Ctrl-C finishes the step, saves the run and raises KeyboardInterrupt.

        end: when to be through with everything (seconds of time.perf_counter): what is left of the schedule is
            spread over the time left.
        Raises TrainingError if the loss keeps exploding, the run cannot be saved, the device's memory is too small or
        `end` too near, DataError if the pack dies.
        """
        recipe, state, health, watcher = self.recipe, self.state, LossWatch(), watcher or Watcher()
        state.network.train()
        watcher.preparing("getting ready" + (", compiling" if self.step.program.compiled else ""))
        if note := self.step.prepare():
            watcher.note(note)
        deadline = self._begin(end, watcher)
        stage = recipe.stage_at(progress(recipe.schedule, state.step, state.seconds))
        clock = time.perf_counter() - state.seconds
        saved = validated = state.seconds
        checked = -math.inf
        with Interrupts() as interrupts:
            while True:
                state.seconds = time.perf_counter() - clock
                if deadline:
                    done = deadline.progress(time.perf_counter())
                else:
                    done = progress(recipe.schedule, state.step, state.seconds)
                state.seconds, done, stop = self.team.broadcast(state.seconds, done, float(interrupts.requested))
                if done >= 1 or stop:
                    break
                if recipe.stage_at(done) != stage:
                    stage, health = recipe.stage_at(done), LossWatch()  # another loss, another size
                    checked = -math.inf
                    watcher.note(f"stage: {stage.batch} patches of {stage.patch}x{stage.patch}, {stage.loss}")
                share = state.rate_factor * rate_share(recipe.schedule, state.step, done)
                scale = scale_of_step(recipe.seed, state.step, recipe.network.scales, stage.scale_odds)
                health.add(self.step(stage, scale, share), scale)
                if state.step % CHECK_STEPS == 0 or state.seconds - checked >= CHECK_SECONDS:
                    checked = state.seconds
                    if not self._agree_sane(health):
                        watcher.note(self._step_back())
                        health, clock = LossWatch(), time.perf_counter() - state.seconds
                        saved, checked = min(saved, state.seconds), -math.inf
                        continue
                batch, rate = stage.batch * self.team.world, recipe.optimizer.rate * share
                assert health.mean is not None
                watcher.step(StepReport(state.step, done, state.seconds, scale, rate, health.mean, batch))
                pause = time.perf_counter()
                due = state.seconds - saved >= recipe.hardware.save_every
                if self.team.broadcast(float(due and health.is_sane()))[0]:
                    self._save()
                    saved = state.seconds
                if self.validation and state.seconds - validated > recipe.validation.every * 60:
                    self._validate(health.mean, watcher)
                    validated = state.seconds
                clock += time.perf_counter() - pause
        if self.validation and not stop and (not state.history or state.history[-1]["step"] != state.step):
            self._validate(health.mean, watcher)
        self._save()
        if self.team.first:
            self._write_weights(self.folder / "last.safetensors")
        if stop:
            raise KeyboardInterrupt

    def _begin(self, end: float | None, watcher: Watcher) -> Deadline | None:
        """Make the first validation and save, if this run has had none; with an `end`, time both for what comes last.

        Raises TrainingError if no time is left to train.
        """
        state, begin = self.state, time.perf_counter()
        if self.validation and not state.history:
            watcher.preparing("validating the start")
            self._validate(None, watcher)
        elif self.validation and end is not None:
            self.validation.psnr(self.averaged(), self.device, bf16=False)
        # The first process decides: a later one may look when the first has saved already, and would not wait for it.
        if self.team.broadcast(float(end is not None or not self.state_path.exists()))[0]:
            self._save()
        if end is None:
            return None
        now = time.perf_counter()
        last = end - 2 * (now - begin) - SPARE  # one validation may still be under way then
        if self.team.broadcast(last - now)[0] <= 0:
            raise TrainingError(
                "getting ready has used up the time there was: give more, or fewer validation pictures and stages"
            )
        return Deadline(now, last, progress(self.recipe.schedule, state.step, state.seconds))

    def _agree_sane(self, health: LossWatch) -> bool:
        """Return True if the first process finds the loss sane; every process goes by its word."""
        return bool(self.team.broadcast(float(health.is_sane()))[0])

    def _step_back(self) -> str:
        """Return to the last saved state with half the rate; say so. Raises TrainingError when that has not helped."""
        step, factor = self.state.step, self.state.rate_factor / 2
        if factor < LOWEST_FACTOR:
            raise TrainingError(f"the loss exploded again at step {step}: lower optimizer.rate in the recipe")
        self.state.restore(self.state_path)
        self.team.wait()  # all have read it before it is replaced
        self.state.rate_factor = factor
        self._save()  # so that a kill now does not forget the lower rate
        return f"the loss exploded at step {step}: back to step {self.state.step}, learning rate times {factor:g}"

    def _save(self) -> None:
        if self.team.first:
            self.state.save(self.state_path, split_mib=self.recipe.hardware.split)
        self.team.wait()

    def averaged(self) -> Network:
        """Return a copy of the network with the averaged weights, float32 on the CPU."""
        network = build(self.recipe.network.config())
        weights = self.state.ema if self.recipe.optimizer.ema else dict(self.state.network.named_parameters())
        network.load_state_dict({name: value.detach().cpu() for name, value in weights.items()}, strict=False)
        return network.eval()

    def _validate(self, loss: float | None, watcher: Watcher) -> None:
        assert self.validation is not None
        psnr = self.validation.psnr(self.averaged(), self.device, bf16=False)
        state = self.state
        entry = {"step": state.step, "seconds": round(state.seconds, 1), "loss": loss, "psnr": psnr}
        best = max((mean_psnr(e) for e in state.history), default=-math.inf)
        state.history.append(entry)
        if mean_psnr(entry) > best:
            self._write_weights(self.folder / "best.safetensors")
        watcher.validated(entry)

    def _write_weights(self, path: Path) -> None:
        """Write the averaged weights as a float32 network file."""
        about = {"recipe": self.recipe.name, "step": str(self.state.step), "seconds": f"{self.state.seconds:.0f}"}
        network_file.save(self.averaged(), path, dtype=torch.float32, metadata=about)


def starting_network(recipe: Recipe) -> Network:
    """Make the network that the recipe's [start] names. Raises TrainingError if a checkpoint does not fit."""
    config = recipe.network.config()
    if recipe.start.kind == "checkpoint":
        from superfine import weights

        assert recipe.start.checkpoint is not None
        network = network_file.load(weights.find(recipe.start.checkpoint).weights)
        if not set(config.scales) <= set(network.config.scales) or not same_but_for_scales(network.config, config):
            raise TrainingError(f"start.checkpoint holds {network.config}, the recipe wants {config}")
        return with_scales(network, config.scales).train()
    network = build(config)
    start = start_as_interpolator if recipe.start.kind == "interpolator" else start_at_random
    start(network, seed=recipe.seed)
    return network
