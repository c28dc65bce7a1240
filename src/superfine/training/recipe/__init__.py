"""Recipes: everything needed to train a checkpoint again, as one TOML file."""

from superfine.training.recipe.degradation import DegradationSection
from superfine.training.recipe.fields import Loss, Scale
from superfine.training.recipe.read import parse_recipe, read_recipe, resolve_recipe
from superfine.training.recipe.recipe import Recipe, Stage
from superfine.training.recipe.sections import (
    DataSection,
    HardwareSection,
    NetworkSection,
    OptimizerSection,
    ScheduleSection,
    StageSection,
    StartSection,
    ValidationSection,
)

__all__ = [
    "DataSection",
    "DegradationSection",
    "HardwareSection",
    "Loss",
    "NetworkSection",
    "OptimizerSection",
    "Recipe",
    "Scale",
    "ScheduleSection",
    "Stage",
    "StageSection",
    "StartSection",
    "ValidationSection",
    "parse_recipe",
    "read_recipe",
    "resolve_recipe",
]
