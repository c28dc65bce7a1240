"""`superfine recipe`: a commented recipe to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def recipe(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="What to call it: the run's name, and its folder's.")
    ] = "my-recipe",
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
) -> None:
    """Print a recipe with every field, its meaning, unit and default.

    Write it to a file, change what you like, and train with it:

        superfine recipe my-photos --data photos --validate others > my-photos.toml
        superfine train my-photos.toml

    Only the name, the network's name, the folders and the length must be given; a field left out has its default.
    """
    from superfine.training.recipe import parse_recipe, read_recipe
    from superfine.training.template import recipe_text

    if source is not None:
        print(recipe_text(read_recipe(source)), end="")
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
    print(recipe_text(parse_recipe(raw, source="superfine recipe")), end="")
