"""`superfine export`: turns a checkpoint into weights and graphs that need no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superfine.cli.messages import size_of
from superfine.errors import ModelError
from superfine.weights import DTYPES


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A weights file of any kind, or a name of superfine models.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the files.")],
    scale: Annotated[
        list[int] | None, typer.Option("--scale", "-s", metavar="2|3|4", help="Only this scale; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the files.", show_default="MODEL's")] = None,
    dtype: Annotated[str, typer.Option(metavar="fp16|fp32", help="How the weights are stored.")] = "fp16",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already.")] = False,
) -> None:
    """Turn a checkpoint into weights and ONNX graphs.

    - superfine export run/best.pth -o models/
    - superfine upscale photo.jpg -m models/best.safetensors -o photo-x4.png

    Writes NAME.safetensors, and for every scale a graph that reads its numbers from it. The graphs take pictures of any
    height and width, and any number at once. Each is compared with the PyTorch network in OpenVINO (and in ONNX
    Runtime, where it is installed) before it appears.
    """
    if dtype not in DTYPES:
        raise ModelError(f"weights are stored as fp16 or fp32, not {dtype!r}")
    import torch

    from superfine.export import export as write
    from superfine.weights import find

    source = find(model)
    written = write(
        source.weights, out, name=name, scales=scale, dtype=getattr(torch, DTYPES[dtype]), overwrite=overwrite
    )
    print(f"{written.weights}  {size_of(written.weights.stat().st_size)}, {dtype}")
    for each, graph in written.graphs.items():
        checks = ", ".join(f"{engine} {value:.0e}" for engine, value in written.differences[each].items())
        print(f"{graph}  {size_of(graph.stat().st_size)}, differs from PyTorch by {checks}")
