"""The whole state of a run, as one object, saved whole or not at all.

Nothing about the data is in it: batches are functions of the seed and the step (data/sampler.py).
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superfine.atomic import replace_file
from superfine.errors import TrainingError
from superfine.nets import Network
from superfine.training.optimizer import Optimizer

FORMAT = "superfine-training-3"


@dataclass
class TrainingState:
    """Everything that changes while training."""

    network: Network
    optimizer: Optimizer
    ema: dict[str, Tensor]
    """Averaged weights, float32, by parameter name."""
    identity: dict[str, Any]
    """All that decides the weights: the recipe's decisive fields, the pack's identity. A resume must match it."""
    step: int = 0
    seconds: float = 0.0
    """Training time so far, over all resumes, without validation and saving."""
    rate_factor: float = 1.0
    """Halved each time the loss explodes."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry a validation: step, seconds, loss, PSNR by scale."""

    def ema_weight(self, decay: float) -> float:
        """Return the share of the weights in their next average; a young run trusts its weights more."""
        return 1 - min(decay, (1 + self.step) / (10 + self.step))

    def update_ema(self, weight: float | Tensor) -> None:
        """Move the average towards the weights. weight: a share, or a scalar on the weights' device."""
        averages = list(self.ema.values())
        apart = torch._foreach_sub([p.detach() for p in self.network.parameters()], averages)
        torch._foreach_mul_(apart, weight)
        torch._foreach_add_(averages, apart)

    def tensors(self) -> list[Tensor]:
        """Return all that a step changes."""
        return [*(p.detach() for p in self.network.parameters()), *self.ema.values(), *self.optimizer.tensors()]

    def save(self, path: Path, *, split_mib: float = 0.0) -> None:
        """Write everything, atomically: a reader finds the old state or the new one, never half of one.

        split_mib: above 0, the state goes into numbered parts of at most that many MiB, and `path` becomes a
            list of them with their SHA-256.
        Raises TrainingError (the old state stays) if the disk is full or the folder cannot be written.
        """
        buffer = io.BytesIO()
        torch.save(self._payload(), buffer)
        try:
            if split_mib > 0:
                _save_parts(path, buffer.getbuffer(), int(split_mib * 2**20))
            else:
                replace_file(path, buffer.getbuffer())
        except OSError as error:
            raise TrainingError(
                f"cannot save the run to {path}: {error.strerror}; the last saved state is kept, make room and --resume"
            ) from error

    def _payload(self) -> dict[str, Any]:
        counters = {"step": self.step, "seconds": self.seconds, "rate_factor": self.rate_factor}
        return {
            "format": FORMAT,
            "identity": json.dumps(self.identity),
            "network": self.network.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.tensors(),
            "counters": json.dumps({**counters, "history": self.history}),
        }

    def restore(self, path: Path) -> None:
        """Go on from a saved state. Raises TrainingError if it is damaged or of another recipe or pack."""
        payload = read_state(path)
        theirs = json.loads(payload["identity"])
        ours = json.loads(json.dumps(self.identity))
        for name in sorted({*theirs, *ours}):
            if theirs.get(name) != ours.get(name):
                raise TrainingError(
                    f"{path} was trained with {name} = {theirs.get(name)}, this recipe says {ours.get(name)}: "
                    "go on with its own recipe and data, or train into another folder"
                )
        self.network.load_state_dict(payload["network"])
        with torch.no_grad():
            for name, value in payload["ema"].items():
                self.ema[name].copy_(value)
        self.optimizer.restore(payload["optimizer"])
        counters = json.loads(payload["counters"])
        self.step, self.seconds = counters["step"], counters["seconds"]
        self.rate_factor, self.history = counters["rate_factor"], counters["history"]


def read_state(path: Path) -> dict[str, Any]:
    """Read the payload of a saved run, from one file or its parts.

    Raises TrainingError if it is damaged or something else.
    """
    try:
        raw = path.read_bytes()
        if raw.startswith(b"{"):
            raw = _join(path, json.loads(raw))
        payload = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except TrainingError:
        raise
    except Exception as error:
        raise TrainingError(
            f"cannot resume from {path}: damaged, or not a saved run ({type(error).__name__})"
        ) from error
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise TrainingError(f"cannot resume from {path}: not a saved superfine run")
    return payload


def _save_parts(path: Path, data: memoryview, limit: int) -> None:
    """Write the parts of a new generation, then the list that names them; then remove the old generation."""
    digest = hashlib.sha256(data).hexdigest()
    names = [f"{path.name}.{digest[:12]}.{k:03}" for k in range(-(-len(data) // limit))]
    try:
        for k, name in enumerate(names):
            replace_file(path.with_name(name), data[k * limit : (k + 1) * limit])
        replace_file(path, json.dumps({"format": FORMAT, "sha256": digest, "parts": names}).encode())
    except OSError:
        # The list still names the old generation: only what was written now may go.
        for name in names:
            path.with_name(name).unlink(missing_ok=True)
        raise
    for part in path.parent.glob(f"{path.name}.*.[0-9][0-9][0-9]"):
        if part.name not in names:
            part.unlink()


def _join(path: Path, manifest: dict[str, Any]) -> bytes:
    parts = []
    for name in manifest["parts"]:
        part = path.with_name(Path(name).name)
        if not part.is_file():
            raise TrainingError(f"cannot resume from {path}: its part {part.name} is missing, put it beside")
        parts.append(part.read_bytes())
    raw = b"".join(parts)
    if hashlib.sha256(raw).hexdigest() != manifest["sha256"]:
        raise TrainingError(f"cannot resume from {path}: its parts are damaged (SHA-256 differs)")
    return raw
