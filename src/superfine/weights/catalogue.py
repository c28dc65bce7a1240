"""Read catalogue.toml: what each model in the package is, how it was made, what it measures."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
"""The folder of the shipped weights, graphs and catalogue.toml."""


@dataclass(frozen=True)
class Figure:
    """One measured line: a set, a scale, a protocol (see quality.protocols), the mean over its pictures."""

    set: str
    scale: int
    protocol: str
    psnr: float
    """dB"""
    ssim: float
    """0..1"""
    precision: str
    """The engine's precision: "fp32", "bf16", "fp16"."""


@dataclass(frozen=True)
class DataSet:
    """Pictures a model was trained on, and on what terms."""

    name: str
    terms: str


@dataclass(frozen=True)
class Entry:
    """One shipped model."""

    name: str
    network: str
    """Key of nets.NETWORKS."""
    title: str
    scales: tuple[int, ...]
    parameters: int
    """Trainable values, all scales."""
    licence: str
    weights: str
    """File name in the package."""
    sha256: str
    """SHA-256 of the weights file."""
    graphs: dict[int, tuple[str, str]]
    """scale → (file name, SHA-256)."""
    start: str
    """The weights that the training started from."""
    recipe: str
    """The recipe's file name under recipes/, or empty if nothing was trained on top of `start`."""
    steps: int
    seconds: float
    """Training time by the clock, of this recipe: not of what it started from."""
    hardware: str
    data: tuple[DataSet, ...]
    figures: tuple[Figure, ...]

    def psnr(self, set_name: str, scale: int, protocol: str) -> float | None:
        """Measured PSNR in dB, if this set was measured at this scale under this protocol."""
        for figure in self.figures:
            if (figure.set, figure.scale, figure.protocol) == (set_name, scale, protocol):
                return figure.psnr
        return None


@cache
def list_models(folder: Path = FOLDER) -> tuple[Entry, ...]:
    """List the shipped models: what each is, how it was made, what it measures. The first is the default."""
    path = folder / "catalogue.toml"
    if not path.is_file():
        return ()
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(read_entry(name, entry) for name, entry in fields.items())


def read_entry(name: str, fields: dict[str, Any]) -> Entry:
    """Read one table of catalogue.toml. Raises KeyError or TypeError for a field that is missing or unknown."""
    return Entry(
        name=name,
        network=fields["network"],
        title=fields["title"],
        scales=tuple(fields["scales"]),
        parameters=fields["parameters"],
        licence=fields["licence"],
        weights=fields["weights"],
        sha256=fields["sha256"],
        graphs={graph["scale"]: (graph["file"], graph["sha256"]) for graph in fields.get("graphs", [])},
        start=fields["start"],
        recipe=fields["recipe"],
        steps=fields["steps"],
        seconds=float(fields["seconds"]),
        hardware=fields["hardware"],
        data=tuple(DataSet(**row) for row in fields.get("data", [])),
        figures=tuple(Figure(**row) for row in fields.get("figures", [])),
    )
