"""Work out on paper what a very large archive takes: machines, hours, money, storage and requests; or measure the cost.

    python benchmarks/fleet_cost.py                          # a billion pictures, with the defaults below
    python benchmarks/fleet_cost.py --pictures 5e6 --megapixels 12 --scale 2 --core-seconds 1.8 --days 7
    python benchmarks/fleet_cost.py --measure                # core seconds a megapixel of result here, by engine

Prices are parameters: the defaults are round numbers, not an offer of anybody. Core seconds are processor time, all
threads together, and are therefore what a bill follows; they hardly change when other programs run beside it.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Archive:
    """The pictures, what they cost here, and what is paid."""

    pictures: float = 1e9
    megapixels: float = 1.0
    """Of a source."""
    scale: float = 2.0
    core_seconds: float = 1.8
    """A megapixel of result, the network."""
    file_seconds: float = 0.04
    """Core seconds a megapixel of result, to decode the source and encode the result."""
    source_bytes: float = 0.7e6
    result_bytes: float = 8e6
    """A picture."""
    driver_seconds: float = 0.0016
    """Of the process that hands out the work, a picture."""
    days: float = 30.0
    cores: float = 32.0
    """Of a machine."""
    core_price: float = 0.02
    """A core and hour."""
    storage_price: float = 0.02
    """A gigabyte and month."""
    get_price: float = 0.0004
    put_price: float = 0.005
    """A thousand requests."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What an archive takes, on paper.")
    parser.add_argument("--measure", action="store_true", help="measure engines here instead")
    for field in fields(Archive):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    options = vars(parser.parse_args())
    if options.pop("measure"):
        measure()
    else:
        report(Archive(**options))


def report(archive: Archive) -> None:
    """Print the sums."""
    result = archive.pictures * archive.megapixels * archive.scale**2  # megapixels
    core_hours = result * (archive.core_seconds + archive.file_seconds) / 3600
    seconds = archive.days * 86400
    machines = core_hours * 3600 / seconds / archive.cores
    rate = archive.pictures / seconds
    read, written = (archive.pictures * each / 1e12 for each in (archive.source_bytes, archive.result_bytes))
    gigabits = (read + written) * 8e3 / seconds
    requests = archive.pictures / 1e3 * (archive.get_price + archive.put_price)
    drivers = rate * archive.driver_seconds
    lines = {
        "result": f"{result / 1e9:.3g} petapixels: {archive.pictures:.3g} pictures of {archive.megapixels:g} MP at "
        f"x{archive.scale:g}",
        "work": f"{core_hours:.3g} core hours: {np.ceil(machines):.0f} machines of {archive.cores:g} cores for "
        f"{archive.days:g} days",
        "money": f"{core_hours * archive.core_price:,.0f} for cores, {requests:,.0f} for a GET and a PUT each",
        "storage": f"{read:,.0f} TB read, {written:,.0f} TB written: {written * 1e3 * archive.storage_price:,.0f} a "
        "month",
        "requests": f"{rate:,.0f} GET and {rate:,.0f} PUT a second; {2 * archive.pictures / 1e3:,.0f} LIST in all",
        "network": f"{gigabits:.1f} Gbit/s, {gigabits * 1e3 / machines:.0f} Mbit/s a machine",
        "drivers": f"{drivers:.2f} of a core in all, in runs of at most a million pictures",
    }
    for name, line in lines.items():
        print(f"{name:9} {line}")


def measure() -> None:
    """Measure processor time a megapixel of result, of every engine and of files."""
    from superfine import images
    from superfine.benchmark.speed import available_engines
    from superfine.errors import SuperfineError
    from superfine.images.picture import Picture
    from superfine.upscaling import Upscaler

    photo = images.read(Path(sys.modules["superfine"].__file__ or "").parent / "demo" / "budgerigar.jpg")
    picture = Picture(np.ascontiguousarray(photo.pixels[:256, :256]))
    print("core seconds a megapixel of result")
    for model in ("esrgcnn", "cfsrcnn"):
        for engine, precision, device in available_engines():
            for scale in (2, 4):
                try:
                    upscaler = Upscaler(model, engine=engine, precision=precision, device=device)
                    upscaler(picture, scale)  # opens and compiles
                    begun = time.process_time()
                    for _ in range(2):
                        larger = upscaler(picture, scale)
                except SuperfineError:
                    continue
                spent = (time.process_time() - begun) / 2
                cost = spent / (larger.width * larger.height / 1e6)
                print(f"{model} x{scale}  {engine:12} {precision:5} {device:5} {cost:.2f}", flush=True)
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for suffix in (".png", ".jpg", ".webp", ".tif"):
            begun = time.process_time()
            images.write(larger, Path(folder, f"a{suffix}"))
            images.read(Path(folder, f"a{suffix}"))
            spent = time.process_time() - begun
            print(f"files: write and read {suffix} {spent / (larger.width * larger.height / 1e6):.3f}")


if __name__ == "__main__":
    main()
