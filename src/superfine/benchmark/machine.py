"""Say what this machine has for superfine: engines that really run, instruction sets, memory, packages."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from superfine.benchmark.result import machine, versions
from superfine.benchmark.speed import reason_for
from superfine.engines import ENGINES, PRECISIONS, open_engine
from superfine.errors import EngineError, install_command
from superfine.version import __version__
from superfine.weights import find

_INSTRUCTIONS = (
    "sse4_2", "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
    "amx_bf16", "amx_int8", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip
"""Names in /proc/cpuinfo of what the engines gain from; the last seven are ARM's."""


@dataclass(frozen=True)
class EngineCheck:
    """One engine, tried on a picture of a few pixels at every precision."""

    engine: str
    precisions: tuple[str, ...]
    """Those that ran; empty if none did."""
    device: str
    """Where it computes; empty if it does not."""
    refusal: str
    """The reason that it does not run, one line; empty if it does."""


@dataclass(frozen=True)
class Extra:
    """An optional dependency of superfine."""

    name: str
    missing: tuple[str, ...]
    """Packages of it that are not installed."""
    command: str
    """Adds them."""


@dataclass(frozen=True)
class Machine:
    """The findings of `examine_machine`."""

    facts: dict[str, Any]
    """cpu, cores, system, memory_gib, and free_gib where the system tells."""
    instructions: tuple[str, ...]
    versions: dict[str, str]
    engines: tuple[EngineCheck, ...]
    auto: str
    """The engine, precision and device that auto takes."""
    reason: str
    extras: tuple[Extra, ...]
    """Empty where superfine runs out of a clone without being installed: nothing says then what belongs to it."""

    @property
    def healthy(self) -> bool:
        """True if `auto` leads to an engine that runs."""
        return bool(self.auto)


def examine_machine() -> Machine:
    """Look at the machine, and try every engine there is with the default model at x2. Takes some seconds."""
    try:
        chosen = open_engine(find("esrgcnn"), 2)
        auto, reason = f"{chosen.name} {chosen.precision} on {chosen.device}", reason_for(chosen)
    except EngineError as error:
        auto, reason = "", str(error)
    return Machine(
        facts=machine() | _free_memory(),
        instructions=instruction_sets(),
        versions=versions("safetensors", "onnxruntime", "av") | {"superfine": __version__},
        engines=tuple(_check(name) for name in ENGINES if name not in ("auto", "nearest")),
        auto=auto,
        reason=reason,
        extras=extras(),
    )


def _check(engine: str) -> EngineCheck:
    """Run one engine at every precision on a picture of 16x16 pixels."""
    tile = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    ran, device, refusal = [], "", ""
    for precision in PRECISIONS[1:]:
        try:
            opened = open_engine(find("esrgcnn"), 2, engine, precision)
            sound = opened.run_uint8(tile).std() > 0
        except Exception as error:  # an engine may fail in any way; this is where it is told
            refusal = refusal or (str(error).strip().splitlines() or [type(error).__name__])[0]
            continue
        if sound:
            ran.append(precision)
            device = opened.device
        else:
            refusal = refusal or f"computed one colour in {precision}, out of noise"
    return EngineCheck(engine, tuple(ran), device, "" if ran else refusal)


def instruction_sets() -> tuple[str, ...]:
    """List the vector instructions the processor has, as Linux names them; elsewhere those that NumPy found."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", info.read_text(), re.MULTILINE)
        have = set(lines[0].split()) if lines else set()
        return tuple(name for name in _INSTRUCTIONS if name in have)
    build: Any = np.show_config(mode="dicts")
    found = build.get("SIMD Extensions", {})
    return tuple(found.get("baseline", []) + found.get("found", []))


def extras() -> tuple[Extra, ...]:
    """List the optional dependencies, as the installed superfine names them, and the packages each still lacks."""
    try:
        needs = metadata.requires("superfine") or []
    except metadata.PackageNotFoundError:
        return ()
    missing: dict[str, list[str]] = {}
    for line in needs:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        package = re.match(r"[\w.-]+", line)
        if extra and package and package[0] != "superfine":
            missing.setdefault(extra[1], [])
            if not _is_installed(package[0]):
                missing[extra[1]].append(package[0])
    return tuple(Extra(name, tuple(lacks), install_command(name)) for name, lacks in missing.items())


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _free_memory() -> dict[str, float]:
    """Return the memory that programs can still take, in GiB, where the system tells."""
    info = Path("/proc/meminfo")
    if platform.system() != "Linux" or not info.is_file():
        return {}
    found = re.search(r"^MemAvailable:\s+(\d+) kB", info.read_text(), re.MULTILINE)
    return {"free_gib": round(int(found[1]) / 2**20, 1)} if found else {}
