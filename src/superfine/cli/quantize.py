"""`superfine quantize`: which convolutions may run in int8, measured on pictures, written beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superfine.errors import DataError, ModelError


def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A weights file of ours with its graphs, or a name.")],
    pictures: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photographs, best not those it is judged on.")],
    budget: Annotated[
        float, typer.Option(metavar="DB", help="Noise int8 may add: PSNR of its result against float32's.")
    ] = 57.0,
    crops: Annotated[int, typer.Option(metavar="N", help="Pieces of pictures to measure on.", min=1)] = 12,
    layers: Annotated[bool, typer.Option("--layers", help="List every convolution and what int8 costs in it.")] = False,
) -> None:
    """Measure what int8 costs in each convolution of a network, and write the ranges for --precision int8.

    - superfine quantize esrgcnn photographs/

    Noise of 57 dB costs 0.04 dB where a network reaches 37 dB, 0.01 where it reaches 31. Takes minutes.
    """
    import numpy as np

    from superfine.engines.openvino import core
    from superfine.export.calibrate import calibrate, draw_crops, write
    from superfine.images.files import SUFFIXES, read
    from superfine.images.resize import downscale
    from superfine.weights import find

    source = find(model)
    if not source.graphs:
        raise ModelError(f"{source.name} has no graphs: make them with superfine export")
    files = sorted(path for path in pictures.rglob("*") if path.suffix.lower() in SUFFIXES)
    chosen = [files[number * len(files) // crops] for number in range(min(crops, len(files)))]
    originals = [each for each in (read(path).pixels for path in chosen) if each.dtype == np.uint8]
    if not originals:
        raise DataError(f"no 8-bit pictures in {pictures}")
    found = {}
    for scale, graph in sorted(source.graphs.items()):
        lr = [downscale(np.broadcast_to(each, (*each.shape[:2], 3)), scale) for each in originals]
        found[scale] = calibrate(core().read_model(graph), draw_crops(lr, crops), budget)
        if layers:
            for each in found[scale].layers:
                shown = f"{each.noise:6.1f} dB" if each.range else "  stays wide"
                print(f"x{scale} {each.name:28} {shown:12} {each.work:8,} {'int8' if each.taken else ''}")
        share, noise = found[scale].share, found[scale].noise
        print(f"x{scale}: {share:.0%} of the work in int8, noise at {noise:.1f} dB", flush=True)
    print(write(source, found))
