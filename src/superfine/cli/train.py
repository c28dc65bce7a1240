"""`superfine train` and `superfine pack`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from superfine.errors import RecipeError

if TYPE_CHECKING:
    from rich.console import Console

    from superfine.training.loop import Progress
    from superfine.training.pack import Pack
    from superfine.training.recipe import Recipe


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder of the run. [default: runs/NAME]")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in that folder.")] = False,
    data: Annotated[list[Path] | None, typer.Option(help="Train on these folders instead of the recipe's.")] = None,
    validate: Annotated[Path | None, typer.Option(help="Validate on this folder instead of the recipe's.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train this long instead of the recipe's length.")] = None,
    packs: Annotated[Path, typer.Option(help="Where packed pictures are kept between runs.")] = Path("packs"),
) -> None:
    """Train a network from a recipe.

    The run's folder receives state.pt (to go on from, saved every two minutes), best.safetensors (best PSNR on the
    validation pictures), last.safetensors and history.json.

        superfine train recipes/esrgcnn-quick.toml --data my-photos --minutes 30
    """
    from rich.console import Console

    from superfine.training.loop import Run

    console = Console(stderr=True)
    chosen = _recipe(recipe, data, validate, minutes)
    folder = out or Path("runs") / chosen.name
    pack = _pack(chosen, packs, console)
    run = Run(chosen, pack, folder, resume=resume)
    (folder / "recipe.json").write_text(chosen.model_dump_json(indent=2))
    console.print(
        f"{chosen.name}: {chosen.network.name}, {len(pack)} pictures, {run.device.type} "
        f"{'bf16' if run.bf16 else 'fp32'}, from step {run.state.step}, into {folder}"
    )

    def validated(entry: dict[str, Any]) -> None:
        (folder / "history.json").write_text(json.dumps(run.state.history, indent=1))
        figures = " / ".join(f"x{scale} {value:.3f}" for scale, value in entry["psnr"].items())
        loss = "" if entry["loss"] is None else f", loss {entry['loss']:.5f}"
        console.print(f"step {entry['step']}, {entry['seconds'] / 60:.1f} min{loss}: {figures} dB (standard)")

    try:
        run.train(_Line(console).show, validated)
    except KeyboardInterrupt:
        console.print(f"stopped and saved at step {run.state.step}: go on with --resume")
        raise
    console.print(f"done: {folder / 'best.safetensors'}")


class _Line:
    """One line of progress: rewritten in place on a terminal, once a minute in a log."""

    def __init__(self, console: Console) -> None:
        self.console, self.every = console, 1.0 if console.is_terminal else 60.0
        self.shown, self.loss = 0.0, 0.0

    def show(self, now: Progress) -> None:
        self.loss = now.loss if now.loss is not None else self.loss
        clock = time.monotonic()
        if clock - self.shown < self.every:
            return
        self.shown = clock
        left = now.seconds / now.done - now.seconds if now.done > 0 else 0.0
        text = (
            f"step {now.step}  loss {self.loss:.5f}  rate {now.rate:.2e}  "
            f"{now.seconds / max(1, now.step):.2f} s/step  {left / 60:.0f} min left"
        )
        if self.console.is_terminal:
            sys.stderr.write(f"\r{text}   ")
            sys.stderr.flush()
        else:
            print(text, file=sys.stderr, flush=True)


def _recipe(path: Path, data: list[Path] | None, validate: Path | None, minutes: float | None) -> Recipe:
    """The recipe with its relative paths resolved and the command line's changes applied."""
    from superfine.training.recipe import parse_recipe, read_recipe

    raw = read_recipe(path).model_dump(exclude_unset=True)
    base = path.parent
    if data:
        raw["data"] = {**raw["data"], "folders": [str(folder) for folder in data], "pack": None}
    else:
        raw["data"]["folders"] = [str(base / folder) for folder in raw["data"].get("folders", ())]
        if raw["data"].get("pack"):
            raw["data"]["pack"] = str(base / raw["data"]["pack"])
    if validate:
        raw["validation"] = {**raw.get("validation", {}), "folder": str(validate)}
    elif raw.get("validation", {}).get("folder"):
        raw["validation"]["folder"] = str(base / raw["validation"]["folder"])
    if raw.get("start", {}).get("checkpoint") and (base / raw["start"]["checkpoint"]).is_file():
        raw["start"]["checkpoint"] = str(base / raw["start"]["checkpoint"])
    if minutes is not None:
        if minutes <= 0:
            raise RecipeError(f"--minutes {minutes:g}: wanted more than 0")
        raw["schedule"] = {**raw["schedule"], "minutes": minutes, "steps": None}
    return parse_recipe(raw, source=str(path))


def _pack(recipe: Recipe, packs: Path, console: Console) -> Pack:
    """Open the recipe's pack; make it first if it is named by folders and not there yet."""
    import hashlib

    from superfine.training.pack import Pack, PackOptions, write_pack
    from superfine.training.pictures import find_pictures

    if recipe.data.pack:
        return Pack(Path(recipe.data.pack))
    paths = find_pictures([Path(folder) for folder in recipe.data.folders], recipe.data.exclude)
    smallest = recipe.data.patch * max(recipe.network.scales)
    options = PackOptions(recipe.network.scales, recipe.data.extra_downscales, smallest)
    listing = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = hashlib.sha256(json.dumps([listing, options.__dict__]).encode()).hexdigest()[:16]
    target = packs / f"{key}.pack"
    if not target.exists():
        from rich.progress import Progress as Bar

        with Bar(console=console) as bar:
            task = bar.add_task("packing", total=len(paths))
            report = write_pack(target, paths, options, progress=lambda done, _: bar.update(task, completed=done))
        for line in report.left_out:
            console.print(f"left out: {line}")
    return Pack(target)
