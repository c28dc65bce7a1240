"""Upscale every file of a folder with the weightless engine and compare with an independent decoder.

python benchmarks/corpus.py FOLDER

Each file goes through `superfine upscale --engine nearest -s 2` into a PNG. Every second pixel of that must be what
ImageMagick reads from the file itself. The table counts: agree, refused in words, differs, and files that ImageMagick
cannot read either. Lossy formats may differ by rounding: 2 levels of 255 on average. Exit code 1 if a file differs.
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

import referee
from superfine.__main__ import main as superfine

_LOSSY = (".jpg", ".jpeg", ".webp", ".avif", ".heic", ".heif", ".jxl", ".mpo", ".jp2")
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
    wanted, found = referee.pixels_of(path), referee.pixels_of(target)
    if wanted is None or found is None:
        return "no referee", ""
    found = found[::2, ::2]
    if wanted.shape != found.shape:
        return "differs", f"{found.shape[1]} x {found.shape[0]} for {wanted.shape[1]} x {wanted.shape[0]}"
    visible = wanted[:, :, 3] > 0
    error = np.abs(wanted.astype(int) - found.astype(int))
    error[:, :, :3][~visible] = 0
    lossy = path.suffix.lower() in _LOSSY
    if (error.mean() > _LOSSY_MEAN) if lossy else (error.max() > _EXACT_LEVEL):
        return "differs", f"by {error.max() / 257:.1f} of 255 at most, {error.mean() / 257:.2f} on average"
    return "agree", ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if referee.imagemagick() is None:
        parser.error("this needs ImageMagick as the independent decoder; install it first")
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
