"""Write docs/results.md and the README's results table from result files kept in the repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from superfine.benchmark import complexity, published, tables
from superfine.benchmark.complexity import Cost, compare_with_paper
from superfine.benchmark.methods import INTERPOLATIONS
from superfine.benchmark.result import Result, SetRecord, load, save
from superfine.errors import DataError
from superfine.quality.protocols import PROTOCOLS

BEGIN = "<!-- results: written by `superfine results`; do not edit -->"
END = "<!-- /results -->"

FOLDER = Path("docs/results")
"""Folder with the result files of this repository."""

_README_PROTOCOL = "standard"


def write_pages(
    files: Sequence[Path], costs: Path | None, page: Path, readme: Path | None, *, check: bool = False
) -> list[Path]:
    """Write the results page, and the table between the markers of `readme`; return the files that changed.

    Args:
        files: result files of `superfine benchmark --json`; empty takes benchmark*.json in FOLDER.
        costs: a file of `superfine complexity --json`; None takes complexity.json in FOLDER, if there is one.
        page: the page to write.
        readme: a file with the markers BEGIN and END, or None.
        check: write nothing.

    Raises:
        DataError: files that cannot be used, no markers, or, with `check`, a file that would change.
    """
    results = [load(path) for path in files or sorted(FOLDER.glob("benchmark*.json"))]
    if costs is None and (FOLDER / "complexity.json").is_file():
        costs = FOLDER / "complexity.json"
    texts = {page: results_page(results, complexity.load(costs) if costs else [])}
    if readme is not None:
        if not readme.is_file():
            raise DataError(f"no file {readme} to put the table into")
        texts[readme] = put_block(readme.read_text(encoding="utf-8"), readme_block(results), str(readme))
    changed = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if check and changed:
        raise DataError(f"{', '.join(map(str, changed))} would change; run superfine results without --check")
    for path in changed:
        save(texts[path], path)
    return changed


def merge(results: Sequence[Result]) -> Result:
    """Join several results into one; a row measured twice is taken from the last.

    Raises:
        DataError: nothing to merge, or results that measured the same set and scale on different pictures.
    """
    if not results:
        raise DataError("no result files; give those that superfine benchmark --json wrote")
    rows = {(row.set, row.scale, row.model, row.protocol): row for each in results for row in each.rows}
    sets: dict[tuple[str, int], SetRecord] = {}
    models: dict[tuple[str, int], dict[str, Any]] = {}
    for each in results:
        for record in each.sets:
            if sets.setdefault((record.name, record.scale), record).sha256 != record.sha256:
                place = f"{record.name} x{record.scale}"
                raise DataError(f"the results disagree about {place}: measure all on the same pictures")
        for model in each.models:
            known = models.setdefault((model["name"], model["scale"]), model)
            if known["weights_sha256"] != model["weights_sha256"]:
                raise DataError(f"the results are of different weights called {model['name']}: measure them again")
    protocols = {name: fields for each in results for name, fields in each.protocols.items()}
    last = results[-1]
    return replace(
        last, rows=list(rows.values()), sets=list(sets.values()), models=list(models.values()), protocols=protocols
    )


def _ordered(result: Result) -> Result:
    """Sort rows in the field's order: Set5, Set14, B100, Urban100, then the rest; interpolation before networks."""
    names = ["Set5", "Set14", "B100", "Urban100", "Manga109"]

    def place(row: Any) -> tuple[Any, ...]:
        rank = names.index(row.set) if row.set in names else len(names)
        return (rank, row.set, row.scale, row.model not in INTERPOLATIONS, row.model)

    known = [name for name in PROTOCOLS if name in result.protocols]
    rest = [name for name in result.protocols if name not in PROTOCOLS]
    protocols = {name: result.protocols[name] for name in [*known, *rest]}
    return replace(result, rows=sorted(result.rows, key=place), protocols=protocols)


def results_page(results: Sequence[Result], costs: Sequence[Cost] = ()) -> str:
    """Compose docs/results.md.

    Args:
        results: of `superfine benchmark --json`.
        costs: of `superfine complexity --json`.
    """
    result = _ordered(merge(results))
    parts = [
        "# Results",
        "This page is written by `superfine results` from the JSON files in `docs/results`; do not edit it.",
        "## What was measured",
        _sets_table(result),
        _models_table(result),
        "## Protocols",
        "A figure without its protocol means little: the same weights give different figures under each.",
        _protocols_table(),
        "## Figures",
        tables.markdown(result, all_printed=False).strip(),
    ]
    if published.PROTOCOL in result.protocols:
        paper = replace(result, protocols={published.PROTOCOL: result.protocols[published.PROTOCOL]})
        parts += [
            "## Beside every method the papers print",
            "Protocol `paper`, except the printed bicubic: that row is taken over from older papers, which take gray "
            "pictures as gray. Set14 holds one, which costs 0.09 dB.",
            tables.markdown(paper, all_printed=True).strip(),
        ]
    if costs:
        sentences = [f"- {line}" for each in costs for line in compare_with_paper(each)]
        parts += ["## Costs", _costs_table(costs), "\n".join(sentences)]
    return "\n\n".join(part for part in parts if part) + "\n"


def readme_block(results: Sequence[Result]) -> str:
    """Compose the README's table: PSNR under `standard`, one row a method, with the markers around it.

    Raises:
        DataError: no result under `standard`.
    """
    result = _ordered(merge(results))
    if _README_PROTOCOL not in result.protocols:
        raise DataError(f"no result under the protocol {_README_PROTOCOL}; measure with -p {_README_PROTOCOL}")
    rows = [replace(row, figures={"psnr": row.figures["psnr"]}) for row in result.rows]
    protocols = {_README_PROTOCOL: result.protocols[_README_PROTOCOL]}
    return f"{BEGIN}\n{tables.markdown(replace(result, rows=rows, protocols=protocols)).strip()}\n{END}"


def put_block(text: str, block: str, name: str = "the file") -> str:
    """Replace what stands between the markers in `text`; raise DataError unless they are there once each."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(f"{name} needs one line {BEGIN} and, after it, one line {END}")
    return text[: text.index(BEGIN)] + block + text[text.index(END) + len(END) :]


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> str:
    """Write a Markdown table; columns from number `right` on are aligned right."""
    rule = "".join("---|" if number < right else "---:|" for number in range(len(head)))
    body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}", *body])


def _sets_table(result: Result) -> str:
    rows = []
    for record in result.sets:
        origin = "its own files" if record.lr == "file" else "made, bit-exact bicubic"
        count = f"{len(record.pictures)}" + (f" ({len(record.left_out)} left out)" if record.left_out else "")
        rows.append([record.name, f"x{record.scale}", count, origin, f"`{record.sha256[:16]}…`"])
    return _lines(["set", "scale", "pictures", "small pictures", "SHA-256 of pixels"], rows, right=9)


def _models_table(result: Result) -> str:
    rows: dict[tuple[str, ...], None] = {}
    for model in result.models:
        if model["kind"] == "network":
            how = f"{model['engine']}, {model['precision']}, {model['device']}"
            rows[model["name"], how, f"`{model['weights_sha256'][:16]}…`"] = None
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    machine = ", ".join(f"{key} {value}" for key, value in result.machine.items())
    table = _lines(["model", "engine", "SHA-256 of weights"], [list(row) for row in rows], right=9)
    about = f"{versions}. Machine: {machine}. Measured {result.created}."
    return f"{table}\n\n{about}" if rows else about


def _protocols_table() -> str:
    rows = []
    for each in PROTOCOLS.values():
        colour = "R, G, B" if each.colour == "rgb" else "Y"
        luma = "–" if each.colour == "rgb" else "to 8 bits" if each.y_rounding == "uint8" else "none"
        border = "scale" if each.crop == 1 else f"{each.crop} x scale"
        gray = "opened as RGB" if each.gray == "as-rgb" else "as it is"
        verb = "truncated" if each.rounding == "truncate" else "rounded"
        rows.append([f"`{each.name}`", verb, colour, luma, gray, border, each.note])
    head = ["protocol", "SR to 8 bits", "colour", "rounding of Y", "gray pictures", "border cut, pixels", "who"]
    return _lines(head, rows, right=9)


def _costs_table(costs: Sequence[Cost]) -> str:
    rows = []
    for each in costs:
        size = f"{each.width * each.scale}x{each.height * each.scale}"
        counts = f"{each.multiply_adds / 1e9:,.2f} G", f"{each.activations / 1e6:,.1f} M"
        rows.append([each.model, f"x{each.scale}", f"{each.parameters:,}", size, *counts, f"{each.context} LR pixels"])
    head = ["model", "scale", "parameters", "HR size", "multiply-adds", "activations", "receptive field, each side"]
    return _lines(head, rows)
