"""Pictures for tests, made here."""

from pathlib import Path

import numpy as np
from PIL import Image


def photograph(height: int = 37, width: int = 53, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth colour with a little noise: compresses like a picture, and every pixel differs."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (5 + c)) + np.cos(columns / (7 + c)) for c in range(channels)]
    noise = np.random.default_rng(seed).normal(0, 2, (height, width, channels))
    return np.clip(np.stack(waves, axis=2) * 60 + 128 + noise, 0, 255).astype(np.uint8)


def save(path: Path, image: Image.Image, **settings: object) -> Path:
    image.save(path, **settings)
    return path


def rgba() -> Image.Image:
    alpha = np.zeros((37, 53), np.uint8)
    alpha[5:30, 9:40] = 255
    alpha[30:] = 100
    return Image.fromarray(np.dstack([photograph(), alpha]))
