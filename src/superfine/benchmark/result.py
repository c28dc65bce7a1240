"""Hold a benchmark's result in plain records that go to JSON and back without loss."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable
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
    """The figures of one picture under one method and protocol: metric → value."""

    name: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Row:
    """The figures of one set at one scale with one method under one protocol."""

    set: str
    scale: int
    model: str
    protocol: str
    figures: dict[str, float]  # metric → mean over the pictures
    pictures: list[PictureFigures]
    seconds: float  # spent upscaling, all pictures together


@dataclass(frozen=True)
class SetRecord:
    """The data a row was measured on."""

    name: str  # with what degraded its LR pictures, if anything: "Set5 jpeg:40"
    scale: int
    layout: str
    lr: str  # "file", or "made" by the bit-exact bicubic
    sha256: str  # over the names and pixel hashes of all pairs, in order
    pictures: dict[str, dict[str, Any]]  # name → {"hr": pixel hash, "lr": pixel hash, "gray": bool, "size": [w, h]}
    left_out: list[str] = field(default_factory=list)  # reasons, one a picture that could not be used
    degraded: str = ""  # what degraded the LR pictures, in order: "jpeg:40,noise:15"


@dataclass(frozen=True)
class Result:
    """Everything one `superfine benchmark` measured."""

    rows: list[Row]
    sets: list[SetRecord]
    models: list[dict[str, Any]]  # MethodInfo, one a model and scale, with "scale"
    protocols: dict[str, dict[str, Any]]  # name → the protocol's own fields
    versions: dict[str, str]
    machine: dict[str, Any]
    created: str  # UTC, ISO 8601

    def row(self, set: str, scale: int, model: str, protocol: str) -> Row | None:
        """Find the row of a set, scale, model and protocol; None if it was not measured."""
        key = (set, scale, model, protocol)
        return next((row for row in self.rows if (row.set, row.scale, row.model, row.protocol) == key), None)


def versions(*more: str) -> dict[str, str]:
    """Look up the installed versions of superfine, of what its figures depend on, and of the packages `more`."""
    found = {"python": platform.python_version()}
    for name in ("superfine", "numpy", "pillow", "openvino", "torch", *more):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Describe this machine: the processor, its cores, the memory in GiB and the system."""
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
    """Give the time, UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    """Write infinity, the PSNR of two equal pictures, as the text "inf": JSON has no number for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def to_json(result: Result) -> str:
    """Write the result as JSON text that `from_json` reads."""
    return json.dumps({"format": FORMAT, **_plain(asdict(result))}, indent=1, allow_nan=False) + "\n"


def _figures(raw: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in raw.items()}


def from_json(text: str, name: str = "the result") -> Result:
    """Read a result from JSON text; `name` is what messages call it.

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
    """Read a result from a JSON file; raise DataError as `from_json` does, or where there is no such file."""
    if not path.is_file():
        raise DataError(f"no result file {path}; write one with superfine benchmark --json {path.name}")
    return from_json(path.read_text(encoding="utf-8"), str(path))


def save(text: str, path: Path) -> None:
    """Write text to `path` whole or not at all; raise DataError where it cannot be written."""
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def check_writable(paths: Iterable[Path | None]) -> None:
    """Raise DataError for a path whose folder does not exist: before an hour of measuring, not after it."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise DataError(f"cannot write {path}: there is no folder {path.parent}; make it first")
