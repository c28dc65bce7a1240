"""`superfine train`: a recipe becomes weights."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.errors import RecipeError

if TYPE_CHECKING:
    from rich.console import Console

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

    from superfine.cli.train_output import Display
    from superfine.training.recipe import resolve_recipe

    begin, console = time.perf_counter(), Console(stderr=True)
    if within is not None and not within > 0:
        raise RecipeError(f"--within {within:g}: wanted more than 0 minutes")
    end = None if within is None else begin + within * 60
    chosen = resolve_recipe(recipe, data=data or (), pack=pack, validate=validate, minutes=minutes)
    folder = out or Path("runs") / chosen.name
    if dry_run:
        _dry_run(chosen, packs, folder, console)
        return
    from superfine.training.run import train as train_recipe

    with Display(console) as display:
        trained = train_recipe(
            chosen, folder, packs=packs, resume=resume, tensorboard=tensorboard, end=end, watcher=display
        )
    if trained:
        print(f"{trained.weights}\n{trained.report}")


def _parts(recipe: Recipe, texts: list[str]) -> list[str]:
    """One line a stage, with where it ends, if there are several."""
    if len(texts) == 1:
        return texts
    return [f"to {stage.until:.0%}: {text}" for stage, text in zip(recipe.stages(), texts, strict=True)]


def _dry_run(recipe: Recipe, packs: Path, folder: Path, console: Console) -> None:
    from rich.console import Console
    from rich.table import Table

    from superfine.cli.messages import size_of, time_of
    from superfine.cli.train_output import Display
    from superfine.training.estimate import estimate
    from superfine.training.run import watched_pack

    with Display(console) as display:
        pack = watched_pack(recipe, packs, display)
        display.preparing("timing a few steps at each scale")
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
