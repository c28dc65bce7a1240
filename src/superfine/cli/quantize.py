"""`superfine quantize`: make a network's int8 form on pictures, and write it beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A weights file of ours with its graphs, or a name.")],
    pictures: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photographs, best not those it is judged on.")],
    budget: Annotated[
        float,
        typer.Option(
            metavar="DB", help="Noise int8 may add at x2 (3 dB more at x3, 5 at x4): its luma PSNR against float32."
        ),
    ] = 56.0,
    crops: Annotated[int, typer.Option(metavar="N", help="Pieces of pictures to measure on.", min=1)] = 12,
    layers: Annotated[bool, typer.Option("--layers", help="List every convolution and what int8 costs in it.")] = False,
) -> None:
    """Round a network's convolutions to eight bits, on pictures, for --precision int8.

    - superfine quantize esrgcnn photographs/

    Noise of 56 dB costs 0.05 dB of PSNR where a network reaches 37 dB. Takes minutes. What it costs on a set of
    pictures: superfine benchmark SET -m MODEL --precision int8, and the same with fp32.
    """
    from rich.console import Console
    from rich.progress import Progress

    from superfine.quantization.int8_file import calibrate_scales, write
    from superfine.weights import find

    source = find(model)
    found = {}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def progress(scale: int, done: int, total: int) -> None:
            bar.update(task, description=f"x{scale}, each convolution alone", completed=done, total=total)

        for scale, each in calibrate_scales(source, pictures, budget, crops, progress):
            found[scale] = each
            if layers:
                for layer in each.layers:
                    shown = f"{layer.noise:6.1f} dB" if layer.noise else "  stays wide"
                    print(f"x{scale} {layer.name:28} {shown:12} {layer.work:8,} {'int8' if layer.narrow else ''}")
            print(f"x{scale}: {each.share:.0%} of the work in int8, noise at {each.noise:.1f} dB", flush=True)
    print(write(source, found))
