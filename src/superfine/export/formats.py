"""Export a network for other programs: each file is run and compared with the network before it gets its name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from superfine.errors import CheckpointError, EngineError, ModelError
from superfine.export.module import ENDS, AtScale, Form, metadata_of
from superfine.export.parity import TOLERANCE
from superfine.export.writers import (
    Job,
    Run,
    run_ncnn,
    run_onnx,
    run_openvino,
    run_pt2,
    run_torchscript,
    write_ncnn,
    write_onnx,
    write_openvino,
    write_pt2,
    write_torchscript,
)
from superfine.nets import Network, with_scales
from superfine.weights import network_file
from superfine.weights.key_names import upstream_state

SIDES = ((24, 24, 1), (17, 31, 2))
"""(height, width, number) of the inputs tried where sizes are free."""


@dataclass(frozen=True)
class Kind:
    """A format: how it is written, opened and named."""

    write: Callable[[Job, Path], None]
    open: Callable[[Path], dict[str, Run]]
    """file → the name of what runs it → a function that does."""
    suffixes: tuple[str, ...]
    """Endings of its files; the first is the one that is opened."""
    one_form: bool = False
    """It has float ends and free sizes alone."""


KINDS = {
    "onnx": Kind(write_onnx, run_onnx, (".onnx",)),
    "openvino": Kind(write_openvino, run_openvino, (".xml", ".bin")),
    "torchscript": Kind(write_torchscript, run_torchscript, (".pt",)),
    "pt2": Kind(write_pt2, run_pt2, (".pt2",)),
    "ncnn": Kind(write_ncnn, run_ncnn, (".param", ".bin"), one_form=True),
}

FORMATS = ("superfine", *KINDS, "upstream")


@dataclass(frozen=True)
class Written:
    """One export that is done."""

    files: tuple[Path, ...]
    differences: dict[str, float]
    """What runs it → largest difference from the network: of 1 for float ends, of 255 for uint8."""


def export_to(
    kind: str,
    checkpoint: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    scales: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float16,
    ends: str = "float",
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> list[Written]:
    """Write a checkpoint as `folder`/NAME-x2.onnx and the like, one for each scale, of a format of KINDS or "upstream".

    dtype: what weights are rounded to first. ends, size (height, width): see Form.

    Raises CheckpointError (unreadable, or files in the way without `overwrite`), ModelError (a scale it lacks, or a
    form that a format cannot have), EngineError (a file that is not the network).
    """
    if ends not in ENDS or kind not in FORMATS[1:]:
        known = f"has {' or '.join(ENDS)} ends and goes to {', '.join(FORMATS)}"
        raise ModelError(f"an export {known}; not {ends}, {kind}")
    if (kind == "upstream" or KINDS[kind].one_form) and (ends != "float" or size is not None):
        raise ModelError(f"{kind} files have float ends and free sizes: take onnx or openvino for others")
    network = network_file.load(checkpoint)
    for value in network.parameters():  # not the mean, which no file holds
        value.data = value.data.to(dtype).float()
    chosen = tuple(scales) if scales else network.config.scales
    if lacking := [scale for scale in chosen if scale not in network.config.scales]:
        have = ", ".join(f"x{scale}" for scale in network.config.scales)
        raise ModelError(f"{checkpoint} has no x{lacking[0]}: choose from {have}")
    name, folder, form = name or Path(checkpoint).stem, Path(folder), Form(ends, size)
    plans: list[tuple[tuple[int, ...], tuple[str, ...]]]
    if kind == "upstream":
        plans = [(chosen, (f"{name}{f'-x{chosen[0]}' if len(chosen) == 1 else ''}.pth",))]
    else:
        plans = [((scale,), tuple(f"{name}-x{scale}{end}" for end in KINDS[kind].suffixes)) for scale in chosen]
    _refuse_existing([folder / file for _, files in plans for file in files], overwrite)
    done = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as work:
            for each, files in plans:
                made = tuple(Path(work) / file for file in files)
                if kind == "upstream":
                    differences = _write_upstream(with_scales(network, tuple(sorted(each))), made[0])
                else:
                    differences = _write(KINDS[kind], network, each[0], form, made[0])
                done.append(Written(tuple(folder / file for file in files), differences))
            for _, files in plans:
                for file in files:
                    (Path(work) / file).replace(folder / file)
    except OSError as error:
        raise CheckpointError(f"cannot write into {folder}: {error.strerror or error}") from error
    return done


def _refuse_existing(targets: list[Path], overwrite: bool) -> None:
    if not overwrite and (existing := [target for target in targets if target.exists()]):
        raise CheckpointError(f"{existing[0]} is there already: choose another folder, or overwrite it (--overwrite)")


def _write(kind: Kind, network: Network, scale: int, form: Form, path: Path) -> dict[str, float]:
    """Write one file, open it, and compare what it computes. Raises EngineError."""
    module = AtScale(with_scales(network, (scale,)), scale, form).eval()
    kind.write(Job(module, form, metadata_of(network, scale, form)), path)
    inputs = [form.example(*sides, seed=3) for sides in (SIDES if form.size is None else SIDES[:1])]
    with torch.inference_mode():
        expected = [module(lr).numpy() for lr in inputs]
    differences = {}
    try:
        for runtime, run in kind.open(path).items():
            differences[runtime] = max(_difference(run(lr), sr) for lr, sr in zip(inputs, expected, strict=True))
    except EngineError:
        raise
    except Exception as error:  # every runtime raises kinds of its own, which all mean the same here
        raise EngineError(f"{path.name} does not run: {str(error).strip().splitlines()[0]}") from error
    _check(path, differences, TOLERANCE if form.ends == "float" else 1)
    return differences


def _write_upstream(network: Network, path: Path) -> dict[str, float]:
    """Write weights under the authors' names, read them again, and compare what they compute."""
    torch.save(upstream_state(network), path)
    again, differences = network_file.load(path), {}
    lr = torch.rand(1, 3, 17, 23, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        for scale in network.config.scales:
            differences[f"x{scale}"] = _difference(again(lr, scale).numpy(), network(lr, scale).numpy())
    _check(path, differences, 0)
    return differences


def _check(path: Path, differences: dict[str, float], most: float) -> None:
    for runtime, difference in differences.items():
        if not difference <= most:
            raise EngineError(
                f"{path.name} is not the network it came from: {runtime} differs by {difference:.2g}, "
                f"wanted {most:.0e} or less; nothing was kept"
            )


def _difference(found: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    return float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max())
