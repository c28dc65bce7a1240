"""A recipe: everything needed to train a checkpoint again.

Every field is checked when the recipe is read; unknown fields are refused, so that a misspelt one
cannot silently mean its default.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, SerializeAsAny, model_validator

from superfine.training.recipe.degradation import DegradationSection
from superfine.training.recipe.fields import Count, Section
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


@dataclass(frozen=True)
class Stage:
    """A stage with every setting filled in."""

    until: float
    patch: int
    batch: int
    loss: str
    scale_odds: tuple[float, ...]


class Recipe(Section):
    """A whole recipe."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The run's name, and its folder's: letters, digits, dots, dashes, underscores."""
    about: str = ""
    """One line for people."""
    seed: Count = 0
    """Decides every random choice: the start, the patches, the order of the scales."""
    network: SerializeAsAny[NetworkSection]
    data: DataSection
    degradation: DegradationSection = DegradationSection()
    start: StartSection = StartSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection
    validation: ValidationSection = ValidationSection()
    hardware: HardwareSection = HardwareSection()
    stage: tuple[StageSection, ...] = ()
    """Parts of the run with settings of their own, in order; none: one part, as [data] and [optimizer] say."""

    @model_validator(mode="after")
    def _odds_fit(self) -> Recipe:
        stages = ((f"stage.{number}", stage.scale_odds) for number, stage in enumerate(self.stage))
        for where, odds in [("data", self.data.scale_odds), *stages]:
            if odds is not None and len(odds) != len(self.network.scales):
                raise ValueError(f"{where}.scale_odds wants one number for each of network.scales")
            if odds is not None and not any(odds):
                raise ValueError(f"{where}.scale_odds leaves every scale out")
        return self

    @model_validator(mode="after")
    def _stages_follow(self) -> Recipe:
        ends = [stage.until for stage in self.stage]
        if ends and (ends != sorted(set(ends)) or ends[-1] != 1):
            raise ValueError(f"the stages' until must rise and end at 1.0, not {ends}")
        return self

    def stages(self) -> tuple[Stage, ...]:
        """List the run's parts, in order, every setting filled in; at least one."""
        data = self.data
        odds = data.scale_odds or (1.0,) * len(self.network.scales)
        return tuple(
            Stage(
                until=part.until,
                patch=part.patch or data.patch,
                batch=part.batch or data.batch,
                loss=part.loss or self.optimizer.loss,
                scale_odds=part.scale_odds or odds,
            )
            for part in self.stage or (StageSection(until=1.0),)
        )

    def stage_at(self, done: float) -> Stage:
        """Return the stage of a run that is `done` (0..1) of the way."""
        stages = self.stages()
        return next((stage for stage in stages if done < stage.until), stages[-1])

    def identity(self) -> str:
        """Hash everything that decides the weights; two runs with the same one may resume each other."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()[:16]

    def decisive(self) -> dict[str, Any]:
        """List the fields that decide the weights, flat: "optimizer.rate" → 0.0008.

        The place of the data does not count; the pack's own identity does.
        """
        chosen = self.model_dump(
            mode="json",
            exclude={"hardware": True, "validation": True, "about": True, "name": True, "data": {"folders", "pack"}},
        )
        if not self.degradation.active:  # so that runs begun before there were degradations go on
            del chosen["degradation"]
        flat: dict[str, Any] = {}
        for section, value in chosen.items():
            if isinstance(value, dict):
                flat.update({f"{section}.{name}": item for name, item in value.items()})
            else:
                flat[section] = value
        return flat
