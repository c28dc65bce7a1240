"""Parameters of a request and the JSON of an answer: what OpenAPI shows of the interface."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from superfine.upscaling.auto import AUTO
from superfine.upscaling.batch.jobs import label_of
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import DEFAULT_SCALE, LARGEST_SIDE, Target, make_target
from superfine.web.jobs import Job, State
from superfine.web.problems import Problem, parameter_problem
from superfine.weights import list_models

Side = Annotated[int | None, Field(ge=1, le=LARGEST_SIDE)]
Words = Annotated[str | None, Field(max_length=64)]


class Parameters(BaseModel):
    """The parameters of a result; in the query or as fields of a form. At most one size may be named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Words = Field(None, description="A name of /v1/models; auto if none is given.")
    scale: Words = Field(None, description="How many times as wide and high: 2, 1.5. Without a size 4, videos 2.")
    width: Side = Field(None, description="Pixels; the height follows.")
    height: Side = Field(None, description="Pixels; the width follows.")
    long_edge: Side = Field(None, description="Pixels of the longer side.")
    short_edge: Side = Field(None, description="Pixels of the shorter side.")
    megapixels: Words = Field(None, description="Millions of pixels: 12, 0.5.")
    size: Words = Field(None, description="A box in pixels: 3840x2160.")
    print: Words = Field(None, description="A box on paper: 30x40cm@300dpi.")
    fit: Literal["contain", "cover", "stretch"] = Field("contain", description="How a box is filled.")
    format: Words = Field(None, description="png, jpg, webp, tiff, ...; that of the source if none is given.")
    quality: Annotated[int | None, Field(ge=1, le=100)] = Field(None, description="Of JPEG, WebP, AVIF, HEIC, JPEG XL.")
    dpi: Literal["keep", "scale"] = Field("keep", description="What becomes of the resolution for print.")
    note: bool = Field(False, description="Write into the result what made it.")
    deinterlace: bool | None = Field(None, description="Of interlaced videos: make whole frames, or not.")
    name: Annotated[str | None, Field(max_length=1000)] = Field(None, description="The file's name, for people.")
    again: Words = Field(None, description="The id of an earlier job, whose source is taken instead of a body.")

    def sizes(self) -> dict[str, Any]:
        """Return the sizes that are named: parameter → value."""
        names = ("scale", "width", "height", "long_edge", "short_edge", "megapixels", "size", "print")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def target(self, default_scale: int = DEFAULT_SCALE) -> Target:
        """Return the size as a Target. Raises PlanError for two sizes, and for one that is none."""
        return make_target(**self.sizes(), fit=self.fit, default_scale=default_scale)

    def label(self, default_scale: int = DEFAULT_SCALE) -> str:
        """Return what the result's name ends in: -x4, -3000w."""
        sizes = self.sizes() or {"scale": default_scale}
        return label_of(sizes)

    def settings(self, suffix: str, max_pixels: int) -> Settings:
        """Return how files are read and written; `suffix` is the result's."""
        return Settings(suffix, self.quality, max_pixels, note=self.note, scale_dpi=self.dpi == "scale")


def read_parameters(query: Mapping[str, str], form: Mapping[str, str]) -> Parameters:
    """Check the parameters of a request. Raises Problem."""
    twice = sorted(set(query) & set(form))
    if twice:
        raise Problem(422, "parameter", f"{twice[0]} is in the query and in the form: name it once")
    try:
        # A form sends fields that were left empty; they mean the same as none.
        return Parameters.model_validate({**query, **{key: value for key, value in form.items() if value != ""}})
    except ValidationError as error:
        raise parameter_problem(error.errors(), list(Parameters.model_fields)) from None


def clean_name(name: str | None) -> str:
    """Make a relative path without dots, drives and control characters out of a name that a client sent.

    It is shown and stands in archives; no file of that name is ever opened.
    """
    text = "".join(character for character in (name or "") if character.isprintable()).replace("\\", "/")
    parts = [part.strip().lstrip(".")[:150] for part in text.split("/")]
    parts = [part.translate(dict.fromkeys(map(ord, '<>:"|?*'), "_")) for part in parts if part]
    return "/".join(parts[-8:]) or "picture"


def result_name(name: str, label: str, suffix: str) -> str:
    """Name a result after its source: holiday/photo.jpg → holiday/photo-x4.png."""
    path = Path(name)
    return str(path.with_name(f"{path.stem}{label.replace('/', '-')}{suffix}").as_posix())


class Size(BaseModel):
    """A picture's size."""

    width: int
    height: int


class ProblemView(BaseModel):
    """A refusal, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class JobView(BaseModel):
    """A job as the interface shows it."""

    id: str
    name: str
    kind: Literal["picture", "video"]
    state: State
    share: float = Field(description="0..1")
    seconds_left: float | None
    ahead: int = Field(description="Jobs that come first.")
    model: str = Field(description="As it was asked for.")
    chosen: str | None = Field(description="The model that auto has chosen.")
    reason: str | None = Field(description="Why it was chosen.")
    source: Size
    result: Size
    frames: int
    passes: list[int] = Field(description="Scales of the network's passes.")
    result_name: str
    bytes: int = Field(description="Of the result's file; 0 before it is there.")
    kept: list[str]
    converted: list[str]
    problem: ProblemView | None

    @classmethod
    def of(cls, job: Job, ahead: int) -> JobView:
        """Describe a job."""
        left = job.seconds_left
        return cls(
            id=job.id, name=job.name, kind=job.subject.kind, state=job.state, share=round(job.share, 4),
            seconds_left=None if left is None or not math.isfinite(left) else round(left, 1), ahead=ahead,
            model=job.order.model, chosen=job.choice.model if job.choice else None,
            reason=job.choice.reason if job.choice else None,
            source=Size(width=job.subject.width, height=job.subject.height),
            result=Size(width=job.plan.output[0], height=job.plan.output[1]), frames=job.subject.frames,
            passes=list(job.plan.passes), result_name=job.result_name, bytes=job.bytes, kept=list(job.kept),
            converted=list(job.converted),
            problem=None if job.problem is None else ProblemView(**job.problem.fields()),
        )  # fmt: skip


class ModelView(BaseModel):
    """A model that may be named."""

    name: str
    title: str
    scales: list[int]
    parameters: int | None
    licence: str | None
    psnr: dict[str, float] = Field(description="dB on Set5, protocol standard, by scale.")


def list_model_views() -> list[ModelView]:
    """Describe all models that may be named."""
    entries = list_models()
    scales = sorted(set.intersection(*(set(entry.scales) for entry in entries)))
    auto = ModelView(
        name=AUTO, title="Auto (chosen for each picture)", scales=scales, parameters=None, licence=None, psnr={}
    )
    return [auto] + [
        ModelView(
            name=entry.name, title=entry.title, scales=list(entry.scales), parameters=entry.parameters,
            licence=entry.licence,
            psnr={str(s): p for s in entry.scales if (p := entry.psnr("Set5", s, "standard")) is not None},
        )
        for entry in entries
    ]  # fmt: skip


class Health(BaseModel):
    """A sign of life."""

    status: Literal["ok"]
    version: str
    waiting: int
    running: int


class LimitsView(BaseModel):
    """The bounds that a client can keep to before it sends anything."""

    upload: int = Field(description="Bytes of a body.")
    pixels: int = Field(description="Of a source and of a result.")
