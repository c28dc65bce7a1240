"""A recipe: everything needed to train a checkpoint again, as one TOML file.

Every field is checked when the recipe is read; unknown fields are refused, so that a misspelt one
cannot silently mean its default.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from superfine.errors import RecipeError
from superfine.nets import NETWORKS, NetworkConfig

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


class _Section(BaseModel):
    # Each field's docstring becomes its description, from which template.py writes a commented recipe.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class NetworkSection(_Section):
    """[network]: which network, and how large."""

    name: str
    """Which network: "esrgcnn" (faster) or "cfsrcnn"."""
    scales: tuple[Scale, ...] = (2, 3, 4)
    """Magnifications with an upsampler branch, ascending."""

    @model_validator(mode="wrap")
    @classmethod
    def _with_its_sizes(cls, raw: Any, handler: ModelWrapValidatorHandler[NetworkSection]) -> NetworkSection:
        """Check against the section of the named network, which has its configuration's fields."""
        name = raw.get("name") if isinstance(raw, dict) else None
        if cls is NetworkSection and isinstance(name, str) and name in NETWORKS:
            return _section_of(name).model_validate(raw)
        return handler(raw)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NETWORKS:
            raise ValueError(f"choose from {', '.join(NETWORKS)}")
        return name

    def config(self) -> NetworkConfig:
        """Return the frozen configuration of nets/. Raises ValueError for an impossible one."""
        config: type[Any] = NETWORKS[self.name].Config
        made: NetworkConfig = config(**{field.name: getattr(self, field.name) for field in fields(config)})
        return made


@cache
def _section_of(name: str) -> type[NetworkSection]:
    """Make a network's section: NetworkSection with the sizes of its configuration, their defaults and docstrings."""
    config = NETWORKS[name].Config
    (definition,) = ast.parse(inspect.getsource(config)).body
    assert isinstance(definition, ast.ClassDef)
    about: dict[str, str] = {}
    for statement, docstring in pairwise(definition.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(docstring, ast.Expr):
            about[ast.unparse(statement.target)] = ast.literal_eval(docstring.value)
    sizes = {
        field.name: (Annotated[int, Field(strict=True, description=about.get(field.name))], field.default)
        for field in fields(config)
        if field.name != "scales"
    }
    doc = NetworkSection.__doc__
    return create_model("NetworkSection", __base__=NetworkSection, __doc__=doc, **sizes)  # type: ignore[call-overload, no-any-return]


class DataSection(_Section):
    """[data]: which pictures, and how patches are cut from them."""

    folders: tuple[str, ...] = ()
    """Folders of training pictures, searched recursively; relative paths start at the recipe's folder."""
    pack: str | None = None
    """A ready pack instead of folders: what `superfine pack` made, with or without --limit."""
    exclude: tuple[str, ...] = ()
    """File names never trained on."""
    extra_downscales: tuple[Annotated[float, Field(gt=0.1, lt=1, strict=True)], ...] = ()
    """Every picture once more at each of these shares of its size, 0.6 to 0.9 say: more data, and no JPEG traces."""
    patch: Positive = 32
    """Side of a patch, in LR pixels."""
    batch: Positive = 16
    """Patches a step (on every device)."""
    scale_odds: tuple[Above0, ...] | None = None
    """How often each of network.scales is trained, as weights like [2, 1, 1]; default: equally often."""

    @model_validator(mode="after")
    def _one_source(self) -> DataSection:
        if bool(self.folders) == bool(self.pack):
            raise ValueError("name either folders or a pack, not both and not neither")
        return self


class StartSection(_Section):
    """[start]: what the weights are before the first step."""

    kind: Literal["interpolator", "random", "checkpoint"] = "interpolator"
    """"interpolator" (already as good as bicubic), "random" (as the papers), or "checkpoint" (go on from weights)."""
    checkpoint: str | None = None
    """kind = "checkpoint": a weights file, or the name of a shipped model."""

    @model_validator(mode="after")
    def _named(self) -> StartSection:
        if (self.kind == "checkpoint") != (self.checkpoint is not None):
            raise ValueError('a checkpoint belongs to kind = "checkpoint", and only to it')
        return self


class OptimizerSection(_Section):
    """[optimizer]: how the weights move, and which loss they follow."""

    kind: Literal["adam", "muon"] = "adam"
    """"adam" for every weight; "muon" for the hidden kernels (all but head and tail), Adam for the rest."""
    rate: Annotated[float, Field(gt=0, lt=1, strict=True)] = 8e-4
    """Highest learning rate, of Adam."""
    muon_rate: Annotated[float, Field(gt=0, lt=1, strict=True)] = 3e-3
    """kind = "muon": highest learning rate of Muon, whose steps are matrices of norm 1."""
    muon_momentum: Decay = 0.95
    """kind = "muon": decay a step of the gradient's mean."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Adam's decays a step, of the gradient's mean and of its square."""
    eps: Above0 = 1e-8
    """Adam's guard against dividing by nothing."""
    weight_decay: Amount = 0.0
    """Decoupled (AdamW), a share of the weight a step at rate 1; 0 is plain Adam."""
    clip: Amount = 0.0
    """Largest gradient norm; 0 for no limit."""
    loss: Loss = "l1"
    """The loss, over RGB in 0..1: "l1", "mse", "charbonnier" (l1 rounded off at 0.001), "psnr" (patch by patch)."""
    ema: Decay = 0.999
    """Decay a step of the averaged weights, which are the ones validated and released; 0 for none."""


class ScheduleSection(_Section):
    """[schedule]: how long, and how the learning rate moves."""

    steps: Positive | None = None
    """Length in optimizer steps; this or minutes."""
    minutes: Above0 | None = None
    """Length in minutes of training time (validation and saving not counted), over all resumes."""
    warmup: Count = 100
    """Steps over which the rate rises linearly from nothing."""
    shape: Literal["cosine", "linear", "halve"] = "cosine"
    """How the rate falls after `hold`: along a cosine or a straight line to `final`, or by half at once."""
    hold: Share = 0.0
    """Share of the run, 0..1, at the highest rate before it falls; for "halve" the point where it is halved."""
    final: Share = 0.0
    """cosine, linear: the last rate, as a share of the highest."""

    @model_validator(mode="after")
    def _one_length(self) -> ScheduleSection:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give the length as steps or as minutes, one of the two")
        return self


class ValidationSection(_Section):
    """[validation]: PSNR on pictures that are never trained on (`standard` protocol)."""

    folder: str | None = None
    """HR pictures; LR is made by the bit-exact bicubic. None: no validation."""
    every: Above0 = 10.0
    """Minutes of training between two validations."""
    pictures: Positive = 24
    """How many of the folder's pictures at most, evenly over the sorted names; 8 were too few to tell 0.03 dB."""
    crop: Count = 288
    """Side of the centre crop measured, in HR pixels; 0 for whole pictures."""


class StageSection(_Section):
    """[[stage]]: one part of a run, with settings of its own; what is left out is as in [data] and [optimizer]."""

    until: Annotated[float, Field(gt=0, le=1, strict=True)]
    """Share of the run, 0..1, at which this stage ends; the last stage's is 1."""
    patch: Positive | None = None
    """Side of a patch, in LR pixels."""
    batch: Positive | None = None
    """Patches a step (on every device)."""
    loss: Loss | None = None
    """The loss: "l1", "mse", "charbonnier" or "psnr"."""
    scale_odds: tuple[Amount, ...] | None = None
    """How often each of network.scales is trained; 0 leaves one out of this stage."""


@dataclass(frozen=True)
class Stage:
    """A stage with every setting filled in."""

    until: float
    patch: int
    batch: int
    loss: str
    scale_odds: tuple[float, ...]


class HardwareSection(_Section):
    """[hardware]: how the arithmetic is done. It may change between resumes."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes CUDA, then MPS, then the CPU."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16: convolutions under autocast with float32 weights, loss and tail; auto takes it where it is native."""
    compile: Switch = False
    """torch.compile the network (pays on GPUs)."""
    threads: Count = 0
    """CPU threads; 0 for PyTorch's choice."""
    save_every: Annotated[float, Field(ge=0)] = 120.0
    """Seconds between two saves of the run: the most a killed run loses."""
    split: Annotated[float, Field(ge=0)] = 0.0
    """Largest file of the saved run, in MiB; 0 for one file."""


class Recipe(_Section):
    """A whole recipe."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The run's name, and its folder's: letters, digits, dots, dashes, underscores."""
    about: str = ""
    """One line for people."""
    seed: Count = 0
    """Decides every random choice: the start, the patches, the order of the scales."""
    network: SerializeAsAny[NetworkSection]
    data: DataSection
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
        flat: dict[str, Any] = {}
        for section, value in chosen.items():
            if isinstance(value, dict):
                flat.update({f"{section}.{name}": item for name, item in value.items()})
            else:
                flat[section] = value
        return flat


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
