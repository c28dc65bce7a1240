"""A recipe as commented TOML, written from the recipe's own classes, so that it cannot go stale."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from superfine.training.recipe import Recipe

WIDTH = 116

STAGES = (
    "A run may have parts, in order, with patch, batch, loss and scale_odds of their own; what a part leaves out is "
    "as above. until: the share of the run, 0..1, at which it ends. For example x2 alone first, then larger patches:"
)
STAGES_EXAMPLE = ("[[stage]]", "until = 0.35", "scale_odds = [1, 0, 0]", "", "[[stage]]", "until = 1.0", "patch = 48")


def recipe_text(recipe: Recipe) -> str:
    """Write the whole recipe as TOML: every field with its meaning, its unit, its default and its value.

    Fields without a value are there as comments. Reading the text gives the same recipe back.
    """
    lines = [
        "# A recipe for 'superfine train'. Lines that start with # are comments; a field left out has its default.",
        "# Paths start at this file's folder.",
    ]
    for name, field in Recipe.model_fields.items():
        if name != "stage" and not isinstance(getattr(recipe, name), BaseModel):
            lines += _field(name, field, getattr(recipe, name))
    for name in Recipe.model_fields:
        section = getattr(recipe, name)
        if isinstance(section, BaseModel):
            lines += _section(f"[{name}]", section)
    for stage in recipe.stage:
        lines += _section("[[stage]]", stage)
    if not recipe.stage:
        lines += ["", "", *_comment(STAGES), "#", *(f"# {line}" if line else "#" for line in STAGES_EXAMPLE)]
    return "\n".join(lines) + "\n"


def _section(head: str, section: BaseModel) -> list[str]:
    about = str(type(section).__doc__).split(": ", 1)[-1]
    lines = ["", "", *_comment(about[0].upper() + about[1:]), head]
    for key, field in type(section).model_fields.items():
        lines += _field(key, field, getattr(section, key))
    return lines


def _field(name: str, field: FieldInfo, value: Any) -> list[str]:
    about = " ".join(str(field.description).split())
    if field.is_required():
        default = "Must be given."
    elif field.default is None or field.default == ():
        default = "Default: none."
    else:
        default = f"Default: {_toml(field.default)}."
    lines = ["", *_comment(f"{about} {default}")]
    if value is None:
        return [*lines, f"# {name} ="]
    return [*lines, f"{name} = {_toml(value)}"]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH)]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # TOML's basic strings escape as JSON's do
    return repr(value)
