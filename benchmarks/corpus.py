"""Upscale every file of a folder with the weightless engine and compare with independent decoders.

    python benchmarks/corpus.py FOLDER
    python benchmarks/corpus.py --make FOLDER     # fills it with some 90 files of all formats and kinds

Each file goes through `superfine upscale --engine nearest -s 2` into a PNG. Every second pixel of that must be what
ImageMagick reads from the file itself; where that differs or cannot read it, what FFmpeg or the program of the
format's own library (avifdec, heif-convert, djxl) reads; of OpenEXR and Radiance FFmpeg's linear light. The table
counts: agree, refused in words, differs from all, and files that no referee reads. A line names referees that disagree.
Lossy formats may differ by rounding: 2 levels of 255 on average. Exit code 1 if a file differs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

import fuzz
import referee
from superfine.__main__ import main as superfine
from superfine.images import Picture, read
from superfine.images.colour_codes import is_hdr, matrix_between
from superfine.images.depth import as_float32, as_uint16
from superfine.images.profile import decode_linear
from superfine.images.tone_map import WHITE, pq_to_light

_LOSSY = (".jpg", ".jpeg", ".webp", ".avif", ".heic", ".heif", ".jxl", ".mpo", ".jp2")
_LIGHT = (".exr", ".hdr")
_EXACT_LEVEL, _LOSSY_MEAN = 257, 2 * 257
"""Of 65535: one level of 8 bits; two levels on average."""


def verdict_of(path: Path, folder: Path) -> tuple[str, str]:
    """Return what became of a file, in one of the table's words, and details."""
    target, words = folder / "out.png", io.StringIO()
    target.unlink(missing_ok=True)
    with contextlib.redirect_stderr(words), contextlib.redirect_stdout(io.StringIO()):
        try:
            code: object = superfine(["upscale", str(path), "-o", str(target), "-s", "2", "--engine", "nearest"])
        except BaseException as error:  # an exception that reaches the user is what is looked for
            code = f"{type(error).__name__}: {error}"
    if code == 2 and len(words.getvalue().strip().splitlines()) == 1:
        return "refused in words", words.getvalue().strip()
    if code != 0:
        return "differs", f"exit code {code}: {words.getvalue().strip()[-200:]}"
    picture = read(target)
    if path.suffix.lower() in _LIGHT:
        return _verdict_on_light(path, picture)
    found, judged = as_referee(picture)[::2, ::2], {}
    referees = {"ImageMagick": referee.pixels_of, "FFmpeg": referee.by_ffmpeg, "its program": referee.by_own_program}
    for name, decode in referees.items():
        wanted = decode(path)
        if wanted is None:
            continue
        if wanted.dtype != np.uint16:
            wanted = np.rint(wanted * 65535).astype(np.uint16)
        judged[name] = difference(wanted, found, path.suffix.lower() in _LOSSY)
        if not judged[name]:
            others = [f"{other} differs: {words}" for other, words in judged.items() if words]
            return "agree", "; ".join(others)
    words = "; ".join(f"{name}: {words}" for name, words in judged.items())
    return ("differs", words) if judged else ("no referee", "")


def as_referee(picture: Picture) -> np.ndarray:
    """RGBA of 16 bits, as a referee gives it."""
    rgb = np.broadcast_to(as_uint16(picture.pixels), (*picture.pixels.shape[:2], 3))
    alpha = np.full(rgb.shape[:2], 65535, np.uint16) if picture.alpha is None else as_uint16(picture.alpha)
    return np.dstack([rgb, alpha])


def _verdict_on_light(path: Path, picture: Picture) -> tuple[str, str]:
    """Compare light, 1.0 being white, with FFmpeg's: to 2 %, or 0.01 where it is dark."""
    wanted = referee.by_ffmpeg(path)
    if wanted is None:
        return "no referee", ""
    values = as_float32(picture.pixels)[::2, ::2]
    if not is_hdr(picture.icc):
        light = decode_linear(values, np.dtype(np.float32))
    else:
        light = pq_to_light(values) / np.float32(WHITE)
        light = light if light.shape[2] == 1 else light @ matrix_between(9, 1).T
    cover = np.maximum(wanted[:, :, 3:], 1e-6)
    wanted = np.maximum(wanted[:, :, : light.shape[2]], 0) / (cover if cover.min() < 1 else 1)
    if wanted.shape != light.shape:
        return "differs", f"{light.shape} for {wanted.shape}"
    worst = float((np.abs(light - wanted) - 0.02 * np.abs(wanted)).max())
    return ("agree", "") if worst < 0.01 else ("differs", f"by {worst:.3f} of white")


def difference(wanted: np.ndarray, found: np.ndarray, lossy: bool) -> str:
    """Say how two pictures differ; nothing if they agree."""
    if wanted.shape != found.shape:
        return f"{found.shape[1]} x {found.shape[0]} for {wanted.shape[1]} x {wanted.shape[0]}"
    visible = wanted[:, :, 3] > 0
    error = np.abs(wanted.astype(int) - found.astype(int))
    error[:, :, :3][~visible] = 0
    if (error.mean() > _LOSSY_MEAN) if lossy else (error.max() > _EXACT_LEVEL):
        return f"by {error.max() / 257:.1f} of 255 at most, {error.mean() / 257:.2f} on average"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make", action="store_true", help="fill the folder with made files first")
    options = parser.parse_args()
    if referee.imagemagick() is None:
        parser.error("this needs ImageMagick as an independent decoder; install it first")
    if options.make:
        options.folder.mkdir(parents=True, exist_ok=True)
        for name, data in fuzz.seeds().items():
            (options.folder / name).write_bytes(data)
    table: dict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(path for path in options.folder.rglob("*") if path.is_file()):
            verdict, details = verdict_of(path, Path(folder))
            table[path.suffix.lower() or "none"][verdict] += 1
            if details:
                print(f"{path}: {verdict}: {details}", flush=True)
    words = ("agree", "refused in words", "differs", "no referee")
    print(f"\n{'suffix':10}" + "".join(f"{word:>18}" for word in words))
    for suffix, counts in sorted(table.items()):
        print(f"{suffix:10}" + "".join(f"{counts[word]:18}" for word in words))
    return 1 if any(counts["differs"] for counts in table.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
