"""`superfine recipe`: writes a commented recipe to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def recipe(
    name: Annotated[str, typer.Argument(help="Name of the run, and of its folder.")] = "my-recipe",
    network: Annotated[str, typer.Option("-n", "--network", help="esrgcnn or cfsrcnn.")] = "esrgcnn",
    data: Annotated[list[str] | None, typer.Option(help="A folder of pictures to train on. Several: repeat.")] = None,
    validate: Annotated[str | None, typer.Option(help="A folder of pictures to validate on, not to train on.")] = None,
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 30,
    start: Annotated[
        str | None, typer.Option(help="Go on from these weights: a file, or the name of a shipped model.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Comment this recipe instead; other options are not used.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A file to write; otherwise it is printed.")] = None,
) -> None:
    """Write a commented recipe to start from.

    - superfine recipe my-photos --data photos --validate others -o my-photos.toml
    - superfine train my-photos.toml

    It names every field with its meaning, unit and default: change what you like, and train with it. Only the name, the
    network's name, the folders and the length must be given; a field left out has its default.
    """
    from superfine.training.recipe import parse_recipe, read_recipe
    from superfine.training.template import recipe_text

    if source is not None:
        _write(recipe_text(read_recipe(source)), out)
        return
    raw: dict[str, Any] = {
        "name": name,
        "about": "one line on what this is for",
        "network": {"name": network},
        "data": {"folders": data or ["photos"]},
        "schedule": {"minutes": minutes, "hold": 0.4},
        "validation": {"folder": validate, "every": max(1.0, round(minutes / 6, 1))},
    }
    if start is not None:
        raw["start"] = {"kind": "checkpoint", "checkpoint": start}
    _write(recipe_text(parse_recipe(raw, source="superfine recipe")), out)


def _write(text: str, out: Path | None) -> None:
    """Write the recipe into a new file, or onto standard output. Raises RecipeError."""
    from superfine.errors import RecipeError

    if out is None:
        print(text, end="")
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(f"{out} is there already: name another file, or remove it first") from None
    except OSError as error:
        raise RecipeError(f"cannot write {out}: {(error.strerror or str(error)).lower()}") from None
    print(out)
