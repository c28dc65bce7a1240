"""Read a recipe from its TOML file, or say in one line why not."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from superfine.errors import RecipeError
from superfine.training.recipe.recipe import Recipe


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises RecipeError with one line that names the field."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    return parse_recipe(raw, source=str(path))


def resolve_recipe(
    path: Path,
    *,
    data: Sequence[Path] = (),
    pack: Path | None = None,
    validate: Path | None = None,
    minutes: float | None = None,
) -> Recipe:
    """Read a recipe, make its paths absolute and apply the command line's changes. Raises RecipeError.

    data, pack: train on these folders or this pack instead. validate: validate on this folder. minutes: the new length.
    """
    raw = read_recipe(path).model_dump(exclude_unset=True)
    base = path.parent.absolute()

    def from_recipe(place: str) -> str:
        return os.path.normpath(base / place)

    def from_here(place: Path) -> str:
        return os.path.normpath(place.absolute())

    if data and pack:
        raise RecipeError("--data and --pack exclude each other: train on folders or on a pack")
    if data:
        raw["data"] |= {"folders": [from_here(folder) for folder in data], "pack": None}
    elif pack:
        raw["data"] |= {"folders": [], "pack": from_here(pack)}
    else:
        raw["data"]["folders"] = [from_recipe(folder) for folder in raw["data"].get("folders", ())]
        if raw["data"].get("pack"):
            raw["data"]["pack"] = from_recipe(raw["data"]["pack"])
    if validate:
        raw["validation"] = {**raw.get("validation", {}), "folder": from_here(validate)}
    elif raw.get("validation", {}).get("folder"):
        raw["validation"]["folder"] = from_recipe(raw["validation"]["folder"])
    if raw.get("start", {}).get("checkpoint") and (base / raw["start"]["checkpoint"]).is_file():
        raw["start"]["checkpoint"] = from_recipe(raw["start"]["checkpoint"])
    if minutes is not None:
        if not minutes > 0:
            raise RecipeError(f"--minutes {minutes:g}: wanted more than 0")
        raw["schedule"] |= {"minutes": minutes, "steps": None}
    return parse_recipe(raw, source=str(path))


def parse_recipe(raw: dict[str, Any], *, source: str) -> Recipe:
    """Check a parsed TOML document. Raises RecipeError."""
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors()]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RecipeError(f"{source}: {problems[0]}{more}") from error
    try:
        recipe.network.config()
    except ValueError as error:
        raise RecipeError(f"{source}: network: {error}") from error
    return recipe


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "recipe"
    if item["type"] == "extra_forbidden":
        return f"unknown field {where}"
    if item["type"] == "missing":
        return f"field {where} is missing"
    came = f", not {item['input']!r}" if not isinstance(item["input"], dict) else ""
    return f"{where}: {item['msg'][0].lower()}{item['msg'][1:]}{came}"
