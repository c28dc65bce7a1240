"""The parts every section of a recipe is made of: a strict base, and numbers with their limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# Strict: TOML knows its types, and a quoted number or a true where a count belongs is a mistake.
Positive = Annotated[int, Field(gt=0, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Amount = Annotated[float, Field(ge=0, strict=True)]
Above0 = Annotated[float, Field(gt=0, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Decay = Annotated[float, Field(ge=0, lt=1, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Scale = Literal[2, 3, 4]
Loss = Literal["l1", "mse", "charbonnier", "psnr"]


class Section(BaseModel):
    # Each field's docstring becomes its description, from which template.py writes a commented recipe.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
