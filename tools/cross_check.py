"""Build the compiled kernels for other systems and processors, and run them where an emulator is installed.

    python tools/cross_check.py [PLATFORM ...]

Compilers: Zig for every platform (`pip install ziglang`), GCC's for ARM and for Windows (Debian's
`g++-aarch64-linux-gnu`, `g++-mingw-w64-x86-64-posix`), this machine's own. Emulators: `qemu-user-static` for Linux on
other processors, `wine64` for Windows. What is missing is said and skipped. Each program computes windows of both
networks and one step of training; pictures are compared with OpenVINO's here (1e-4), convolutions with float64, and
pixels of cut windows with those of the whole picture, to the bit. Exit code 1 if anything that could be tried failed.
Emulators say nothing about speed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cross_cases import cases, judge

ROOT = Path(__file__).resolve().parents[1]
DRIVER = ROOT / "tools/cross_driver.cpp"
PATIENCE = 1800
"""Seconds that a program may take, in an emulator on a busy machine."""


@dataclass(frozen=True)
class Run:
    """One way to run a platform's program."""

    processor: str
    wanted: str
    """Instructions it must choose; "any": whichever there are; "none": it must say that there are none."""
    command: tuple[str, ...] = ()
    """What runs it: an emulator and its options."""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Platform:
    """A system and a processor the kernels are built for."""

    name: str
    compiler: tuple[str, ...]
    system: str = "linux"
    runs: tuple[Run, ...] = ()
    static: tuple[str, ...] = ("-static",)
    """Options for a result that needs none of the compiler's own libraries."""


def zig(target: str) -> tuple[str, ...]:
    """Return the command of Zig's C++ compiler for a target."""
    if shutil.which("zig"):
        return ("zig", "c++", "-target", target)
    return (sys.executable, "-m", "ziglang", "c++", "-target", target)


HERE = Run("as it is", "any")
ARM = (Run("QEMU", "NEON", ("qemu-aarch64-static",)),)
WINE = (Run("Wine", "any", ("wine",)), Run("Wine", "AVX2", ("wine",), {"SUPERFINE_INSTRUCTIONS": "AVX2"}))
PLATFORMS = (
    Platform(
        "linux-x86_64", ("g++",), runs=(
            HERE,
            Run("as it is", "AVX2", variables={"SUPERFINE_INSTRUCTIONS": "AVX2"}),
            Run("QEMU's Haswell", "AVX2", ("qemu-x86_64-static", "-cpu", "Haswell")),
            Run("QEMU's Nehalem", "none", ("qemu-x86_64-static", "-cpu", "Nehalem")),
        ),
    ),
    Platform("linux-aarch64", ("aarch64-linux-gnu-g++",), runs=ARM),
    Platform("linux-aarch64-clang", zig("aarch64-linux-musl"), runs=ARM),
    Platform("windows-x86_64", zig("x86_64-windows-gnu"), "windows", WINE, ()),
    Platform("windows-x86_64-gcc", ("x86_64-w64-mingw32-g++",), "windows", WINE),
    Platform("windows-aarch64", zig("aarch64-windows-gnu"), "windows", static=()),
    Platform("macos-aarch64", zig("aarch64-macos"), "macos", static=()),
    Platform("macos-x86_64", zig("x86_64-macos"), "macos", static=()),
    Platform("linux-i686", zig("x86-linux-musl"), runs=(Run("QEMU", "none", ("qemu-i386-static",)),)),
    Platform("linux-s390x", zig("s390x-linux-musl"), runs=(Run("QEMU", "none", ("qemu-s390x-static",)),)),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    platform: str
    processor: str
    built: str
    ran: str
    pictures: str = ""
    int16: str = ""
    training: str = ""
    failed: bool = False


def missing(command: Sequence[str]) -> str:
    """Say what a command lacks to be run here; an empty text if it can be."""
    if command and shutil.which(command[0]) is None:
        return f"{command[0]} is not installed"
    if command[1:2] == ("-m",) and find_spec(command[2]) is None:
        return "Zig is not installed"
    return ""


@cache
def options() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sources and the options for compilers that the package's own build has."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        (extension,) = tomllib.load(file)["tool"]["setuptools"]["ext-modules"]
    return tuple(str(ROOT / name) for name in extension["sources"]), tuple(extension["extra-compile-args"])


def build(target: Platform, folder: Path) -> Path:
    """Build the library, and the program that uses it; return the program. Raises CalledProcessError.

    Linux: the program holds the library, so that it needs nothing of the system it is for. Elsewhere it loads it.
    """
    sources, chosen = options()
    compile_ = (*target.compiler, *chosen, "-pthread")
    program = folder / ("driver.exe" if target.system == "windows" else "driver")
    if target.system == "linux":
        _call((*compile_, *target.static, *sources, str(DRIVER), "-o", str(program)), folder)
        return program
    library = folder / {"windows": "_native.dll", "macos": "_native.abi3.so"}[target.system]
    _call((*compile_, *target.static, "-shared", *sources, "-o", str(library)), folder)
    implied = folder / "_native.lib"  # Zig's import library; GNU's linker reads the DLL itself
    with_it = implied if implied.is_file() else library
    _call((*compile_, *target.static, str(DRIVER), str(with_it), "-o", str(program)), folder)
    return program


def try_run(program: Path, run: Run) -> Row:
    """Run a program's cases and judge them. Raises CalledProcessError, TimeoutExpired, ValueError."""
    folder, name = program.parent, program.parent.name
    settings = {"WINEPREFIX": str(folder.parent / "wine"), "WINEDEBUG": "-all", **run.variables}
    command = (*run.command, str(program))
    found = _call(command, folder, settings).split()
    if not found or (run.wanted != "any" and found[0] != run.wanted):
        return Row(name, run.processor, "yes", f"chose {' '.join(found)}, wanted {run.wanted}", failed=True)
    if found[0] == "none":
        return Row(name, run.processor, "yes", "none, as it must be")
    work = cases(int(found[1]), int(found[3]))
    (folder / "cases").write_bytes(work.content)
    _call((*command, "cases", "results"), folder, settings)
    verdict = judge(work.parse((folder / "results").read_bytes()), work.halo)
    ran = f"{found[0]}: {'; '.join(verdict.faults)}" if verdict.faults else found[0]
    int16 = f"{verdict.int16:.1e}" if verdict.int16 else "none"
    figures = f"{verdict.pictures:.1e}", int16, f"{verdict.training:.1e}"
    return Row(name, run.processor, "yes", ran, *figures, failed=bool(verdict.faults))


def check(target: Platform, folder: Path) -> list[Row]:
    """Build for one platform and run in every way that can be had here."""
    if why := missing(target.compiler):
        return [Row(target.name, "", f"no: {why}", "")]
    (folder / target.name).mkdir()
    try:
        program = build(target, folder / target.name)
    except subprocess.CalledProcessError as error:
        return [Row(target.name, "", f"failed: {_last_line(error)}", "", failed=True)]
    rows = []
    for run in target.runs:
        if not run.command and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            rows.append(Row(target.name, run.processor, "yes", "no: this machine is another"))
        elif why := missing(run.command):
            rows.append(Row(target.name, run.processor, "yes", f"no: {why}"))
        else:
            try:
                rows.append(try_run(program, run))
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired, ValueError) as error:
                rows.append(Row(target.name, run.processor, "yes", f"failed: {_last_line(error)}", failed=True))
    return rows or [Row(target.name, "", "yes", "no: there is no emulator for it")]


def _call(command: Sequence[str], folder: Path, settings: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | dict(settings or {}), capture_output=True, text=True, timeout=PATIENCE,
        check=True,
    )  # fmt: skip
    return done.stdout


def _last_line(error: Exception) -> str:
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    lines = [line for line in (said or "").splitlines() if "error" in line] or (said or "").splitlines()
    return (lines or [str(error)])[-1].strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [each.name for each in PLATFORMS]
    parser.add_argument("platforms", nargs="*", metavar="PLATFORM", help=f"{', '.join(names)} [default: all]")
    wanted = parser.parse_args(arguments).platforms
    if unknown := set(wanted) - set(names):
        parser.error(f"there is no platform {', '.join(sorted(unknown))}: choose of {', '.join(names)}")
    line = "{:20} {:16} {:28} {:28} {:>9} {:>9} {:>9}"
    print(line.format("platform", "processor", "built", "ran", "pictures", "int16", "training"))
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for target in PLATFORMS:
            if wanted and target.name not in wanted:
                continue
            for row in check(target, Path(folder)):
                failed |= row.failed
                shown = row.platform, row.processor, row.built, row.ran, row.pictures, row.int16, row.training
                print(line.format(*shown).rstrip(), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
