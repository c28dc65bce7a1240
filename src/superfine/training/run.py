"""From a recipe to weights: pack the pictures, train, write down what happened, report."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from superfine.errors import TrainingError
from superfine.training.data.open_pack import open_pack
from superfine.training.data.pack import Pack
from superfine.training.loop import Run, StepReport, Watcher
from superfine.training.processes import Team, choose_device, keep_heap
from superfine.training.recipe import Recipe
from superfine.training.report.crops import detailed_crops
from superfine.training.report.page import write_report
from superfine.training.report.run_log import RunLog
from superfine.training.report.tensorboard import TensorBoard, installed
from superfine.training.validation import validation_pictures

LEFT_OUT_SHOWN = 10
"""So many unusable pictures are named; more are counted."""


@dataclass(frozen=True)
class TrainedRun:
    """The files that a finished run is about."""

    weights: Path
    """The best weights, or the last where nothing was validated."""
    report: Path


def train(
    recipe: Recipe,
    folder: Path,
    *,
    packs: Path = Path("packs"),
    resume: bool = False,
    tensorboard: bool | None = None,
    end: float | None = None,
    watcher: Watcher | None = None,
) -> TrainedRun | None:
    """Train a recipe in `folder`, in this process and those that torchrun started beside it.

    packs: where packed pictures are kept. resume: go on with the run in `folder`. tensorboard: write its events;
        None: if it is installed. end: when all must be done, in seconds of time.perf_counter.
    Returns None in all processes but the first. Raises RecipeError, DataError and TrainingError; KeyboardInterrupt
    once a run that was stopped is saved.
    """
    watcher = watcher or Watcher()
    validation_pictures(recipe.validation)  # missing ones are found out now, not after packing
    keep_heap()
    team = Team.join(cuda=choose_device(recipe.hardware.device).type == "cuda")
    try:
        if not team.first:
            team.wait()  # for the pack that the first process makes
            Run(recipe, open_pack(recipe, packs), folder, resume=resume, team=team).train(end=end)
            return None
        pack = watched_pack(recipe, packs, watcher)
        team.wait()
        watcher.preparing("reading pictures to validate with")
        run = Run(recipe, pack, folder, resume=resume, team=team)
        watcher.note(
            f"{recipe.name}: {recipe.network.name} on {len(pack)} pictures, {run.device.type} "
            f"{'bf16' if run.bf16 else 'fp32'}, from step {run.state.step:,}, into {folder}"
        )
        with Recorder(run, pack, watcher, tensorboard) as recorder:
            run.train(recorder, end=end)
    finally:
        team.leave()
    watcher.preparing("writing the report")
    best = folder / "best.safetensors"
    return TrainedRun(best if best.is_file() else folder / "last.safetensors", write_report(folder))


def watched_pack(recipe: Recipe, packs: Path, watcher: Watcher) -> Pack:
    """Open the recipe's pack, or make it while `watcher` sees how far it is; pictures left out become notes."""
    left_out: list[str] = []
    pack = open_pack(
        recipe,
        packs,
        progress=lambda done, total: watcher.preparing("packing pictures", done, total),
        left_out=left_out.append,
    )
    for line in left_out[:LEFT_OUT_SHOWN]:
        watcher.note(f"left out: {line}")
    if len(left_out) > LEFT_OUT_SHOWN:
        watcher.note(f"left out: {len(left_out) - LEFT_OUT_SHOWN} more")
    return pack


class Recorder(Watcher):
    """Writes down what a run does, in its folder and for TensorBoard, and passes it on to another watcher."""

    def __init__(self, run: Run, pack: Pack, watcher: Watcher, tensorboard: bool | None) -> None:
        """Begin the log. Raises TrainingError if it cannot be written, or TensorBoard is wanted but not installed."""
        self.run, self.watcher = run, watcher
        self.board = None
        if tensorboard or (tensorboard is None and installed()):
            self.board = TensorBoard(run.folder / "tensorboard", run.state.step)
        self.log = RunLog(run, pack)
        self.crops = detailed_crops(run.validation, 1) if run.validation else []

    def preparing(self, what: str, done: int = 0, total: int = 0) -> None:
        self.watcher.preparing(what, done, total)

    def note(self, text: str) -> None:
        self.watcher.note(text)

    def step(self, report: StepReport) -> None:
        row = self.log.step(report)
        if row and self.board:
            self.board.row(row)
        self.watcher.step(report)

    def validated(self, entry: dict[str, Any]) -> None:
        self.log.save("running")
        self.watcher.validated(entry | {"bicubic": self.log.bicubic})
        if self.board:
            self.board.validated(entry, self.log.bicubic)
            network = self.run.averaged().to(self.run.device)
            upscaled = [(crop, crop.upscale(network, self.run.device)) for crop in self.crops]
            self.board.pictures(entry["step"], upscaled)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Write down how the run ended."""
        if self.board:
            self.board.close()
        if error is None:
            self.log.save("finished")
            return
        stopped = isinstance(error, KeyboardInterrupt)
        with suppress(TrainingError):  # a full disk, say: the first error is the one that counts
            self.log.save("stopped" if stopped else f"failed: {error}")
        if stopped and self.run.state_path.exists():
            self.note(f"stopped and saved at step {self.run.state.step:,}; go on with --resume")
        elif stopped:
            self.note("stopped before the first step: there is nothing to go on from yet, start it again")
