"""Draw eight hard crops of a release, to be looked at: `python tools/hard_crops.py KODAK24 -o docs/crops.png`.

Rows: text, hair, brick, mesh, foliage, a face, stripes and the dark, from the Kodak pictures, which anyone may
use. Columns: the original, bicubic, and each network. What to look for: ringing beside edges, colours that shift,
a checkerboard in flat parts, lines that turn the wrong way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from commands import exit_code
from superfine import images
from superfine.benchmark.methods import Method, open_method
from superfine.benchmark.pictures import Box
from superfine.errors import DataError
from superfine.images.resize import crop_to_multiple, downscale
from superfine.quality.protocols import PROTOCOLS, measure, quantise

Rgb = NDArray[np.uint8]
ZOOM, GAP, LINE = 2, 6, 18


@dataclass(frozen=True)
class HardCrop:
    """A place in a picture that is hard to enlarge, and why."""

    subject: str
    picture: str
    """File name of the picture, without its suffix."""
    box: Box


HARD_CROPS = (
    HardCrop("text", "08", Box(520, 310, 120, 80)),
    HardCrop("hair", "04", Box(200, 160, 120, 80)),
    HardCrop("brick", "01", Box(190, 200, 120, 80)),
    HardCrop("mesh", "04", Box(150, 620, 120, 80)),
    HardCrop("foliage", "13", Box(330, 180, 120, 80)),
    HardCrop("face", "15", Box(430, 120, 120, 80)),
    HardCrop("stripes", "19", Box(140, 500, 120, 80)),
    HardCrop("dark", "17", Box(270, 120, 120, 80)),
)


def sheet(folder: Path, models: Sequence[str], scale: int, crops: Sequence[HardCrop] = HARD_CROPS) -> Image.Image:
    """Draw a row a crop: the original and every model's picture of it, PSNR (`standard`, of the crop) underneath.

    folder: holds the pictures; each is downscaled by the bit-exact bicubic and enlarged whole.
    Raises DataError if a picture is missing or too small, ModelError for an unknown model.
    """
    methods: list[Method] = [open_method(name, scale) for name in ("bicubic", *models)]
    pictures = {
        name: _enlarged(_find(folder, name), methods, scale) for name in dict.fromkeys(crop.picture for crop in crops)
    }
    rows = [_row(pictures[crop.picture], crop, scale) for crop in crops]
    whole = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height
    return whole


def _find(folder: Path, name: str) -> Rgb:
    paths = [path for path in sorted(folder.glob(f"*{name}.*")) if path.suffix.lower() in images.SUFFIXES]
    if not paths:
        raise DataError(f"{folder} has no picture whose name ends in {name}: give the folder of the 24 Kodak pictures")
    picture = images.read(paths[0]).pixels
    if picture.dtype != np.uint8 or picture.shape[2] != 3:
        raise DataError(f"{paths[0]} is not 8-bit RGB")
    return picture


def _enlarged(original: Rgb, methods: Sequence[Method], scale: int) -> dict[str, Rgb]:
    """Shrink the original and enlarge it again by every method; name → picture, the original first."""
    original = crop_to_multiple(original, scale)
    lr = downscale(original, scale)
    enlarged = {method.info.name: quantise(method(lr), PROTOCOLS["standard"]) for method in methods}
    return {"original": original, **enlarged}


def _row(pictures: dict[str, Rgb], crop: HardCrop, scale: int) -> Image.Image:
    height, width = pictures["original"].shape[:2]
    if not crop.box.inside(height, width):
        raise DataError(
            f"the picture {crop.picture} has {width}x{height} pixels: too few for the crop of {crop.subject}"
        )
    (_, truth), *enlarged = ((name, crop.box.of(picture)) for name, picture in pictures.items())
    panels = [(f"{crop.subject}: original", truth)]
    for name, pixels in enlarged:
        figure = measure(pixels, truth, scale, "standard", ["psnr"])["psnr"]
        panels.append((f"{name} x{scale}: {figure:.2f} dB", pixels))
    cell_w, cell_h = crop.box.width * ZOOM, crop.box.height * ZOOM
    row = Image.new("RGB", (len(panels) * (cell_w + GAP) + GAP, cell_h + LINE + GAP), "white")
    draw, font = ImageDraw.Draw(row), ImageFont.load_default(12)
    for number, (caption, pixels) in enumerate(panels):
        x = GAP + number * (cell_w + GAP)
        shown = np.repeat(np.repeat(pixels, ZOOM, axis=0), ZOOM, axis=1)
        row.paste(Image.fromarray(shown), (x, GAP))
        draw.text((x, GAP + cell_h + 1), caption, fill="black", font=font)
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the 24 Kodak pictures")
    parser.add_argument("-m", "--model", nargs="+", default=["esrgcnn", "cfsrcnn"])
    parser.add_argument("-s", "--scale", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    return exit_code(
        lambda: images.write(images.from_pil(sheet(options.folder, options.model, options.scale)), options.out)
    )


if __name__ == "__main__":
    sys.exit(main())
