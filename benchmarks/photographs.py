"""Measure worn pictures: bicubic, the clean network, the one for photographs, a denoiser before the clean one.

    python benchmarks/photographs.py ~/Kodak24 -s 2,4 --degrade jpeg:30 jpeg:90 noise:5 --json photographs.json

Protocol `standard`. The last columns are what `-m auto` chooses, which sees the JPEG file itself, and how often that is
the network for photographs. The denoiser is OpenCV's non-local means, if it is installed, at the strength of the
noise's sigma, 3 for JPEG. With --json what was measured is kept, and only what is missing is measured the next time.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine import Upscaler, images
from superfine.benchmark.degrade import Degradation, degrade, parse_degradations
from superfine.benchmark.sets import find_set, pairs
from superfine.images.picture import Picture
from superfine.images.resize import resize
from superfine.quality.protocols import measure
from superfine.upscaling.auto import CLEAN, PHOTO, choose

Pixels = NDArray[np.uint8]
METHODS = ("bicubic", CLEAN, PHOTO, f"OpenCV, {CLEAN}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("-s", "--scale", default="2")
    parser.add_argument("--degrade", nargs="+", default=["jpeg:30", "jpeg:50", "jpeg:70", "jpeg:90"])
    parser.add_argument("--photo", default=PHOTO, help="other weights for photographs")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--metrics", default="psnr,ssim")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="draw a crop of each third picture instead, every method beside it")
    options = parser.parse_args()
    kept: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.is_file() else {}
    names = {CLEAN: CLEAN, PHOTO: options.photo}
    upscalers = {method: Upscaler(name, precision="fp32") for method, name in names.items()}
    metrics = options.metrics.split(",")
    if options.sheet:
        draw_sheet(options.sets[0], int(options.scale), options.degrade[0], upscalers).save(options.sheet)
        return
    for folder in options.sets:
        for scale in map(int, options.scale.split(",")):
            for text in options.degrade:
                measure_column(folder, scale, text, options.methods, upscalers, metrics, kept)
                print(row(kept, folder.name, scale, text, options.methods, metrics), flush=True)
                if options.json:
                    options.json.write_text(json.dumps(kept, indent=0))


def measure_column(
    folder: Path,
    scale: int,
    text: str,
    methods: list[str],
    upscalers: dict[str, Upscaler],
    metrics: list[str],
    kept: dict[str, Any],
) -> None:
    """Measure what is missing of one set, scale and degradation; "none" for clean pictures."""
    steps = parse_degradations(text) if text != "none" else ()
    for pair in pairs(find_set(folder, scale)):
        lr = degrade(pair.lr, steps)
        picked = choose(as_read(pair.lr, steps)).model
        for method in methods:
            key = "|".join(map(str, (folder.name, scale, text, method, pair.name, *digests(method, upscalers))))
            found = kept.setdefault(key, {})
            if missing := [name for name in metrics if name not in found]:
                sr = enlarged(lr, scale, method, upscalers, steps)
                found.update(measure(sr, pair.hr, scale, "standard", missing))
        kept["|".join(map(str, (folder.name, scale, text, "auto", pair.name)))] = picked


def draw_sheet(folder: Path, scale: int, text: str, upscalers: dict[str, Upscaler], side: int = 144) -> Image.Image:
    """Draw a row for each third picture: the middle by bicubic, clean, for photographs, and the original, doubled."""
    rows = []
    steps = parse_degradations(text)
    for number, pair in enumerate(pairs(find_set(folder, scale))):
        if number % 3:
            continue
        top, left = (length // scale // 2 - side // scale // 2 for length in pair.hr.shape[:2])
        around = 32  # LR pixels, so that what lies outside the crop has its say
        window = slice(top - around, top + side // scale + around), slice(left - around, left + side // scale + around)
        lr = np.ascontiguousarray(degrade(pair.lr, steps)[window])
        inner = slice(around * scale, around * scale + side // scale * scale)
        made = [enlarged(lr, scale, method, upscalers, steps)[inner, inner] for method in METHODS[:3]]
        hr = pair.hr[top * scale :, left * scale :][: side // scale * scale, : side // scale * scale]
        rows.append(np.concatenate([*made, hr], axis=1))
    sheet = np.concatenate(rows).repeat(2, axis=0).repeat(2, axis=1)
    return Image.fromarray(sheet)


def digests(method: str, upscalers: dict[str, Upscaler]) -> list[str]:
    return [upscaler.digest[:8] for name, upscaler in upscalers.items() if method.endswith(name)]


def as_read(lr: Pixels, steps: tuple[Degradation, ...]) -> Picture:
    """Give the degraded picture as superfine would read it: from a JPEG file, where JPEG came last."""
    if not steps or steps[-1].kind != "jpeg":
        return Picture(degrade(lr, steps))
    file = io.BytesIO()
    before = Image.fromarray(degrade(lr, steps[:-1]))
    before.save(file, "JPEG", quality=int(steps[-1].amount), subsampling="4:2:0")
    file.seek(0)
    return images.read(file)


def enlarged(
    lr: Pixels, scale: int, method: str, upscalers: dict[str, Upscaler], steps: tuple[Degradation, ...]
) -> Pixels:
    if method == "bicubic":
        return resize(lr, (lr.shape[0] * scale, lr.shape[1] * scale))
    if method.startswith("OpenCV"):
        cv2 = importlib.import_module("cv2")
        strength = max([step.amount for step in steps if step.kind == "noise"], default=3.0)
        lr = np.ascontiguousarray(cv2.fastNlMeansDenoisingColored(lr, None, strength, strength, 7, 21))
    made: Pixels = upscalers[PHOTO if method == PHOTO else CLEAN](lr, scale)
    return made


def row(kept: dict[str, Any], name: str, scale: int, text: str, methods: list[str], metrics: list[str]) -> str:
    """Write one line of the table: means over the pictures."""
    values: dict[str, dict[str, dict[str, float]]] = {}
    for key, found in kept.items():
        of, times, degraded, method, picture, *_ = key.split("|")
        if (of, times, degraded) == (name, str(scale), text) and method in methods:
            values.setdefault(method, {})[picture] = found
    cells = [mean(values[method].values(), metrics) for method in methods]
    picked = {key.split("|")[4]: model for key, model in kept.items() if key.startswith(f"{name}|{scale}|{text}|auto|")}
    if all(model in values for model in picked.values()):
        cells.append(mean([values[model][picture] for picture, model in picked.items()], metrics))
    cells.append(f"{sum(model == PHOTO for model in picked.values())} of {len(picked)}")
    return f"| {name} | x{scale} | {text} | {' | '.join(cells)} |"


def mean(values: Any, metrics: list[str]) -> str:
    rows = list(values)
    return " / ".join(
        f"{np.mean([each[metric] for each in rows]):.{2 if metric == 'psnr' else 4}f}" for metric in metrics
    )


if __name__ == "__main__":
    main()
