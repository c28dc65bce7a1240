"""A benchmark's result: plain records that go to JSON and back without loss."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from superfine.atomic import replace_file
from superfine.cores import cores
from superfine.errors import DataError

FORMAT = "superfine-benchmark-1"


@dataclass(frozen=True)
class PictureFigures:
    """One picture under one method and protocol: metric → value, and what it was measured on."""

    name: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Row:
    """One cell of a results table: a set, a scale, a method and a protocol."""

    set: str
    scale: int
    model: str
    protocol: str
    figures: dict[str, float]  # metric → mean over the pictures
    pictures: list[PictureFigures]
    seconds: float  # spent upscaling, all pictures together


@dataclass(frozen=True)
class SetRecord:
    """Which data a row was measured on."""

    name: str
    scale: int
    layout: str
    lr: str  # "file", or "made" by the bit-exact bicubic
    sha256: str  # over the names and pixel hashes of all pairs, in order
    pictures: dict[str, dict[str, Any]]  # name → {"hr": pixel hash, "lr": pixel hash, "gray": bool, "size": [w, h]}
    left_out: list[str] = field(default_factory=list)  # reasons, one a picture that could not be used


@dataclass(frozen=True)
class Result:
    """Everything one `superfine benchmark` found out."""

    rows: list[Row]
    sets: list[SetRecord]
    models: list[dict[str, Any]]  # MethodInfo, one a model and scale, with "scale"
    protocols: dict[str, dict[str, Any]]  # name → the protocol's own fields
    versions: dict[str, str]
    machine: dict[str, Any]
    created: str  # UTC, ISO 8601

    def row(self, set: str, scale: int, model: str, protocol: str) -> Row | None:
        """The row of that cell, or None."""
        key = (set, scale, model, protocol)
        return next((row for row in self.rows if (row.set, row.scale, row.model, row.protocol) == key), None)


def versions(*more: str) -> dict[str, str]:
    """Versions of superfine and of what its figures depend on, as installed here, and of the packages `more`."""
    found = {"python": platform.python_version()}
    for name in ("superfine", "numpy", "pillow", "openvino", "torch", *more):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The processor, its cores, the memory in GiB and the system."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = named[0] if named else cpu
    facts: dict[str, Any] = {"cpu": cpu, "cores": cores(), "system": platform.system()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return facts


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    """JSON has no infinity, which is the PSNR of two equal pictures: it is written as the text "inf"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def to_json(result: Result) -> str:
    """The result as JSON text, readable by `from_json`."""
    return json.dumps({"format": FORMAT, **_plain(asdict(result))}, indent=1, allow_nan=False) + "\n"


def _figures(raw: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in raw.items()}


def from_json(text: str, name: str = "the result") -> Result:
    """The result in JSON text.

    Raises:
        DataError: not a superfine benchmark result, or one cut short.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise DataError(f"{name} is not JSON ({error}); give a file written by superfine benchmark --json") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise DataError(f"{name} is not a {FORMAT} file; give one written by superfine benchmark --json")
    try:
        rows = [
            Row(
                **{
                    **row,
                    "figures": _figures(row["figures"]),
                    "pictures": [PictureFigures(each["name"], _figures(each["figures"])) for each in row["pictures"]],
                }
            )
            for row in raw["rows"]
        ]
        sets = [SetRecord(**each) for each in raw["sets"]]
        rest = {key: raw[key] for key in ("models", "protocols", "versions", "machine", "created")}
        return Result(rows=rows, sets=sets, **rest)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name} lacks or garbles a field ({error}); measure again with superfine benchmark") from error


def load(path: Path) -> Result:
    """The result in a JSON file; raises DataError as `from_json`, or where there is no such file."""
    if not path.is_file():
        raise DataError(f"no result file {path}; write one with superfine benchmark --json {path.name}")
    return from_json(path.read_text(encoding="utf-8"), str(path))


def save(text: str, path: Path) -> None:
    """Write text to `path` whole or not at all; raises DataError where it cannot be written."""
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
