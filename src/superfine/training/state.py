"""The whole state of a run, as one object, saved whole or not at all.

What is not here is not needed: batches are functions of the seed and the step (data.py).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superfine.errors import TrainingError
from superfine.nets import Network

FORMAT = "superfine-training-1"


@dataclass
class TrainingState:
    """Everything that changes while training."""

    network: Network
    optimizer: torch.optim.Optimizer
    ema: dict[str, Tensor]
    """Averaged weights, float32, by parameter name."""
    identity: str
    """Recipe.identity() of the run, and the pack's."""
    step: int = 0
    seconds: float = 0.0
    """Training time so far, over all resumes, without validation and saving."""
    rate_factor: float = 1.0
    """Lowered each time the loss explodes."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry a validation: step, seconds, loss, PSNR by scale."""

    def update_ema(self, decay: float) -> None:
        """Move the average towards the weights; a young run trusts its weights more."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        weights = [p.detach() for p in self.network.parameters()]
        torch._foreach_lerp_(list(self.ema.values()), weights, 1 - decay)

    def save(self, path: Path) -> None:
        """Write everything, atomically: a reader finds the old state or the new one, never half of one.

        Raises TrainingError (the old file stays) if the disk is full or the folder cannot be written.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with temporary.open("wb") as file:
                torch.save(self._payload(), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            raise TrainingError(f"cannot save the run to {path}: {error}; the last saved state is kept") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _payload(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "identity": self.identity,
            "network": self.network.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "counters": json.dumps(
                {
                    "step": self.step,
                    "seconds": self.seconds,
                    "rate_factor": self.rate_factor,
                    "history": self.history,
                }
            ),
        }

    def restore(self, path: Path, *, check_identity: bool = True) -> None:
        """Go on from a saved state. Raises TrainingError if it is damaged or of another recipe."""
        try:
            payload = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise TrainingError(f"cannot resume from {path}: {type(error).__name__}: damaged or not a run") from error
        if not isinstance(payload, dict) or payload.get("format") != FORMAT:
            raise TrainingError(f"{path} is not a saved superfine run")
        if check_identity and payload["identity"] != self.identity:
            raise TrainingError(
                f"{path} belongs to another recipe or data: finish it with its own, or train into another folder"
            )
        self.network.load_state_dict(payload["network"])
        for name, value in payload["ema"].items():
            self.ema[name].copy_(value)
        self.optimizer.load_state_dict(payload["optimizer"])
        counters = json.loads(payload["counters"])
        self.step, self.seconds = counters["step"], counters["seconds"]
        self.rate_factor, self.history = counters["rate_factor"], counters["history"]
