"""The training loop, top to bottom.

recipe ─ pack ─ sampler.draw(step) ─▶ patches ─ network ─▶ loss ─▶ optimizer ─▶ EMA ─▶ validate ─▶ save
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superfine.errors import TrainingError
from superfine.nets import Network, build, same_but_for_scales, with_scales
from superfine.nets.kernels import native_bf16
from superfine.nets.layers import channels_last
from superfine.training import init
from superfine.training.data.pack import Pack
from superfine.training.data.sampler import Batch, Samples, scale_of_step
from superfine.training.health import LossWatch
from superfine.training.interrupt import Interrupts
from superfine.training.losses import LOSSES
from superfine.training.optimizer import Optimizer
from superfine.training.processes import Team
from superfine.training.program import Program
from superfine.training.recipe import Recipe, Stage
from superfine.training.recorded import RecordedSteps
from superfine.training.schedule import Deadline, progress, rate_share
from superfine.training.state import TrainingState
from superfine.training.validation import ValidationSet
from superfine.weights import network_file

CHECK_EVERY = 25
"""Steps between two looks at the loss: reading it makes the host wait for the device."""

LOWEST_FACTOR = 1 / 64
"""A run whose rate had to be halved more often than this is given up."""

SPARE = 5.0
"""Seconds before a deadline that are left to what nobody timed: the books and the report."""


@dataclass(frozen=True)
class Progress:
    """What a watcher of the run sees after a step."""

    step: int
    done: float  # 0..1
    seconds: float  # of training, over all resumes
    scale: int
    rate: float
    loss: float | None  # running mean, every CHECK_EVERY steps
    step_seconds: float
    batch: int  # patches in the step, on all devices
    note: str = ""  # something worth a line of its own


Watcher = Callable[[Progress], None]


def choose_device(name: str) -> torch.device:
    """The device of hardware.device; auto takes CUDA, then MPS, then the CPU. Raises TrainingError if it is absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present[name]:
        raise TrainingError(f'hardware.device = "{name}", but PyTorch sees no such device here: use "auto" or "cpu"')
    return torch.device(name)


def choose_bf16(precision: str, device: torch.device) -> bool:
    """Whether convolutions run in bf16; auto does where the hardware has it."""
    if precision != "auto":
        return precision == "bf16"
    return native_bf16(device)


def starting_network(recipe: Recipe) -> Network:
    """The network as the recipe's [start] says."""
    config = recipe.network.config()
    if recipe.start.kind == "checkpoint":
        from superfine import weights

        assert recipe.start.checkpoint is not None
        network = network_file.load(weights.find(recipe.start.checkpoint).weights)
        if not set(config.scales) <= set(network.config.scales) or not same_but_for_scales(network.config, config):
            raise TrainingError(f"start.checkpoint holds {network.config}, the recipe wants {config}")
        return with_scales(network, config.scales).train()
    network = build(config)
    (init.interpolator if recipe.start.kind == "interpolator" else init.random)(network, seed=recipe.seed)
    return network


class Run:
    """One training run in one folder: `state.pt` (to go on from), `best.safetensors` and `last.safetensors`."""

    def __init__(self, recipe: Recipe, pack: Pack, folder: Path, *, resume: bool) -> None:
        """Raises TrainingError if the folder holds a run and `resume` is false, or one of another recipe."""
        self.recipe, self.folder = recipe, folder
        self.device = choose_device(recipe.hardware.device)
        if recipe.hardware.threads:
            torch.set_num_threads(recipe.hardware.threads)
        self.bf16 = choose_bf16(recipe.hardware.precision, self.device)
        missing = set(recipe.network.scales) - set(pack.scales)
        if missing:
            raise TrainingError(f"the pack {pack.path} has LR for {pack.scales}, the recipe trains x{min(missing)} too")
        self.team = Team.join(cuda=self.device.type == "cuda")
        self.samples = Samples(pack, seed=recipe.seed, device=self.device, rank=self.team.rank, world=self.team.world)
        for stage in recipe.stages():  # a patch no picture is large enough for is found out now
            self.samples.cut(stage.patch, stage.batch)
        self.state = self._fresh_state(pack)
        self.state_path = folder / "state.pt"
        if self.state_path.exists():
            if not resume:
                raise TrainingError(f"{folder} already holds a run: add --resume, or name another folder")
            self.state.restore(self.state_path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"cannot make the run's folder {folder}: {error.strerror}") from error
        self.validation = ValidationSet.of(recipe.validation, recipe.network.scales) if self.team.first else None
        self.program = Program(self.state.network, self.device, bf16=self.bf16, compile=recipe.hardware.compile)
        self.ema_weight = torch.zeros((), device=self.device)
        self.recorded: RecordedSteps | None = None

    def _fresh_state(self, pack: Pack) -> TrainingState:
        network = starting_network(self.recipe).to(self.device)
        channels_last(network)
        optimizer = Optimizer(network, self.recipe.optimizer)
        ema = {name: p.detach().clone() for name, p in network.named_parameters()}
        belongs = {**self.recipe.decisive(), "pack": pack.identity, "processes": self.team.world}
        return TrainingState(network, optimizer, ema, belongs)

    def train(
        self,
        watch: Watcher | None = None,
        validated: Callable[[dict[str, Any]], None] | None = None,
        *,
        end: float | None = None,
    ) -> None:
        """Train to the end of the schedule. Ctrl-C finishes the step, saves the run and raises KeyboardInterrupt.

        watch: called after every step; validated: called with each new entry of the history; end: when to be through
            with everything (seconds of time.perf_counter): what is left of the schedule is spread over the time left.
        Raises TrainingError if the loss keeps exploding, the run cannot be saved, the device's memory is too small or
        `end` too near, DataError if the pack dies.
        """
        recipe, state, health = self.recipe, self.state, LossWatch()
        state.network.train()
        note = self._warm_up()
        deadline = self._begin(end, validated)
        stage = recipe.stage_at(progress(recipe.schedule, state.step, state.seconds))
        clock = time.perf_counter() - state.seconds
        saved = validated_at = state.seconds
        with Interrupts() as interrupts:
            while True:
                state.seconds = time.perf_counter() - clock
                if deadline:
                    done = deadline.progress(time.perf_counter())
                else:
                    done = progress(recipe.schedule, state.step, state.seconds)
                state.seconds, done, stop = self.team.agree(state.seconds, done, float(interrupts.wanted))
                if done >= 1 or stop:
                    break
                begin = time.perf_counter()
                share = state.rate_factor * rate_share(recipe.schedule, state.step, done)
                entered = recipe.stage_at(done)
                if entered != stage:
                    stage, health = entered, LossWatch()  # another loss, another size
                    note = f"stage: {stage.batch} patches of {stage.patch}x{stage.patch}, {stage.loss}"
                scale = scale_of_step(recipe.seed, state.step, recipe.network.scales, stage.scale_odds)
                health.add(self.step(stage, scale, share), scale)
                if state.step % CHECK_EVERY == 0 and not self._agree_healthy(health):
                    note, health = self._step_back(), LossWatch()
                    clock = time.perf_counter() - state.seconds
                    saved = min(saved, state.seconds)
                if watch:
                    spent = time.perf_counter() - begin
                    watch(
                        Progress(
                            state.step,
                            done,
                            state.seconds,
                            scale,
                            recipe.optimizer.rate * share,
                            health.shown,
                            spent,
                            stage.batch * self.team.world,
                            note,
                        )
                    )
                note = ""
                pause = time.perf_counter()
                due = state.seconds - saved >= recipe.hardware.save_every
                if self.team.agree(float(due and health.sane()))[0]:
                    self._save()
                    saved = state.seconds
                if self.validation and state.seconds - validated_at > recipe.validation.every * 60:
                    self._validate(health.shown, validated)
                    validated_at = state.seconds
                clock += time.perf_counter() - pause
        if self.validation and not stop and (not state.history or state.history[-1]["step"] != state.step):
            self._validate(health.shown, validated)
        self._save()
        if self.team.first:
            self._release(self.folder / "last.safetensors")
        if stop:
            raise KeyboardInterrupt

    def _warm_up(self) -> str:
        """Run all that will be trained, and so compile and record it, before the clock starts.

        Returns a line for the watcher if something makes the run slower than it could be. Raises TrainingError if the
        device's memory is too small for a batch.
        """
        if self.device.type != "cuda" and not self.program.compiled:
            return self.program.note
        before = [tensor.clone() for tensor in self.state.tensors()]
        note = ""
        try:
            self._try_everything()
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"a batch is too large for the memory of this {self.device.type} device: lower batch or patch"
            ) from error
        except Exception as error:  # whatever a compiler may meet on a machine
            if not self.program.compiled:
                raise
            self.program.do_without_compiler()
            why = (str(error).strip().splitlines() or ["no reason given"])[0]
            note = f"compiling failed ({type(error).__name__}: {why}): training goes on without, more slowly"
            self._try_everything()
        for tensor, value in zip(self.state.tensors(), before, strict=True):
            tensor.copy_(value)
        self.team.wait()
        return note

    def _try_everything(self) -> None:
        """One step of every kind that the recipe has; on one GPU they are recorded."""
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            self.recorded = RecordedSteps() if self.team.world == 1 else None
        for stage in self.recipe.stages():
            for scale, odds in zip(self.recipe.network.scales, stage.scale_odds, strict=True):
                key = kind_of(stage, scale)
                if not odds or (self.recorded and key in self.recorded):
                    continue
                places = self.samples.cut(stage.patch, stage.batch).places(0, scale)
                work = partial(self._work, stage, scale)
                if self.recorded:
                    self.recorded.record(key, places, work)
                else:
                    work(places.to(self.device))

    def _begin(self, end: float | None, validated: Callable[[dict[str, Any]], None] | None) -> Deadline | None:
        """The first validation and save, if this run has had none; with an `end`, both are timed for what comes last.

        Raises TrainingError if no time is left to train.
        """
        state, begin = self.state, time.perf_counter()
        if self.validation and not state.history:
            self._validate(None, validated)
        elif self.validation and end is not None:
            self.validation.psnr(self.averaged(), self.device, bf16=False)
        if end is not None or not self.state_path.exists():
            self._save()
        if end is None:
            return None
        now = time.perf_counter()
        last = end - 2 * (now - begin) - SPARE  # one validation may still be under way then
        if self.team.agree(last - now)[0] <= 0:
            raise TrainingError(
                "getting ready has used up the time there was: give more, or fewer validation pictures and stages"
            )
        return Deadline(now, last, progress(self.recipe.schedule, state.step, state.seconds))

    def loss(self, stage: Stage, batch: Batch) -> Tensor:
        """What the stage makes small, of one batch (a scalar on the device)."""
        sr = self.program(batch.lr, batch.scale)
        return LOSSES[stage.loss](sr, batch.hr.float() / 255)

    def step(self, stage: Stage, scale: int, share: float) -> Tensor:
        """One step on one batch, at `share` of the highest rate; returns the loss (on the device, unread)."""
        places = self.samples.cut(stage.patch, stage.batch).places(self.state.step, scale)
        self.state.optimizer.set_share(share)
        self.ema_weight.fill_(self.state.ema_weight(self.recipe.optimizer.ema))
        key = kind_of(stage, scale)
        if self.recorded and key in self.recorded:
            loss = self.recorded.replay(key, places)
        else:
            loss = self._work(stage, scale, places.to(self.device))
        self.state.step += 1
        return loss

    def _work(self, stage: Stage, scale: int, places: Tensor) -> Tensor:
        """What the device does in a step: cut patches, enlarge, compare, and move the weights."""
        batch = self.samples.cut(stage.patch, stage.batch).cut(places, scale)
        self.program.begin()
        loss = self.loss(stage, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        self.program.collect()
        self.team.average_gradients(self.state.network.parameters())
        if self.recipe.optimizer.clip:
            torch.nn.utils.clip_grad_norm_(self.state.network.parameters(), self.recipe.optimizer.clip)
        self.state.optimizer.step()
        if self.recipe.optimizer.ema:
            self.state.update_ema(self.ema_weight)
        return loss.detach()

    def _agree_healthy(self, health: LossWatch) -> bool:
        """Whether the first process finds the loss sane; every process goes by its word."""
        return bool(self.team.agree(float(health.sane()))[0])

    def _step_back(self) -> str:
        """Return to the last saved state with half the rate; says so. Raises TrainingError when that has not helped."""
        step, factor = self.state.step, self.state.rate_factor / 2
        if factor < LOWEST_FACTOR:
            raise TrainingError(f"the loss exploded again at step {step}: lower optimizer.rate in the recipe")
        self.state.restore(self.state_path)
        self.state.rate_factor = factor
        self._save()  # so that a kill now does not forget the lower rate
        return f"the loss exploded at step {step}: back to step {self.state.step}, learning rate times {factor:g}"

    def _save(self) -> None:
        if self.team.first:
            self.state.save(self.state_path, split_mib=self.recipe.hardware.split)
        self.team.wait()

    def averaged(self) -> Network:
        """A copy of the network with the averaged weights, float32 on the CPU."""
        network = build(self.recipe.network.config())
        weights = self.state.ema if self.recipe.optimizer.ema else dict(self.state.network.named_parameters())
        network.load_state_dict({name: value.detach().cpu() for name, value in weights.items()}, strict=False)
        return network.eval()

    def _validate(self, loss: float | None, validated: Callable[[dict[str, Any]], None] | None) -> None:
        assert self.validation is not None
        psnr = self.validation.psnr(self.averaged(), self.device, bf16=False)
        state = self.state
        entry = {"step": state.step, "seconds": round(state.seconds, 1), "loss": loss, "psnr": psnr}
        best = max((mean_psnr(e) for e in state.history), default=-math.inf)
        state.history.append(entry)
        if mean_psnr(entry) > best:
            self._release(self.folder / "best.safetensors")
        if validated:
            validated(entry)

    def _release(self, path: Path) -> None:
        """The averaged weights as a float32 file of ours."""
        about = {"recipe": self.recipe.name, "step": str(self.state.step), "seconds": f"{self.state.seconds:.0f}"}
        network_file.save(self.averaged(), path, dtype=torch.float32, metadata=about)


def kind_of(stage: Stage, scale: int) -> tuple[int, int, str, int]:
    """What makes one step another program than the next: patch, batch, loss, scale."""
    return stage.patch, stage.batch, stage.loss, scale


def mean_psnr(entry: dict[str, Any]) -> float:
    """Mean over the scales of one validation, dB."""
    values = list(entry["psnr"].values())
    return float(sum(values) / len(values))
