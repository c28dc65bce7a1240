"""Take a colour cast out of trained weights: `python tools/neutral.py CHECKPOINT FOLDER -o OUT`.

L1 makes a network right in the median, not in the mean, and bfloat16 rounds the picture's channels a little to one
side: together about a tenth of a level of 255, the same everywhere, which PSNR does not see. Nothing but the last
upsampling convolution's biases of the six channels that carry the picture (nets/start.py) is moved, until the
mean colour of enlarged photographs is that of the small ones. Run before a release, on training pictures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from commands import exit_code
from superfine import images
from superfine.errors import DataError
from superfine.export.files import export
from superfine.images.resize import crop_to_multiple, downscale
from superfine.nets import Network
from superfine.training.data.pictures import evenly_spaced, find_pictures
from superfine.upscaling import Upscaler
from superfine.weights import network_file
from superfine.weights.header import read_header

Colour = NDArray[np.float64]
"""R, G, B."""

_CLEAR = 0.01
"""Levels of 255: from a smaller shift nothing can be told about the response."""


def make_neutral(
    network: Network, pictures: Sequence[NDArray[np.uint8]], *, precisions: Sequence[str], rounds: int = 3
) -> dict[int, list[Colour]]:
    """Move the biases of `network` in place until enlarging shifts no colour.

    pictures: (h, w, 3) uint8; each is downscaled by 2, 3 and 4 first. precisions: whose casts are averaged, as they
        differ by up to a tenth of a level. rounds: the first takes a bias to move the colour by just as much, the
        others by as much as the ones before them did (CFSRCNN counts its biases twice, and refines what they move).
    Biases end as they were where the cast was smallest: bf16 rounds, so a colour may move by more than it was to.
    Returns scale → the cast found before each round and after the last, levels of 255.
    """
    found: dict[int, list[Colour]] = {scale: [] for scale in network.config.scales}
    shifts: dict[int, list[Colour]] = {scale: [] for scale in network.config.scales}
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trial.safetensors"
            network_file.save(network, path, dtype=torch.float32)
            shipped = export(path, Path(folder) / "out", name="trial").weights
            for scale, casts in found.items():
                casts.append(np.mean([cast(str(shipped), scale, each, pictures) for each in precisions], axis=0))
        if number < rounds:
            for scale, casts in found.items():
                shifts[scale].append(-casts[-1] / _response(shifts[scale], casts))
                _shift(network, scale, shifts[scale][-1] / 255)
    for scale, casts in found.items():
        best = int(np.argmin([np.abs(each).max() for each in casts]))
        if undone := shifts[scale][best:]:
            _shift(network, scale, -np.sum(undone, axis=0) / 255)
    return found


def _response(shifts: Sequence[Colour], casts: Sequence[Colour]) -> Colour:
    """Compute how far the colour moved for each level the biases were moved last; 1 while that is not known."""
    if not shifts:
        return np.ones(3)
    clear = np.abs(shifts[-1]) > _CLEAR
    moved = np.divide(casts[-1] - casts[-2], shifts[-1], out=np.ones(3), where=clear)
    return np.clip(moved, 0.25, 4)


def cast(model: str, scale: int, precision: str, pictures: Sequence[NDArray[np.uint8]]) -> Colour:
    """Measure how much brighter, in levels of 255, pictures become in R, G and B: the mean over the pictures."""
    upscaler = Upscaler(model, precision=precision)
    moved = []
    for picture in pictures:
        lr = downscale(picture, scale)
        moved.append(upscaler(lr, scale).mean(axis=(0, 1), dtype=np.float64) - lr.mean(axis=(0, 1), dtype=np.float64))
    upscaler.engine.release()
    return np.asarray(np.mean(moved, axis=0))


def _shift(network: Network, scale: int, amount: Colour) -> None:
    """Make every picture brighter by `amount` (of 0..1): up in the channels that carry +x, down in those of -x."""
    branch = network.upsampler.branches[f"x{scale}"]
    assert isinstance(branch, nn.ModuleList)
    last = branch[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    phases = network.upsampler.step(scale) ** 2
    with torch.no_grad():
        for colour, value in enumerate(amount):
            plus, minus = 2 * colour * phases, (2 * colour + 1) * phases
            last.bias[plus : plus + phases] += float(value)
            last.bias[minus : minus + phases] -= float(value)


def read_pictures(folder: Path, count: int) -> list[NDArray[np.uint8]]:
    """Read `count` RGB pictures of a folder, spread over its sorted names, cut to multiples of 12. Raises DataError."""
    pictures = [images.read(path).pixels for path in evenly_spaced(find_pictures([folder]), count)]
    usable = [crop_to_multiple(p, 12) for p in pictures if p.dtype == np.uint8]
    usable = [p for p in usable if p.size and p.shape[2] == 3]
    if not usable:
        raise DataError(f"{folder} holds no 8-bit RGB pictures: give a folder of photographs")
    return usable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="photographs, best those of the training")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40, help="photographs looked at")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    options = parser.parse_args(arguments)

    def work() -> None:
        network = network_file.load(options.checkpoint)
        pictures = read_pictures(options.folder, options.count)
        for scale, casts in make_neutral(network, pictures, precisions=options.precisions).items():
            print(f"x{scale}:", " -> ".join(" ".join(f"{value:+.3f}" for value in each) for each in casts))
        about = read_header(options.checkpoint).metadata
        kept: dict[str, str] = {key: about[key] for key in ("recipe", "step", "seconds") if key in about}
        network_file.save(network, options.out, dtype=torch.float32, metadata=kept)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
