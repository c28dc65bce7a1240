"""The sections of a recipe: one class a table of the TOML file."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, create_model, field_validator, model_validator

from superfine.benchmark.degrade import name_of, parse_degradations
from superfine.errors import DataError
from superfine.nets import NETWORKS, NetworkConfig
from superfine.training.recipe.fields import Above0, Amount, Count, Decay, Loss, Positive, Scale, Section, Share, Switch


class NetworkSection(Section):
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


class DataSection(Section):
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


class StartSection(Section):
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


class OptimizerSection(Section):
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


class ScheduleSection(Section):
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


class ValidationSection(Section):
    """[validation]: PSNR on pictures that are never trained on (`standard` protocol)."""

    folder: str | None = None
    """HR pictures; LR is made by the bit-exact bicubic. None: no validation."""
    every: Above0 = 10.0
    """Minutes of training between two validations."""
    pictures: Positive = 24
    """How many of the folder's pictures at most, evenly over the sorted names; 8 were too few to tell 0.03 dB."""
    crop: Count = 288
    """Side of the centre crop measured, in HR pixels; 0 for whole pictures."""
    degrade: str = ""
    """How LR pictures are spoilt first, as `superfine benchmark --degrade` has it: "jpeg:60", "noise:15,jpeg:40"."""

    @field_validator("degrade")
    @classmethod
    def _understood(cls, degrade: str) -> str:
        try:
            return name_of(parse_degradations(degrade)) if degrade else ""
        except DataError as error:
            raise ValueError(str(error)) from error


class StageSection(Section):
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


class HardwareSection(Section):
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
