"""Write NAME.int8.safetensors: the int8 form of a network's convolutions at every scale, measured on photographs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from superfine.atomic import replace_file, sha256_of
from superfine.engines.int8 import FORMAT, PARTS, int8_path
from superfine.engines.runtime import core
from superfine.errors import DataError, ModelError
from superfine.images.files import read
from superfine.images.resize import downscale
from superfine.quantization.calibrate import Calibration, calibrate, draw_crops, weights_of
from superfine.training.data.pictures import evenly_spaced, find_pictures
from superfine.weights import Model

EASIER = {2: 0.0, 3: 3.0, 4: 5.0}
"""scale → dB of PSNR that methods lose from x2 to it (bicubic: 3.2 and 5.2 on Set5): noise may be that much louder."""


def calibrate_scales(
    model: Model, pictures: Path, budget: float, crops: int, progress: Callable[[int, int, int], None] | None = None
) -> Iterator[tuple[int, Calibration]]:
    """Calibrate a model scale by scale; `progress(scale, done, total)` counts convolutions.

    `budget`: dB of noise at x2; EASIER says how much less at other scales, for the same cost. Layers that the scales
    have in common are measured once, at the first. Raises ModelError (a model without graphs), DataError (no picture
    that can be used).
    """
    if not model.graphs:
        raise ModelError(f"{model.name} has no graphs: make them with superfine export")
    chosen = evenly_spaced(find_pictures([pictures]), crops)
    originals = [each for each in (read(path).pixels for path in chosen) if each.dtype == np.uint8]
    if not originals:
        raise DataError(f"no 8-bit pictures in {pictures}")
    scales = sorted(model.graphs)
    # The body is measured once, so every crop set holds pictures shrunk by each of the scales.
    lr = [
        downscale(np.broadcast_to(each, (*each.shape[:2], 3)), scales[number % len(scales)])
        for number, each in enumerate(originals)
    ]
    known = None
    for scale in scales:
        graph = core().read_model(model.graphs[scale])
        # As many SR pixels at every scale, but for a floor: measuring then takes about as long.
        count = max(crops * 4 // scale**2, (crops + 1) // 2)
        report = None if progress is None else (lambda done, total, at=scale: progress(at, done, total))
        calibration = calibrate(graph, draw_crops(lr, count), budget - EASIER[scale], known or (), report)
        known = known or list(zip(weights_of(graph), calibration.layers, strict=True))
        yield scale, calibration


def write(model: Model, calibrations: Mapping[int, Calibration]) -> Path:
    """Write the int8 form beside the weights, tied to them by their hash; raise ModelError if it cannot be written."""
    tensors: dict[str, NDArray[np.generic]] = {}
    keys: dict[bytes, str] = {}  # tensors that two scales share are stored once
    scales = {}
    for scale, each in calibrations.items():
        convolutions: dict[str, list[str | bool | float]] = {}
        for layer in each.layers:
            if layer.narrow is None:
                continue
            parts = {part: np.ascontiguousarray(getattr(layer.narrow, part)) for part in PARTS}
            content = b"".join(part.tobytes() for part in parts.values())
            if content not in keys:
                keys[content] = key = f"{len(keys)}"
                tensors.update({f"{key}.{part}": values for part, values in parts.items()})
            convolutions[layer.name] = [keys[content], layer.narrow.signed, *layer.narrow.highs]
        scales[str(scale)] = {
            "noise_db": round(each.noise, 2),
            "share_of_work": round(each.share, 4),
            "convolutions": convolutions,
        }
    about = {"format": FORMAT, "weights": sha256_of(model.weights), "scales": scales}
    path = int8_path(model.weights)
    try:
        replace_file(path, save(tensors, {"int8": json.dumps(about, separators=(",", ":"))}))
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}") from error
    return path
