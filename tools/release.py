"""Put weights into the package: `python tools/release.py`, as often as training gives better ones.

    python tools/release.py runs/best.safetensors --facts recipes/esrgcnn.release.toml
    superfine benchmark Set5 Set14 -m esrgcnn -s 2,3,4 -p standard,paper --json figures.json
    python tools/release.py --name esrgcnn --figures figures.json

The first call writes NAME.safetensors (float16), its graphs and its entry in catalogue.toml; the last one writes
what the weights, as shipped, measure. Figures of other weights are refused, by SHA-256.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands import exit_code
from superfine.atomic import replace_file, sha256_of
from superfine.benchmark.result import Result, load
from superfine.errors import DataError
from superfine.export.files import export
from superfine.nets import NETWORKS, parameter_count
from superfine.weights import network_file
from superfine.weights.catalogue import FOLDER, list_models, read_entry
from superfine.weights.header import read_header

FACTS = ("name", "licence", "start", "recipe", "hardware", "data")
"""Fields a facts file must have; it may also have "title", "steps" and "seconds"."""


def release(checkpoint: Path, facts: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Export `checkpoint` into `folder` under `facts["name"]`, and write its entry in the catalogue, without figures.

    Steps and seconds come from `facts`, or else from the checkpoint's own header. Returns the weights file.
    Raises CheckpointError, EngineError (a graph that is not the network), DataError (facts that are missing).
    """
    if missing := [fact for fact in FACTS if fact not in facts]:
        raise DataError(f"the facts of this release lack {', '.join(missing)}")
    name = str(facts["name"])
    network = network_file.load(checkpoint)
    about = _own_metadata(checkpoint)
    exported = export(checkpoint, folder, name=name, overwrite=True, metadata={"licence": str(facts["licence"])})
    entry: dict[str, Any] = {
        "network": network.name,
        "title": facts.get("title", NETWORKS[network.name].title),
        "scales": list(network.config.scales),
        "parameters": parameter_count(network),
        "licence": facts["licence"],
        "weights": exported.weights.name,
        "sha256": sha256_of(exported.weights),
        "start": facts["start"],
        "recipe": facts["recipe"],
        "steps": int(facts.get("steps", about.get("step", 0))),
        "seconds": float(facts.get("seconds", about.get("seconds", 0))),
        "hardware": facts["hardware"],
        "graphs": [
            {"scale": scale, "file": path.name, "sha256": sha256_of(path)}
            for scale, path in sorted(exported.graphs.items())
        ],
        "data": [dict(row) for row in facts["data"]],
        "figures": [],
    }
    _store(folder, name, entry)
    return exported.weights


def record(name: str, result: Result, folder: Path = FOLDER) -> int:
    """Write into the catalogue what `result` measured of the shipped weights `name`; return the number of figures.

    Lines of other sets, scales and protocols stay. Raises DataError if nothing in the result was measured on them.
    """
    entries = _read(folder)
    if name not in entries:
        raise DataError(f"no {name!r} in {folder / 'catalogue.toml'}: release its weights first")
    entry = entries[name]
    precisions = {
        (info["name"], info["scale"]): info["precision"]
        for info in result.models
        if info.get("weights_sha256") == entry["sha256"]
    }
    new = {
        (row.set, row.scale, row.protocol): {
            "set": row.set,
            "scale": row.scale,
            "protocol": row.protocol,
            "psnr": round(row.figures["psnr"], 4),
            "ssim": round(row.figures["ssim"], 5),
            "precision": precisions[row.model, row.scale],
        }
        for row in result.rows
        if (row.model, row.scale) in precisions
    }
    if not new:
        raise DataError(f"no figure in this result was measured on {name} as shipped ({entry['sha256'][:12]}...)")
    old = {(row["set"], row["scale"], row["protocol"]): row for row in entry["figures"]}
    entry["figures"] = [row for _, row in sorted((old | new).items())]
    _store(folder, name, entry)
    return len(new)


def _own_metadata(checkpoint: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file; return nothing for other kinds."""
    with checkpoint.open("rb") as file:
        safetensors = file.read(9)[8:] == b"{"
    return read_header(checkpoint).metadata if safetensors else {}


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "catalogue.toml"
    entries: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: {"figures": [], **entry} for name, entry in entries.items()}


def _store(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """Replace one entry of the catalogue; a new one comes last."""
    entries = _read(folder) | {name: entry}
    text = "# Written by tools/release.py. What each shipped model is, how it was made, what it measures.\n"
    text += "".join(_toml(each, fields) for each, fields in entries.items())
    for each, fields in tomllib.loads(text).items():
        read_entry(each, fields)  # what was written must be what is read
    replace_file(folder / "catalogue.toml", text.encode())
    list_models.cache_clear()


def _toml(name: str, entry: Mapping[str, Any]) -> str:
    """Write one entry: plain fields, then its lists of tables. JSON's strings, numbers and lists are TOML's as well."""
    plain = [f"{key} = {_value(value)}" for key, value in entry.items() if not _is_tables(value)]
    tables = [
        f"\n[[{name}.{key}]]\n" + "\n".join(f"{field} = {_value(value)}" for field, value in row.items())
        for key, rows in entry.items()
        if _is_tables(rows)
        for row in rows
    ]
    return "\n".join([f"\n[{name}]", *plain, *tables]) + "\n"


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="python tools/release.py", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", type=Path, help="weights to release")
    parser.add_argument("--facts", type=Path, help=f"TOML file with {', '.join(FACTS)}; may have title, steps, seconds")
    parser.add_argument("--name", help="the shipped model the figures belong to")
    parser.add_argument("--figures", type=Path, help="what superfine benchmark --json wrote")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of weights (default: the package's)")
    options = parser.parse_args(arguments)
    if bool(options.checkpoint) != bool(options.facts) or not (options.checkpoint or options.figures):
        parser.error("give a checkpoint and its --facts, or --name and --figures, or all")

    def work() -> None:
        name = options.name
        if options.checkpoint:
            facts = tomllib.loads(options.facts.read_text(encoding="utf-8"))
            name = name or facts.get("name")
            print(f"wrote {release(options.checkpoint, {**facts, 'name': name}, options.into)}")
        if options.figures:
            print(f"recorded {record(str(name), load(options.figures), options.into)} figures of {name}")

    return exit_code(work, OSError, tomllib.TOMLDecodeError)


if __name__ == "__main__":
    sys.exit(main())
