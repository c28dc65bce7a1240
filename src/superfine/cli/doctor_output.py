"""The reports of `superfine doctor` in lines: of a weights file, of a data set, of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from superfine.cli.messages import size_of

if TYPE_CHECKING:
    from superfine.benchmark.machine import Machine
    from superfine.datasets.doctor import DataReport, Twins
    from superfine.weights.doctor import Examination


def describe_weights(report: Examination, most: int | None = 10) -> list[str]:
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
        lines += _listed(title, keys, most)
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


def describe_folder(report: DataReport, most: int | None = 10) -> list[str]:
    """Return the report in lines, of each kind of finding at most `most`."""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in report.suffixes.items())
    smallest, median, largest = (
        f"{width}x{height}" for width, height in (report.smallest, report.median, report.largest)
    )
    lines = [
        str(report.folder),
        _row("layout", report.layout if report.layout != "folder" else "pictures without pairs"),
        _row("pictures", f"{report.pictures} ({kinds}), {report.megapixels:.1f} Mpixels, {size_of(report.bytes)}"),
        _row("sizes", f"{smallest} to {largest}, half of them above {median}"),
    ]
    for pairs in report.pairs:
        made = "; ".join(f"{how} ({count})" for how, count in pairs.made.items()) or "could not be compared"
        lines.append(_row(f"pairs x{pairs.scale}", f"{pairs.count}; LR is {made}"))
    lists: dict[str, list[str]] = {
        "small": report.small,
        "gray": report.gray,
        "gray as RGB": report.gray_as_rgb,
        "over 8 bits": report.deep,
        "transparent": report.transparent,
        "duplicate": [_twins(each) for each in report.duplicates],
        "alike": [_twins(each) for each in report.near],
        "overlap": [_twins(each) for each in report.overlaps],
        "fault": report.faults,
    }
    for title, found in lists.items():
        lines += _listed(title, found, most)
    if report.compared_with and not report.overlaps:
        lines.append(
            _row("overlap", f"none with {report.compared_with} pictures of benchmark sets (cuts are not seen)")
        )
    return [*lines, _row("verdict", _data_verdict(report))]


def _data_verdict(report: DataReport) -> str:
    if report.faults:
        return f"{len(report.faults)} faults: mend or remove what they name"
    if report.overlaps:
        return "holds pictures of a benchmark set: figures on it would be worth nothing after training on these"
    return "fit for use" + (", once duplicates are removed" if report.duplicates else "")


def _twins(each: Twins) -> str:
    return f"{each.one} and {each.other}" + ("" if each.likeness == 1 else f" ({each.likeness:.0%} alike)")


def describe_machine(report: Machine, needs: dict[str, list[str]]) -> list[str]:
    """Return the report in lines. needs: extra → the commands that need it."""
    facts = report.facts
    memory = f"{facts['memory_gib']} GiB" if "memory_gib" in facts else "unknown"
    free = f", {facts['free_gib']} GiB free" if "free_gib" in facts else ""
    lines = [
        "this machine",
        _row("processor", f"{facts['cpu']}, {facts['cores']} cores for this process, {facts['system']}"),
        _row("computes", " ".join(report.instructions) or "unknown"),
        _row("memory", memory + free),
        _row("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
    ]
    for each in report.engines:
        state = f"{' '.join(each.precisions)} on {each.device}" if each.precisions else f"no: {each.refusal}"
        lines.append(_row(each.engine, state))
    lines.append(_row("auto takes", f"{report.auto}: {report.reason}" if report.auto else f"nothing: {report.reason}"))
    for extra in report.extras:
        if extra.missing and extra.name not in ("dev", "docs"):
            gains = ", ".join(f"superfine {command}" for command in needs.get(extra.name, []))
            lacking = ", ".join(extra.missing)
            lines.append(_row("could add", f"{extra.name} ({gains or lacking}): {extra.command}"))
    verdict = "pictures can be upscaled here" if report.healthy else "no engine runs: see the lines above"
    return [*lines, _row("verdict", verdict)]


def _row(title: str, text: str) -> str:
    return f"  {title:<12} {text}"


def _listed(title: str, found: Sequence[str], most: int | None) -> list[str]:
    lines = [_row(title, each) for each in found[:most]]
    if most is not None and len(found) > most:
        lines.append(_row(title, f"... and {len(found) - most} more (--all lists them)"))
    return lines


def as_json(report: Any) -> str:
    """Return a report as JSON, with "healthy" in it."""
    import json
    from dataclasses import asdict

    return json.dumps({**asdict(report), "healthy": report.healthy}, indent=1, default=str)
