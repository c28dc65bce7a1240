"""Measure reading and writing of pictures: seconds, size and memory, and the share of it beside the network.

python benchmarks/picture_files.py PHOTOGRAPH              # formats, 8 and 16 bits
python benchmarks/picture_files.py PHOTOGRAPH --overhead   # a 2-megapixel PNG: all beside the network's time
python benchmarks/picture_files.py --memory .png           # peak memory of writing 16,000 x 12,000 pixels
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from superfine.errors import ImageError
from superfine.images import Picture, from_pil, read, to_pil, write


def stretched(picture: Picture, height: int, width: int) -> Picture:
    """The photograph at a size: about as hard to pack as what an upscaler writes."""
    return from_pil(to_pil(picture).resize((width, height), Image.Resampling.BICUBIC))


def formats(picture: Picture, folder: Path) -> None:
    deep = Picture(picture.pixels.astype(np.uint16) * 257)
    print(f"{picture.width} x {picture.height}\n{'format':8} {'bits':>4} {'write s':>8} {'read s':>8} {'MB':>8}")
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp", ".gif", ".avif", ".heic", ".jxl", ".ppm"):
        for bits, source in ((8, picture), (16, deep)):
            path = folder / f"a{suffix}"
            started = perf_counter()
            try:
                write(source, path)
            except ImageError as error:
                print(f"{suffix:8} {error}")
                break
            written = perf_counter()
            back = read(path)
            seconds = written - started, perf_counter() - written
            print(
                f"{suffix:8} {bits:4} {seconds[0]:8.2f} {seconds[1]:8.2f} {path.stat().st_size / 1e6:8.2f}", flush=True
            )
            assert back.height == source.height


def overhead(picture: Picture, folder: Path) -> None:
    from superfine import Upscaler

    write(stretched(picture, 1155, 1732), folder / "lr.png")
    upscaler = Upscaler("esrgcnn")
    upscaler(read(folder / "lr.png"), 2)
    for _ in range(3):
        started = perf_counter()
        source = read(folder / "lr.png")
        loaded = perf_counter()
        larger = upscaler(source, 2)
        computed = perf_counter()
        write(larger, folder / "sr.png")
        ended = perf_counter()
        beside = (loaded - started) + (ended - computed)
        print(
            f"2 MP x2: read {loaded - started:.2f} s, network {computed - loaded:.2f} s, "
            f"write {ended - computed:.2f} s: {beside / (computed - loaded):.1%} beside the network",
            flush=True,
        )


def memory(suffix: str, folder: Path) -> None:
    pixels = np.empty((12_000, 16_000, 3), np.uint8)
    noise = np.random.default_rng(0).integers(0, 40, (100, 16_000, 3), dtype=np.uint8)
    for top in range(0, 12_000, 100):
        pixels[top : top + 100] = noise + np.uint8(top // 100)
    before = peak()
    started = perf_counter()
    write(Picture(pixels), folder / f"a{suffix}")
    extra = peak() - before
    seconds = perf_counter() - started
    print(f"{suffix}: {extra / 1e6:.0f} MB beside the {pixels.nbytes / 1e6:.0f} MB written, {seconds:.1f} s")


def peak() -> int:
    """Bytes (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path, nargs="?")
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--memory", metavar="SUFFIX")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.memory:
            memory(options.memory, Path(folder))
        elif options.photograph is None:
            parser.error("name a photograph")
        elif options.overhead:
            overhead(read(options.photograph), Path(folder))
        else:
            formats(stretched(read(options.photograph), 2000, 3000), Path(folder))


if __name__ == "__main__":
    main()
