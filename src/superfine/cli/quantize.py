"""`superfine quantize`: writes a network's int8 form beside its weights, calibrated on pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superfine.cli.progress import ProgressBar


def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A weights file with its graphs, or a name.")],
    pictures: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photographs; not those it is measured on.")],
    budget: Annotated[
        float,
        typer.Option(metavar="DB", help="Least luma PSNR against float32 at x2 (3 dB less at x3, 5 dB at x4)."),
    ] = 56.0,
    crops: Annotated[int, typer.Option(metavar="N", help="Pieces of pictures to measure on.", min=1)] = 12,
    layers: Annotated[bool, typer.Option("--layers", help="List what int8 costs in every convolution.")] = False,
) -> None:
    """Round a network's convolutions to eight bits.

    - superfine quantize esrgcnn photographs/

    The result is what --precision int8 uses. Noise of 56 dB costs 0.05 dB of PSNR where a network reaches 37 dB. Takes
    minutes. What it costs on a set of pictures: superfine benchmark SET -m MODEL --precision int8, and the same with
    fp32.
    """
    from superfine.quantization.int8_file import calibrate_scales, write
    from superfine.weights import find

    source = find(model)
    found = {}
    with ProgressBar() as bar:

        def progress(scale: int, done: int, total: int) -> None:
            bar.count(done, total, f"convolutions of x{scale}")

        for scale, each in calibrate_scales(source, pictures, budget, crops, progress):
            found[scale] = each
            if layers:
                for layer in each.layers:
                    shown = f"{layer.noise:6.1f} dB" if layer.noise else "  stays wide"
                    print(f"x{scale} {layer.name:28} {shown:12} {layer.work:8,} {'int8' if layer.narrow else ''}")
            print(f"x{scale}: {each.share:.0%} of the work in int8, noise at {each.noise:.1f} dB", flush=True)
    print(write(source, found))
