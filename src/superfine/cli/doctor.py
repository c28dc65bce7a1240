"""`superfine doctor`: examines a weights file, a data set or the machine, and says what does not work and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superfine.cli import COMMANDS, doctor_output
from superfine.cli.messages import complain, one_line
from superfine.cli.progress import ProgressBar
from superfine.errors import PlanError


def doctor(
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="A weights file, a name of superfine models, or a folder of pictures."),
    ] = "",
    fix: Annotated[
        Path | None, typer.Option("--fix", metavar="OUT", help="Write the weights, mended, as OUT.safetensors.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="FOLDER", help="Benchmark sets that a data set must not overlap. Repeat."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    every: Annotated[bool, typer.Option("--all", help="List every finding of a kind, not ten.")] = False,
) -> int:
    """Examine the machine, a weights file or a data set.

    - superfine doctor
    - superfine doctor downloads/best_model.pth --fix best.safetensors
    - superfine doctor photos --against benchmarks

    Alone: tries every engine, and says what auto takes and why. A weights file: what fits CFSRCNN or ESRGCNN, what does
    not, and a trial on a small picture; no code in the file is run. A folder: sizes, gray pictures, pairs and how
    their LR was made, duplicates, overlaps with benchmark sets. Exit code 0 if it is fit for use, 1 if it is not
    (untrained weights are not), 2 if it cannot be read.
    """
    if fix is not None and (not what or Path(what).is_dir()):
        raise PlanError("--fix mends a weights file: name it, as in superfine doctor model.pth --fix model.safetensors")
    if against and not Path(what or "-").is_dir():
        raise PlanError("--against compares a data set: name its folder, as in superfine doctor photos --against Set14")
    if not what:
        return _machine(json)
    if Path(what).expanduser().is_dir():
        return _folder(Path(what).expanduser(), against or [], json, every)
    return _weights(what, fix, json, every)


def _weights(model: str, fix: Path | None, json: bool, every: bool) -> int:
    from superfine.weights import list_models, verify
    from superfine.weights.catalogue import FOLDER
    from superfine.weights.doctor import examine

    shipped = next((entry for entry in list_models() if entry.name == model), None)
    path = FOLDER / shipped.weights if shipped else Path(model).expanduser()
    if fix is not None:
        from superfine.weights.mend import mend

        mended = mend(path, fix.expanduser())
        for change in mended.changes:
            complain(change)
        path, shipped = mended.path, None
    report = examine(path)
    _show(doctor_output.as_json(report) if json else doctor_output.describe_weights(report, None if every else 10))
    if not json:
        print(f"  engine       {engine_here()}")
    if shipped:
        from superfine.weights import find

        verify(find(model))
        if not json:
            print("  shipped      its SHA-256 and its graphs' are the catalogue's")
    return 0 if report.healthy and not report.doubtful else 1


def engine_here() -> str:
    """Say which engine computes on this machine's CPU."""
    from superfine.native.library import absence, instructions

    return f"native ({instructions()})" if instructions() else f"openvino, as {absence()}"


def _folder(folder: Path, against: list[Path], json: bool, every: bool) -> int:
    from superfine.datasets.doctor import examine_folder

    with ProgressBar() as bar:
        report = examine_folder(folder, against, lambda done, of: bar.update(done / of, f"{done} of {of} pictures"))
    _show(doctor_output.as_json(report) if json else doctor_output.describe_folder(report, None if every else 10))
    return 0 if report.healthy else 1


def _machine(json: bool) -> int:
    from superfine.benchmark.machine import examine_machine

    report = examine_machine()
    needs: dict[str, list[str]] = {}
    for name, command in COMMANDS.items():
        needs.setdefault(command.extra, []).append(name)
    _show(doctor_output.as_json(report) if json else doctor_output.describe_machine(report, needs))
    return 0 if report.healthy else 1


def _show(report: str | list[str]) -> None:
    """Print JSON as it is, and lines so that no name in them can reach the terminal's controls."""
    print(report if isinstance(report, str) else "\n".join(one_line(line) for line in report))
