"""One training step on one device: cut patches, upscale, compare, move the weights; compiled, recorded."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from superfine.errors import TrainingError
from superfine.training.data.sampler import PatchBatch, Samplers
from superfine.training.degradation import Degrader
from superfine.training.losses import LOSSES
from superfine.training.processes import Team
from superfine.training.program import Program
from superfine.training.recipe import Recipe, Stage
from superfine.training.recorded import Drawn, RecordedSteps
from superfine.training.state import TrainingState


class TrainingStep:
    """Makes the steps of one run."""

    def __init__(self, recipe: Recipe, state: TrainingState, samplers: Samplers, team: Team, *, bf16: bool) -> None:
        self.recipe, self.state, self.samplers, self.team = recipe, state, samplers, team
        self.device = samplers.device
        self.program = Program(state.network, self.device, bf16=bf16, compile=recipe.hardware.compile)
        section = recipe.degradation
        self.degrader = Degrader(section, seed=recipe.seed, device=self.device) if section.active else None
        self._ema_weight = torch.zeros((), device=self.device)
        self._recorded: RecordedSteps | None = None

    def prepare(self) -> str:
        """Run every kind of step once, and so compile and record it, before the clock starts.

        Returns a line for people if something makes the run slower than it could be. Raises TrainingError if the
        device's memory is too small for a batch.
        """
        if self.device.type != "cuda" and not self.program.compiled:
            return self.program.note
        before = [tensor.clone() for tensor in self.state.tensors()]
        note = ""
        try:
            self._run_every_kind()
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
            self._run_every_kind()
        for tensor, value in zip(self.state.tensors(), before, strict=True):
            tensor.copy_(value)
        self.team.wait()
        return note

    def _run_every_kind(self) -> None:
        """Run one step of every kind that the recipe has; on one GPU they are recorded."""
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            self._recorded = RecordedSteps() if self.team.world == 1 else None
        for stage in self.recipe.stages():
            for scale, odds in zip(self.recipe.network.scales, stage.scale_odds, strict=True):
                key = _kind(stage, scale)
                if not odds or (self._recorded and key in self._recorded):
                    continue
                drawn, work = self.draw(stage, scale, 0), partial(self._work, stage, scale)
                if self._recorded:
                    self._recorded.record(key, drawn, work)
                else:
                    work(self._moved(drawn))

    def __call__(self, stage: Stage, scale: int, rate_share: float) -> Tensor:
        """Make one step at `rate_share` (0..1) of the highest rate; return the loss (on the device, unread)."""
        drawn = self.draw(stage, scale, self.state.step)
        self.state.optimizer.set_rate_share(rate_share)
        self._ema_weight.fill_(self.state.ema_weight(self.recipe.optimizer.ema))
        key = _kind(stage, scale)
        if self._recorded and key in self._recorded:
            loss = self._recorded.replay(key, drawn)
        else:
            loss = self._work(stage, scale, self._moved(drawn))
        self.state.step += 1
        return loss

    def draw(self, stage: Stage, scale: int, step: int) -> Drawn:
        """Draw all that is random in a step, on the CPU."""
        places = self.samplers.of_size(stage.patch, stage.batch).places(step, scale)
        if not self.degrader:
            return (places,)
        return places, self.degrader.draw(step, stage.batch, rank=self.team.rank, world=self.team.world)

    def batch(self, stage: Stage, scale: int, drawn: Drawn) -> PatchBatch:
        """Cut the patches of a step, and spoil the LR ones if the recipe says so. drawn: on the device."""
        batch = self.samplers.of_size(stage.patch, stage.batch).cut(drawn[0], scale)
        return self.degrader(batch, drawn[1]) if self.degrader else batch

    def _moved(self, drawn: Drawn) -> Drawn:
        return tuple(tensor.to(self.device) for tensor in drawn)

    def loss(self, stage: Stage, batch: PatchBatch) -> Tensor:
        """Compute the stage's loss of one batch (a scalar on the device)."""
        sr = self.program(batch.lr, batch.scale)
        return LOSSES[stage.loss](sr, batch.hr.float() / 255)

    def _work(self, stage: Stage, scale: int, drawn: Drawn) -> Tensor:
        """Do the device's part of a step: cut patches, upscale, compare, and move the weights."""
        batch = self.batch(stage, scale, drawn)
        self.program.begin()
        loss = self.loss(stage, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        self.program.collect()
        self.team.average_gradients(self.state.network.parameters())
        if self.recipe.optimizer.clip:
            torch.nn.utils.clip_grad_norm_(self.state.network.parameters(), self.recipe.optimizer.clip)
        self.state.optimizer.step()
        if self.recipe.optimizer.ema:
            self.state.update_ema(self._ema_weight)
        return loss.detach()


def _kind(stage: Stage, scale: int) -> tuple[int, int, str, int]:
    """Return all that makes one step another program than the next: patch, batch, loss, scale."""
    return stage.patch, stage.batch, stage.loss, scale
