"""The training loop, top to bottom.

recipe ─ pack ─ sampler.draw(step) ─▶ patches ─ network ─▶ loss ─▶ Adam ─▶ EMA ─▶ validate ─▶ save
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from superfine import checkpoints
from superfine.errors import TrainingError
from superfine.nets import Network, build
from superfine.training import start
from superfine.training.data import PatchSampler, scale_of_step
from superfine.training.pack import Pack
from superfine.training.recipe import Recipe
from superfine.training.schedule import progress, rate_share
from superfine.training.state import TrainingState
from superfine.training.validation import ValidationSet

SAVE_EVERY_SECONDS = 120.0
"""A killed run loses at most this much."""

EXPLODED = 3.0
"""A loss this many times its running mean, or one that is not a number, sends the run back to its last saved state."""


@dataclass(frozen=True)
class Progress:
    """What a watcher of the run sees after a step."""

    step: int
    done: float  # 0..1
    seconds: float
    scale: int
    rate: float
    loss: float | None  # running mean, refreshed every REPORT_EVERY steps
    step_seconds: float


Watcher = Callable[[Progress], None]
Losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "charbonnier": lambda sr, hr: torch.sqrt((sr - hr) ** 2 + 1e-6).mean(),
}


def choose_device(name: str) -> torch.device:
    """The device of hardware.device; auto takes CUDA, then MPS, then the CPU. Raises TrainingError if it is absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError('hardware.device = "cuda", but PyTorch sees no CUDA device: use "auto" or "cpu"')
    return torch.device(name)


def choose_bf16(precision: str, device: torch.device) -> bool:
    """Whether convolutions run in bf16; auto does where the hardware has it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def starting_network(recipe: Recipe) -> Network:
    """The network as the recipe's [start] says."""
    config = recipe.network.config()
    if recipe.start.kind == "checkpoint":
        from superfine import weights

        assert recipe.start.checkpoint is not None
        network = checkpoints.load(weights.find(recipe.start.checkpoint).weights)
        if network.config != config:
            raise TrainingError(f"start.checkpoint holds {network.config}, the recipe wants {config}")
        return network.train()
    network = build(config)
    (start.interpolator if recipe.start.kind == "interpolator" else start.random)(network, seed=recipe.seed)
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
        wanted = recipe.data
        self.sampler = PatchSampler(pack, batch=wanted.batch, patch=wanted.patch, seed=recipe.seed, device=self.device)
        missing = set(recipe.network.scales) - set(pack.scales)
        if missing:
            raise TrainingError(f"the pack {pack.path} has LR for {pack.scales}, the recipe trains x{min(missing)} too")
        network = starting_network(recipe).to(self.device, memory_format=torch.channels_last)
        chosen = recipe.optimizer
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=chosen.rate,
            betas=chosen.betas,
            eps=chosen.eps,
            weight_decay=chosen.weight_decay,
        )
        ema = {name: p.detach().clone() for name, p in network.named_parameters()}
        self.state = TrainingState(network, optimizer, ema, identity=f"{recipe.identity()}+{pack.identity}")
        self.state_path = folder / "state.pt"
        if self.state_path.exists():
            if not resume:
                raise TrainingError(f"{folder} already holds a run: add --resume, or name another folder")
            self.state.restore(self.state_path)
        folder.mkdir(parents=True, exist_ok=True)
        self.validation = ValidationSet.of(recipe.validation, recipe.network.scales)
        # One compiled function for all scales: each scale is a constant branch of its own.
        self.forward: Callable[[Tensor, int], Tensor] = (
            torch.compile(network, dynamic=False) if recipe.hardware.compile else network
        )

    def train(self, watch: Watcher | None = None, validated: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Train to the end of the schedule. A KeyboardInterrupt saves the run and is raised again."""
        recipe, state = self.recipe, self.state
        self.state.network.train()
        saved = validated_at = state.seconds
        running: Tensor | None = None
        if self.validation and not state.history:
            self._validate(None, validated)
        state.save(self.state_path)
        try:
            while (done := progress(recipe.schedule, state.step, state.seconds)) < 1:
                begin = time.perf_counter()
                rate = recipe.optimizer.rate * state.rate_factor * rate_share(recipe.schedule, state.step, done)
                scale = scale_of_step(recipe.seed, state.step, recipe.network.scales, recipe.odds())
                loss = self._step(scale, rate)
                running = loss if running is None else running.lerp(loss, 0.02)
                shown = None
                if state.step % 25 == 0:  # reading the loss waits for the device
                    shown = float(running)
                    if not self._healthy(float(loss), shown):
                        running = None
                        continue
                state.seconds += (spent := time.perf_counter() - begin)
                if watch:
                    watch(Progress(state.step, done, state.seconds, scale, rate, shown, spent))
                if state.seconds - saved > SAVE_EVERY_SECONDS:
                    state.save(self.state_path)
                    saved = state.seconds
                if self.validation and state.seconds - validated_at > recipe.validation.every * 60:
                    self._validate(float(running), validated)
                    validated_at = state.seconds
            if self.validation and (not state.history or state.history[-1]["step"] != state.step):
                self._validate(float(running) if running is not None else None, validated)
        finally:
            state.save(self.state_path)
            self._release(self.folder / "last.safetensors")

    def _step(self, scale: int, rate: float) -> Tensor:
        """One optimizer step on one batch; returns the loss (on the device, unread)."""
        state, chosen = self.state, self.recipe.optimizer
        batch = self.sampler.draw(state.step, scale)
        lr, hr = batch.lr.float() / 255, batch.hr.float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            sr = self.forward(lr, scale)
        loss = Losses[chosen.loss](sr, hr)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if chosen.clip:
            torch.nn.utils.clip_grad_norm_(state.network.parameters(), chosen.clip)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.step()
        state.step += 1
        if chosen.ema:
            state.update_ema(chosen.ema)
        return loss.detach()

    def _healthy(self, loss: float, running: float) -> bool:
        """Step back to the last saved state, at half the rate, if the loss is no longer sane."""
        if math.isfinite(loss) and math.isfinite(running) and loss < 100 * EXPLODED * running:
            return True
        step, factor = self.state.step, self.state.rate_factor / 2
        self.state.restore(self.state_path)
        self.state.rate_factor = factor
        if factor < 1 / 64:
            raise TrainingError(f"the loss exploded again at step {step}: lower optimizer.rate in the recipe")
        return False

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
        checkpoints.save(self.averaged(), path, dtype=torch.float32, metadata=about)


def mean_psnr(entry: dict[str, Any]) -> float:
    """Mean over the scales of one validation, dB."""
    values = list(entry["psnr"].values())
    return float(sum(values) / len(values))
