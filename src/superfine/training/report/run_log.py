"""The log of a run, beside its weights: enough to know, years later, where they came from.

run.json       recipe, data, seed, code, hardware and versions of every launch, the best validation
recipe.toml    the recipe, ready to train from again
history.json   one entry a validation
log.csv        loss, rate and speed every few seconds
"""

from __future__ import annotations

import csv
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superfine.atomic import replace_file
from superfine.benchmark.result import machine, now, versions
from superfine.errors import TrainingError
from superfine.training.data.pack import Pack
from superfine.training.loop import Run, StepReport
from superfine.training.template import recipe_text
from superfine.training.validation import mean_psnr
from superfine.version import __version__

FORMAT = "superfine-run-1"
ROW_EVERY = 5.0
"""Seconds of training between two rows of log.csv."""


@dataclass(frozen=True)
class LogRow:
    """One row of log.csv."""

    step: int
    seconds: float
    loss: float
    rate: float
    pictures_per_second: float


COLUMNS = ("step", "seconds", "loss", "rate", "pictures_per_second")


class RunLog:
    """Writes the log of one run. Create it when the run is ready to start or go on."""

    def __init__(self, run: Run, pack: Pack) -> None:
        """Write what is known at the beginning. Raises TrainingError if the folder cannot be written."""
        self.run, self.folder = run, run.folder
        old = _read_json(self.folder / "run.json")
        self.facts: dict[str, Any] = {
            "format": FORMAT,
            "name": run.recipe.name,
            "recipe": run.recipe.model_dump(mode="json"),
            "recipe_identity": run.recipe.identity(),
            "seed": run.recipe.seed,
            "parameters": sum(p.numel() for p in run.state.network.parameters()),
            "data": _data(run, pack),
            "bicubic": run.validation.bicubic() if run.validation else {},
            "launches": old.get("launches", []),
        }
        self.launch: dict[str, Any] = {
            "started": now(),
            "from_step": run.state.step,
            "code": code(),
            "versions": versions(),
            "hardware": hardware(run),
        }
        self.facts["launches"].append(self.launch)
        self._last = LogRow(run.state.step, run.state.seconds, 0.0, 0.0, 0.0)
        _write(self.folder / "recipe.toml", recipe_text(run.recipe))
        _keep_rows(self.folder / "log.csv", before=run.state.step)
        self.save("running")

    @property
    def bicubic(self) -> dict[int, float]:
        """dB by scale of bicubic on the validation pictures; empty without them."""
        return dict(self.facts["bicubic"])

    def step(self, report: StepReport) -> LogRow | None:
        """Take in one step; return the row it wrote, if it was time for one."""
        if 0 <= report.seconds - self._last.seconds < ROW_EVERY:
            return None
        if report.seconds < self._last.seconds:  # stepped back to the last saved state
            self._last = LogRow(report.step, report.seconds, report.loss, report.rate, 0.0)
            return None
        spent = report.seconds - self._last.seconds
        speed = (report.step - self._last.step) * report.batch / spent
        self._last = LogRow(report.step, round(report.seconds, 2), report.loss, report.rate, round(speed, 2))
        try:
            with (self.folder / "log.csv").open("a", newline="") as file:
                csv.writer(file).writerow([getattr(self._last, column) for column in COLUMNS])
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.folder / 'log.csv'}: {error.strerror}; --resume goes on"
            ) from error
        return self._last

    def save(self, outcome: str) -> None:
        """Write run.json and history.json; outcome: "running", "finished", "stopped" or "failed: why"."""
        state = self.run.state
        self.launch |= {"ended": now(), "to_step": state.step, "outcome": outcome}
        self.facts |= {"steps": state.step, "seconds": round(state.seconds, 1)}
        if state.history:
            self.facts["best"] = max(state.history, key=mean_psnr)
        _write(self.folder / "history.json", json.dumps(state.history, indent=1))
        _write(self.folder / "run.json", json.dumps(self.facts, indent=1))


def read_log(folder: Path) -> list[LogRow]:
    """Read the rows of a run's log.csv, steps ascending; damaged rows are left out."""
    rows: list[LogRow] = []
    path = folder / "log.csv"
    for line in csv.reader(path.read_text().splitlines()) if path.is_file() else ():
        try:
            step, *rest = line
            row = LogRow(int(step), *map(float, rest))
        except (ValueError, TypeError):
            continue
        while rows and rows[-1].step >= row.step:  # a run that was stepped back walked here twice
            rows.pop()
        rows.append(row)
    return rows


def code() -> dict[str, Any]:
    """Name this superfine: its version and, in a git checkout, the commit and whether files differ from it."""
    package = Path(__file__).parents[1]
    facts: dict[str, Any] = {"superfine": __version__}
    ours = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    if ours is not None and (commit := _git(package, "rev-parse", "HEAD")):
        facts["commit"] = commit
        facts["modified"] = bool(_git(package, "status", "--porcelain", "--untracked-files=no", "."))
    return facts


def hardware(run: Run) -> dict[str, Any]:
    """Describe what the run computes on."""
    import torch

    facts = machine() | {"device": run.device.type, "precision": "bf16" if run.bf16 else "fp32"}
    facts |= {"processes": run.team.world, "threads": torch.get_num_threads()}
    if run.device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(run.device)
    return facts


def _data(run: Run, pack: Pack) -> dict[str, Any]:
    pixels = sum(picture.hr.height * picture.hr.width for picture in pack)
    return {
        "folders": list(run.recipe.data.folders),
        "pack": pack.identity,
        "file": str(pack.path),
        "pictures": len(pack),
        "megapixels": round(pixels / 1e6, 2),
        "extra_downscales": list(pack.options.extra_downscales),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _keep_rows(path: Path, before: int) -> None:
    """Drop the rows after step `before`: a resumed run goes there again from its saved state."""
    rows = [row for row in read_log(path.parent) if row.step <= before]
    lines = [",".join(COLUMNS), *(",".join(str(getattr(row, c)) for c in COLUMNS) for row in rows)]
    _write(path, "\n".join(lines) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, text: str) -> None:
    """Write a file, atomically. Raises TrainingError."""
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}; the last saved state is kept") from error
