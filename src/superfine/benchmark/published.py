"""Read the figures that the CFSRCNN and ESRGCNN papers print, from CSV files beside this one."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

NETWORKS = {"esrgcnn": "ESRGCNN", "cfsrcnn": "CFSRCNN", "bicubic": "Bicubic"}
"""our name of a network or interpolation → the papers' name of the method"""

REMARKS = {"cfsrcnn": ", the upsampler counted once"}
"""The network's name → how its paper counts multiply-adds, where that is not plain."""

PROTOCOL = "paper"
"""The protocol the printed figures were measured under; figures of no other compare with them."""


@dataclass(frozen=True)
class PublishedFigures:
    """The printed figures of one method on one set at one scale."""

    method: str
    set: str
    scale: int
    psnr: float  # dB, luma
    ssim: float


@dataclass(frozen=True)
class PublishedCost:
    """The size of a network as its paper prints it, for x2."""

    method: str
    parameters: int
    gflops: float | None  # where one is printed


def _read(name: str) -> list[dict[str, str]]:
    text = (resources.files("superfine.benchmark") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


@cache
def figures() -> tuple[PublishedFigures, ...]:
    """Read every printed PSNR and SSIM, in the papers' order."""
    return tuple(
        PublishedFigures(row["method"], row["dataset"], int(row["scale"]), float(row["psnr_y"]), float(row["ssim_y"]))
        for row in _read("published_results.csv")
    )


def methods() -> list[str]:
    """List the printed methods, in the papers' order."""
    return list(dict.fromkeys(each.method for each in figures()))


def find(method: str, set: str, scale: int) -> PublishedFigures | None:
    """Find the printed figures of a method (the papers' name) on a set at a scale; None where none are printed."""
    return next((each for each in figures() if (each.method, each.set, each.scale) == (method, set, scale)), None)


@cache
def costs() -> tuple[PublishedCost, ...]:
    """Read the printed numbers of parameters and operations."""
    return tuple(
        PublishedCost(row["method"], int(row["params"]), float(row["flops_g"]) if row["flops_g"] else None)
        for row in _read("published_costs.csv")
    )
