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
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the files.", show_default="this one")
    ] = Path(),
    scale: Annotated[
        list[int] | None, typer.Option("--scale", "-s", metavar="2|3|4", help="Only this scale; may be repeated.")
    ] = None,
    to: Annotated[
        str, typer.Option(metavar="FORMAT", help="superfine, onnx, openvino, torchscript, pt2, ncnn, upstream.")
    ] = "superfine",
    ends: Annotated[str, typer.Option(metavar="float|uint8", help="NCHW floats 0..1, or NHWC bytes 0..255.")] = "float",
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="The one size of input it takes.", show_default="any")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the files.", show_default="MODEL's")] = None,
    dtype: Annotated[str, typer.Option(metavar="fp16|fp32", help="How the weights are stored, or rounded.")] = "fp16",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already.")] = False,
) -> None:
    """Turn a checkpoint into files that other programs run.

    - superfine export run/best.pth -o models/
    - superfine export esrgcnn -s 2 --to onnx

    Writes NAME.safetensors, and for every scale a graph that reads its numbers from it: what superfine runs without
    PyTorch. With --to, NAME-x2.onnx and the like, each complete in itself. Every file is run and compared with the
    network before it appears.
    """
    if dtype not in DTYPES:
        raise ModelError(f"weights are stored as fp16 or fp32, not {dtype!r}")
    import torch

    from superfine.weights import find

    source, kept = find(model), getattr(torch, DTYPES[dtype])
    if to != "superfine":
        from superfine.export.formats import export_to
        from superfine.upscaling.plan import parse_size

        sides = None if size is None else parse_size(size)[::-1]
        done = export_to(
            to, source.weights, out, name=name or source.name, scales=scale, dtype=kept, ends=ends, size=sides,
            overwrite=overwrite,
        )  # fmt: skip
        for each in done:
            checks = ", ".join(f"{runtime} {value:.0e}" for runtime, value in each.differences.items())
            for path in each.files:
                print(f"{path}  {size_of(path.stat().st_size)}")
            print(f"  differs from the network by {checks}" + (" of 255 levels" if ends == "uint8" else ""))
        return
    if ends != "float" or size is not None:
        raise ModelError("--ends and --size are for --to onnx, openvino, torchscript and pt2")
    from superfine.export import export as write

    written = write(source.weights, out, name=name or source.name, scales=scale, dtype=kept, overwrite=overwrite)
    print(f"{written.weights}  {size_of(written.weights.stat().st_size)}, {dtype}")
    for number, graph in written.graphs.items():
        checks = ", ".join(f"{engine} {value:.0e}" for engine, value in written.differences[number].items())
        print(f"{graph}  {size_of(graph.stat().st_size)}, differs from PyTorch by {checks}")
