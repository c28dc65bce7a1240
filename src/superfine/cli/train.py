"""`superfine train`: a recipe becomes weights."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from superfine.errors import RecipeError, TrainingError

if TYPE_CHECKING:
    from rich.console import Console

    from superfine.training.data.pack import Pack
    from superfine.training.loop import Progress, Run
    from superfine.training.recipe import Recipe


def train(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file; 'superfine recipe' prints one.")
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder of the run. [default: runs/NAME]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Time a few steps and say what the run would take; only the pack is kept.")
    ] = False,
    data: Annotated[list[Path] | None, typer.Option(help="Train on this folder instead of the recipe's.")] = None,
    pack: Annotated[Path | None, typer.Option(help="Train on this pack ('superfine pack') instead.")] = None,
    validate: Annotated[Path | None, typer.Option(help="Validate on this folder instead of the recipe's.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train this long instead of the recipe's length.")] = None,
    within: Annotated[
        float | None,
        typer.Option(help="Be done in so many minutes, packing, compiling, validating and saving included."),
    ] = None,
    tensorboard: Annotated[
        bool | None, typer.Option(help="Write scalars and pictures for TensorBoard. [default: if it is installed]")
    ] = None,
    packs: Annotated[Path, typer.Option(help="Where packed pictures are kept between runs.")] = Path("packs"),
) -> None:
    """Train a network on your own pictures.

    Write a recipe, train with it, use what came out:

        superfine recipe my-photos --data photos --validate other-photos --minutes 30 -o my-photos.toml
        superfine train my-photos.toml
        superfine upscale small.jpg -o large.png -m runs/my-photos/best.safetensors

    The first run packs the pictures once; later runs find the pack. The folder runs/my-photos receives the best
    weights so far (best.safetensors), the latest (last.safetensors), the state to go on from (state.pt), what the run
    was and where it ran (run.json, recipe.toml), and at the end a report to look at (report.html).

    What it would take on this machine, before it takes it:

        superfine train my-photos.toml --dry-run

    On a machine that is yours for ten minutes, whatever the recipe's length:

        superfine train recipes/esrgcnn-gpu.toml --data photos --within 9.5

    Stop with Ctrl-C whenever you like and go on later, after a crash or a power cut too:

        superfine train my-photos.toml --resume

    From the shipped weights instead of from nothing, which needs far less time:

        superfine recipe finer --data photos --start esrgcnn -o finer.toml

    On four GPUs of one machine:

        torchrun --nproc-per-node 4 -m superfine train my-photos.toml
    """
    from rich.console import Console

    begin, console = time.perf_counter(), Console(stderr=True)
    if within is not None and not within > 0:
        raise RecipeError(f"--within {within:g}: wanted more than 0 minutes")
    end = None if within is None else begin + within * 60
    chosen = resolved(recipe, data=data, pack=pack, validate=validate, minutes=minutes)
    folder = out or Path("runs") / chosen.name
    if dry_run:
        _dry_run(chosen, packs, folder, console)
        return
    _run(chosen, packs, folder, console, resume=resume, tensorboard=tensorboard, end=end)


def _run(
    recipe: Recipe,
    packs: Path,
    folder: Path,
    console: Console,
    *,
    resume: bool,
    tensorboard: bool | None,
    end: float | None,
) -> None:
    """Pack and train, in this process and those that torchrun started beside it. Raises what a run does."""
    from rich.console import Console

    from superfine.training.heap import keep_heap
    from superfine.training.loop import Run, choose_device
    from superfine.training.processes import Team
    from superfine.training.validation import chosen_pictures

    chosen_pictures(recipe.validation)  # better now than after packing
    keep_heap()
    team = Team.join(cuda=choose_device(recipe.hardware.device).type == "cuda")
    try:
        if team.first:
            opened = _open(recipe, packs, console)
        team.wait()  # the others find the pack the first one made
        if not team.first:
            opened = _open(recipe, packs, Console(stderr=True, quiet=True))
        run = Run(recipe, opened, folder, resume=resume)
        if team.first:
            _watched(run, opened, tensorboard, console, end)
        else:
            run.train(end=end)
    finally:
        team.leave()


def _watched(run: Run, pack: Pack, tensorboard: bool | None, console: Console, end: float | None) -> None:
    """Train in the first process: shown, written down, reported."""
    from superfine.cli.train_output import Show
    from superfine.training.report.crops import samples
    from superfine.training.report.page import write_report
    from superfine.training.report.run_log import Journal
    from superfine.training.report.tensorboard import Board, installed

    folder = run.folder
    board = None
    if tensorboard or (tensorboard is None and installed()):
        board = Board(folder / "tensorboard", run.state.step)
    journal = Journal(run, pack)
    shown = samples(run.validation, 1) if run.validation else []
    show = Show(console, bicubic=journal.bicubic)
    show.say(
        f"{run.recipe.name}: {run.recipe.network.name} on {len(pack)} pictures, {run.device.type} "
        f"{'bf16' if run.bf16 else 'fp32'}, from step {run.state.step:,}, into {folder}"
    )

    def step(now: Progress) -> None:
        row = journal.step(now)
        if row and board:
            board.row(row)
        show.step(now)

    def validated(entry: dict[str, Any]) -> None:
        journal.save("running")
        show.validated(entry)
        if board:
            board.validated(entry, journal.bicubic)
            network = run.averaged().to(run.device)
            board.pictures(entry["step"], [(sample, sample.enlarge(network, run.device)) for sample in shown])

    try:
        with show:
            run.train(step, validated, end=end)
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        with suppress(TrainingError):  # a full disk, say: what went wrong first is what counts
            journal.save("stopped" if stopped else f"failed: {error}")
        if stopped:
            if run.state_path.exists():
                show.say(f"stopped and saved at step {run.state.step:,}; go on with --resume")
            else:
                show.say("stopped before the first step: there is nothing to go on from yet, start it again")
        raise
    finally:
        if board:
            board.close()
    journal.save("finished")
    best = folder / "best.safetensors"
    print(f"{best if best.is_file() else folder / 'last.safetensors'}")
    print(f"{write_report(folder)}")


def resolved(
    path: Path,
    *,
    data: list[Path] | None = None,
    pack: Path | None = None,
    validate: Path | None = None,
    minutes: float | None = None,
) -> Recipe:
    """The recipe with its paths made absolute and the command line's changes applied. Raises RecipeError."""
    from superfine.training.recipe import parse_recipe, read_recipe

    raw = read_recipe(path).model_dump(exclude_unset=True)
    base = path.parent.absolute()
    if data and pack:
        raise RecipeError("--data and --pack exclude each other: train on folders or on a pack")
    if data:
        raw["data"] |= {"folders": [_absolute(folder) for folder in data], "pack": None}
    elif pack:
        raw["data"] |= {"folders": [], "pack": _absolute(pack)}
    else:
        raw["data"]["folders"] = [os.path.normpath(base / folder) for folder in raw["data"].get("folders", ())]
        if raw["data"].get("pack"):
            raw["data"]["pack"] = os.path.normpath(base / raw["data"]["pack"])
    if validate:
        raw["validation"] = {**raw.get("validation", {}), "folder": _absolute(validate)}
    elif raw.get("validation", {}).get("folder"):
        raw["validation"]["folder"] = os.path.normpath(base / raw["validation"]["folder"])
    if raw.get("start", {}).get("checkpoint") and (base / raw["start"]["checkpoint"]).is_file():
        raw["start"]["checkpoint"] = os.path.normpath(base / raw["start"]["checkpoint"])
    if minutes is not None:
        if not minutes > 0:
            raise RecipeError(f"--minutes {minutes:g}: wanted more than 0")
        raw["schedule"] |= {"minutes": minutes, "steps": None}
    return parse_recipe(raw, source=str(path))


def _absolute(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _open(recipe: Recipe, packs: Path, console: Console) -> Pack:
    """The recipe's pack, made with a progress bar if it is not there yet."""
    from superfine.cli.pack import progress_bar, show_left_out
    from superfine.training.data.open_pack import pack_of

    left_out: list[str] = []
    with progress_bar(console) as start:
        pack = pack_of(recipe, packs, progress=start("packing"), left_out=left_out.append)
    show_left_out(left_out, console)
    return pack


def _parts(recipe: Recipe, texts: list[str]) -> list[str]:
    """One line a stage, with where it ends, if there are several."""
    if len(texts) == 1:
        return texts
    return [f"to {stage.until:.0%}: {text}" for stage, text in zip(recipe.stages(), texts, strict=True)]


def _dry_run(recipe: Recipe, packs: Path, folder: Path, console: Console) -> None:
    from rich.console import Console
    from rich.table import Table

    from superfine.cli.messages import size_of, time_of
    from superfine.training.estimate import estimate

    pack = _open(recipe, packs, console)
    with console.status("timing a few steps at each scale"):
        found = estimate(recipe, pack)
    pixels = sum(plane.height * plane.width for picture in pack for plane in picture.lr.values()) / len(pack.scales)
    table = Table(show_header=False, title=f"{recipe.name}, as it would run here", title_justify="left")
    stages = recipe.stages()
    batches = [f"{stage.batch} patches of {stage.patch}x{stage.patch} LR pixels, {stage.loss}" for stage in stages]
    at = [
        ", ".join(f"x{scale} {took:.3f} s" for (of, scale), took in found.step_seconds.items() if of == number)
        for number in range(len(stages))
    ]
    network = f"{recipe.network.name}, {found.parameters:,} parameters, {found.device} {found.precision}"
    seen = found.lr_pixels / pixels
    rows = {
        "network": network,
        "data": f"{len(pack)} pictures, {size_of(pack.path.stat().st_size)} ({pack.path})",
        "batch": "\n".join(_parts(recipe, batches)),
        "a step": "\n".join([f"{found.mean_step:.3f} s on average", *_parts(recipe, at)]),
        "steps": f"{found.steps:,}: each picture seen {seen:,.0f} times over",
        "time": f"{time_of(found.seconds)}, validation and saving not counted",
        "memory": f"{size_of(found.memory)} at most so far" if found.memory else "not known here",
        "would go into": f"{folder}; nothing was written there",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
