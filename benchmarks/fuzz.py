"""Thousands of damaged picture files through the whole command, to see that none of them can hurt.

    python benchmarks/fuzz.py                     # 5,000 files, about ten minutes
    python benchmarks/fuzz.py --files 200 --seed 7

Every file is a small picture of some format and mode, damaged by a seeded generator: bits flipped, the end
cut off, chunks swapped, repeated or blanked, whole numbers in the header made absurd. Each goes through
`superfine upscale` (with the weightless engine) in a worker process. Wanted: exit code 0 or 2; on 2 one line on
standard error and no file at the target; no traceback; at most 10 s; at most 1 GiB of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

SECONDS = 10
BYTES = 1 << 30


def seeds() -> dict[str, bytes]:
    """Sound files to damage: name with suffix → content."""
    from superfine.images import Picture, write
    from superfine.images.formats.frames import Frames, write_frames

    rows, columns = np.mgrid[:40, :52]
    colour = np.stack([np.sin(rows / 9), np.cos(columns / 7), np.sin((rows + columns) / 5)], axis=2) * 0.4 + 0.5
    eight, mask = np.rint(colour * 255).astype(np.uint8), np.where(columns < 30, 255, 90).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    more = {"exif": block, "dpi": (300.0, 300.0), "xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", "text": {"a": "b"}}
    found = {}
    kinds = {
        "gray": Picture(eight[:, :, :1], **more), "rgb": Picture(eight, **more), "rgba": Picture(eight, mask, **more),
        "deep": Picture(eight.astype(np.uint16) * 257, mask.astype(np.uint16) * 257, **more),
        "deeprgb": Picture(eight.astype(np.uint16) * 257, **more), "float": Picture(colour.astype(np.float32), **more),
    }  # fmt: skip
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp", ".gif", ".avif", ".heic", ".jxl", ".ppm"):
        for name, picture in kinds.items():
            file = io.BytesIO()
            write(picture, file, format=suffix)
            found[name + suffix] = file.getvalue()
    for suffix in (".png", ".webp", ".gif", ".tif"):
        file = io.BytesIO()
        frames = [Picture(np.roll(eight, shift, axis=1), mask) for shift in (0, 9, 18)]
        write_frames(Frames(frames, [] if suffix == ".tif" else [50, 60, 70]), file, format=suffix)
        found["frames" + suffix] = file.getvalue()
    image = Image.fromarray(eight)
    others = {
        "palette.png": (image.quantize(16), {"transparency": 3}), "bits.png": (image.convert("1"), {}),
        "palette.bmp": (image.quantize(16), {}), "bits.tif": (image.convert("1"), {"compression": "group4"}),
        "lzw.tif": (image, {"compression": "tiff_lzw"}), "raw.tif": (image, {}),
        "cmyk.tif": (image.convert("CMYK"), {}), "cmyk.jpg": (image.convert("CMYK"), {}),
        "progressive.jpg": (image, {"progressive": True}),
        "lossless.webp": (image, {"lossless": True}), "big.tif": (image, {"big_tiff": True}),
        "jpeg.tif": (image, {"compression": "jpeg"}), "bits.ppm": (image.convert("1"), {}),
    }  # fmt: skip
    formats = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".jpg": "JPEG", ".webp": "WEBP", ".ppm": "PPM"}
    for name, (source, settings) in others.items():
        file = io.BytesIO()
        source.save(file, formats[Path(name).suffix], **settings)
        found[name] = file.getvalue()
    return found | read_only_seeds(eight, mask)


def read_only_seeds(eight: np.ndarray, mask: np.ndarray) -> dict[str, bytes]:
    """Sound files of the formats that can only be read, as far as their libraries are installed."""
    rgba = np.dstack([eight, mask])
    found = {}
    for name, kind in {
        "rgba.qoi": "QOI",
        "rgba.ico": "ICO",
        "rgba.dds": "DDS",
        "rgba.jp2": "JPEG2000",
        "rgba.tga": "TGA",
    }.items():
        file = io.BytesIO()
        Image.fromarray(rgba).save(file, kind)
        found[name] = file.getvalue()
    planes = struct.pack(">HHIIHH", 0, 4, *mask.shape, 16, 3) + bytes(12) + bytes(2)
    deep = np.moveaxis(rgba.astype(">u2") * 257, 2, 0).tobytes()
    found["deep.psd"] = b"8BPS\0\1" + bytes(4) + planes + deep
    try:
        import imagecodecs as codecs
        import OpenEXR
    except ImportError:
        return found
    sixteen, light = eight.astype(np.uint16) * 257, (eight / 80).astype(np.float32)
    found["deep.jp2"] = bytes(codecs.jpeg2k_encode(sixteen, level=0))
    found["twelve.jpg"] = bytes(codecs.jpeg8_encode(sixteen >> 4, bitspersample=12))
    found["lossless.jpg"] = bytes(codecs.jpeg8_encode(sixteen, bitspersample=16, lossless=True))
    found["rgb.hdr"] = bytes(codecs.rgbe_encode(light, header=True))
    codes = {"bitspersample": 10, "primaries": 9, "transfer": 16, "matrix": 9}
    found["hdr.avif"] = bytes(codecs.avif_encode(sixteen >> 6, **codes))
    for name, kind in {"half.exr": np.float16, "float.exr": np.float32}.items():
        with tempfile.TemporaryDirectory() as folder:
            form = {"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage}
            OpenEXR.File(form, {"RGB": light.astype(kind)}).write(f"{folder}/a.exr")
            found[name] = Path(folder, "a.exr").read_bytes()
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    """One to four injuries."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if len(out) < 16:
            break
        # Headers are where the harm is: half of the injuries go to the first 200 bytes.
        end = min(200, len(out) - 8) if rng.random() < 0.5 else len(out) - 8
        at = rng.randrange(end)
        kind = rng.randrange(7)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[rng.randrange(len(out)) :]
        elif kind == 2:
            out[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f"])
        elif kind == 3:
            width = rng.randint(1, 40)
            other = rng.randrange(end)
            out[at : at + width], out[other : other + width] = out[other : other + width], out[at : at + width]
        elif kind == 4:
            part = bytes(out[at : at + rng.randint(1, 300)])
            out[at:at] = part * rng.randint(1, 3)
        elif kind == 5:
            del out[at : at + rng.randint(1, 60)]
        else:
            out[at : at + 2] = rng.randrange(65536).to_bytes(2, "big")
    return bytes(out)


def files(count: int, seed: int, only: str = "") -> list[tuple[str, bytes]]:
    """The same files for the same seed, all formats (or those whose name ends in `only`) in turn."""
    sound = sorted((name, data) for name, data in seeds().items() if name.endswith(only))
    made = []
    for index in range(count):
        name, data = sound[index % len(sound)]
        made.append((f"{index:05d}-{name}", damage(data, random.Random(f"{seed}/{index}"))))
    return made


def work(pipe: Connection) -> None:
    """A worker: takes paths of a source and a target, gives exit code, standard error and its peak memory in bytes."""
    from superfine.__main__ import main

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        sound = Path(folder, "sound.png")
        Image.new("RGB", (8, 8)).save(sound)
        main(["upscale", str(sound), "-o", str(sound.with_name("out.png")), "-s", "2", "--engine", "nearest"])
    pipe.send("ready")  # what is imported late is imported now: files are timed, not Python's start
    while True:
        job = pipe.recv()
        if job is None:
            return
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = main(["upscale", job[0], "-o", job[1], "-s", "2", "--engine", "nearest"])
            except BaseException as error:
                code = f"{type(error).__name__}: {error}"
        pipe.send((code, said.getvalue(), peak_memory()))


def peak_memory() -> int:
    """Bytes. (Linux's ru_maxrss would count what the parent held when it started this process.)"""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Worker:
    """A process that can be given up on."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.pipe.recv()

    def run(self, source: Path, target: Path) -> tuple[object, str, int]:
        """Exit code (or what went wrong instead), standard error, peak memory."""
        self.pipe.send((str(source), str(target)))
        if not self.pipe.poll(SECONDS):
            self.process.kill()
            return "hang", "", 0
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            return f"killed by signal {-(self.process.exitcode or 0)}", "", 0

    def stop(self) -> None:
        if self.process.is_alive():
            self.pipe.send(None)
        self.process.join(5)


def judge(code: object, said: str, peak: int, target: Path) -> str | None:
    """Say what is wrong with an outcome; None if nothing is."""
    lines = said.strip().splitlines()
    if code not in (0, 2):
        return str(code)
    if "Traceback" in said:
        return "traceback"
    if peak > BYTES:
        return f"{peak / 1e6:.0f} MB"
    if code == 2 and (len(lines) != 1 or target.exists()):
        return f"a refusal with {len(lines)} lines" + (" and a file" if target.exists() else "")
    if code == 0 and not target.exists():
        return "no result"
    return None


def fuzz(count: int, seed: int, keep: Path | None = None, only: str = "") -> dict[str, object]:
    """All of it; the counts, the largest figures, and a line for every file that did harm."""
    harm: list[str] = []
    codes: Counter[str] = Counter()
    slowest, highest = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        worker: Worker | None = None
        for name, data in files(count, seed, only):
            worker = worker or Worker()
            source, target = Path(folder, name), Path(folder, "out-" + Path(name).stem + ".png")
            source.write_bytes(data)
            started = time.perf_counter()
            code, said, peak = worker.run(source, target)
            slowest = max(slowest, time.perf_counter() - started)
            highest = max(highest, peak)
            codes[str(code)] += 1
            wrong = judge(code, said, peak, target)
            if wrong is not None:
                harm.append(f"{name}: {wrong} | {said[-300:]!r}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / name).write_bytes(data)
                if worker.process.is_alive():
                    worker.stop()
                worker = None  # a fresh one, whose peak memory is its own
            left = [path.name for path in Path(folder).iterdir() if path not in (source, target)]
            if left:
                harm.append(f"{name}: left {left} behind")
                for other in left:
                    Path(folder, other).unlink()
            source.unlink()
            target.unlink(missing_ok=True)
        if worker is not None:
            worker.stop()
    return {
        "files": count,
        "codes": dict(codes),
        "slowest_s": round(slowest, 2),
        "peak_mb": highest // 10**6,
        "harm": harm,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="SUFFIX", help="files of one format, such as .tif")
    parser.add_argument("--keep", type=Path, help="folder for the files that did harm")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    told = fuzz(options.files, options.seed, options.keep, options.only)
    print(json.dumps(told, indent=1))
    return 1 if told["harm"] else 0


if __name__ == "__main__":
    sys.exit(main())
