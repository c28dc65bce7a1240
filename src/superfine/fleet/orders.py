"""Define the messages between the process that hands out work and the workers."""

from __future__ import annotations

from dataclasses import dataclass, field

from superfine.fleet.store import Store
from superfine.fleet.tasks import Task
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler

READ, COMPUTE, WRITE = STAGES = ("read", "compute", "write")
"""Fetch and decode; run the network; encode and put in place."""


@dataclass(frozen=True)
class Orders:
    """All that a worker needs to know beside its tasks."""

    upscaler: Upscaler
    target: Target
    settings: Settings
    output: Store
    scratch: Store
    """Parts of large pictures and videos, until they are joined."""
    cores: int
    """Cores of a worker; 0 leaves the choice to the system."""
    split_from: int | None
    """Pixels of a source from which on several workers share it; None: never."""
    parts: int
    """Parts that it is cut into, at most."""


@dataclass(frozen=True)
class Errand:
    """One thing for a worker to do: a whole task, a part of it, or joining the parts."""

    task: Task
    kind: str
    """The method of Worker: "whole", "part" or "join"."""
    first: int = 0
    last: int = 0
    """Of a part: of a picture, the strips first ≤ s < last of the result; of a video, the frames first < pts ≤ last."""
    number: int = 0
    """Of a part: its place among all."""
    count: int = 1
    """Of a join: the parts there are."""


@dataclass(frozen=True)
class Report:
    """The end of an errand."""

    errand: Errand
    error: str = ""
    hopeless: bool = False
    """The error is the store's, not the picture's: the run has to stop."""
    parts: tuple[Errand, ...] = ()
    """Not done, but cut into these."""
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)
    frames: int = 1
    source_bytes: int = 0
    source_sha256: str = ""
    target_bytes: int = 0
    target_sha256: str = ""
    changes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage → seconds that it worked."""
    host: str = ""


@dataclass(frozen=True)
class Hello:
    """A worker's introduction, once its network is open."""

    version: str
    digest: str
    """Of the weights."""
    engine: str
    """ "esrgcnn x4, openvino bf16"."""
    pid: int
