"""Figures as the CFSRCNN and ESRGCNN papers print them, in CSV files beside this one; protocol `paper`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

NETWORKS = {"esrgcnn": "ESRGCNN", "cfsrcnn": "CFSRCNN", "bicubic": "Bicubic"}
"""our name of a network or interpolation → the papers' name of the method"""

PROTOCOL = "paper"
"""The protocol the printed figures were measured under; no other compares with them."""


@dataclass(frozen=True)
class Published:
    """One printed cell."""

    source: str  # "esrgcnn-paper", "cfsrcnn-paper" or "both"
    method: str
    set: str
    scale: int
    psnr: float  # dB, luma
    ssim: float


def _read(name: str) -> list[dict[str, str]]:
    text = (resources.files("superfine.benchmark") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


@cache
def results() -> tuple[Published, ...]:
    """Every printed PSNR and SSIM, in the papers' order."""
    return tuple(
        Published(
            row["source"],
            row["method"],
            row["dataset"],
            int(row["scale"]),
            float(row["psnr_y"]),
            float(row["ssim_y"]),
        )
        for row in _read("published_results.csv")
    )


def methods() -> list[str]:
    """The printed methods, in the papers' order."""
    return list(dict.fromkeys(each.method for each in results()))


def find(method: str, set: str, scale: int) -> Published | None:
    """The printed cell of a method (the papers' name), set and scale, or None."""
    return next((p for p in results() if (p.method, p.set, p.scale) == (method, set, scale)), None)


@dataclass(frozen=True)
class Cost:
    """What a paper prints about a network's size and speed, for x2."""

    source: str
    method: str
    parameters: int
    gflops: float | None  # where one is printed
    seconds: dict[int, float]  # side of the HR picture in pixels → seconds on the paper's GPU


@cache
def costs() -> tuple[Cost, ...]:
    """Printed parameters, operations and run times."""
    return tuple(
        Cost(
            row["source"],
            row["method"],
            int(row["params"]),
            float(row["flops_g"]) if row["flops_g"] else None,
            {side: float(row[f"time_{side}"]) for side in (256, 512, 1024)},
        )
        for row in _read("published_costs.csv")
    )
