"""`superfine doctor`: examines a weights file and says whether it works, and if not, why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli.messages import one_line, size_of

if TYPE_CHECKING:
    from superfine.weights.doctor import Examination


def doctor(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A weights file of any kind, or a name of superfine models.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    every: Annotated[bool, typer.Option("--all", help="List every key that does not fit, not ten.")] = False,
) -> int:
    """Examine a weights file: what is in it, what fits.

    - superfine doctor downloads/best_model.pth

    Lists what fits CFSRCNN or ESRGCNN and what does not, and tries the network on a small picture, bicubic beside it.
    No code in the file is run. Exit code 0 if it is fit for use, 1 if it is not (untrained weights are not), 2 if it
    cannot be read.
    """
    from superfine.weights import list_models, verify
    from superfine.weights.catalogue import FOLDER
    from superfine.weights.doctor import examine

    shipped = next((entry for entry in list_models() if entry.name == model), None)
    report = examine(FOLDER / shipped.weights if shipped else Path(model).expanduser())
    if json:
        print(_as_json(report))
    else:
        print("\n".join(one_line(line) for line in describe(report, most=None if every else 10)))
        print(f"  engine       {engine_here()}")
    if shipped:
        from superfine.weights import find

        verify(find(model))
        if not json:
            print("  shipped      its SHA-256 and its graphs' are the catalogue's")
    return 0 if report.healthy and not report.doubtful else 1


def engine_here() -> str:
    """Say which engine computes on this machine's CPU."""
    from superfine.engines.native import absence, instructions

    return f"native ({instructions()})" if instructions() else f"openvino, as {absence()}"


def describe(report: Examination, most: int | None = 10) -> list[str]:
    """Return the report in lines, of each kind of misfit at most `most` keys."""
    types = ", ".join(f"{count} {name}" for name, count in report.types.items())
    lines = [
        str(report.path),
        f"  file         {report.kind}, {size_of(report.bytes)}",
        f"  tensors      {report.tensors} ({types}), {report.values:,} values",
    ]
    if report.wrappers or report.prefix:
        where = " / ".join(report.wrappers) or "the top"
        behind = f", every key behind {report.prefix!r}" if report.prefix else ""
        lines.append(f"  found        under {where}{behind}")
    for key, value in report.metadata.items():
        lines.append(f"  header       {key}: {value if len(value) <= 90 else value[:87] + '...'}")
    if report.network:
        config = ", ".join(f"{key} {_plain(value)}" for key, value in report.config.items())
        lines.append(f"  network      {report.network} ({config}), {report.names} key names")
        lines.append(f"  fitting      {report.matching} tensors" + (", all" if not _misfits(report) else ""))
    for title, keys in _misfits(report).items():
        shown = keys[:most]
        lines += [f"  {title:<12} {key}" for key in shown]
        if len(keys) > len(shown):
            lines.append(f"  {title:<12} ... and {len(keys) - len(shown)} more (--all lists them)")
    lines += [f"  rename?      {theirs} → {wanted}" for theirs, wanted in list(report.likely_renames.items())[:most]]
    if report.parameters:
        lines.append(f"  parameters   {report.parameters:,}")
    for each in report.trials:
        lines.append(f"  trial x{each.scale}     {each.psnr:.1f} dB on a smooth picture, bicubic {each.bicubic:.1f} dB")
    lines += [f"  remark       {remark}" for remark in report.remarks]
    lines += [f"  fault        {fault}" for fault in report.faults]
    return [*lines, f"  verdict      {_verdict(report)}"]


def _verdict(report: Examination) -> str:
    if not report.healthy:
        return "cannot be used"
    if report.doubtful:
        return "loads, but is untrained, or was trained on another order or range of channels: see the trials"
    return f"fits and works: superfine upscale -m {report.path} ..."


def _misfits(report: Examination) -> dict[str, list[str]]:
    kinds = {"missing": report.missing, "unexpected": report.unexpected, "wrong shape": report.misshapen}
    return {title: keys for title, keys in kinds.items() if keys}


def _plain(value: object) -> str:
    return "/".join(f"x{each}" for each in value) if isinstance(value, tuple) else str(value)


def _as_json(report: Examination) -> str:
    import json
    from dataclasses import asdict

    return json.dumps({**asdict(report), "path": str(report.path), "healthy": report.healthy}, indent=1)
