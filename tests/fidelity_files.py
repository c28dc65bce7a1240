"""Source files for the fidelity tables, made by other software than superfine wherever there is any.

Every maker takes plain arrays and gives a file's bytes, so that what superfine reads out of them can be compared.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

SIZE = (24, 36)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]


def colour(peak: int | float) -> np.ndarray:
    """HWC float64 RGB 0..peak: smooth, nowhere at the ends of its range, no two rows alike."""
    waves = [
        np.sin(ROWS / 6 + 1) + np.cos(COLUMNS / 9),
        np.cos(ROWS / 8) + np.sin(COLUMNS / 5),
        np.sin((ROWS + COLUMNS) / 7),
    ]
    return (np.stack([waves[0] / 2, waves[1] / 2, waves[2]], axis=2) * 0.4 + 0.5) * peak


def of_type(values: np.ndarray, dtype: type) -> np.ndarray:
    return (np.rint(values) if np.dtype(dtype).kind == "u" else values).astype(dtype)


def rgb(dtype: type) -> np.ndarray:
    return of_type(colour(1 if dtype is np.float32 else np.iinfo(dtype).max), dtype)


def gray(dtype: type) -> np.ndarray:
    return np.ascontiguousarray(rgb(dtype)[:, :, 0])


def mask(dtype: type) -> np.ndarray:
    peak = 1 if dtype is np.float32 else np.iinfo(dtype).max
    return of_type(np.clip(COLUMNS / 30, 0, 1) * peak, dtype)


def by_pillow(image: Image.Image, format: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def with_alpha(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([values, alpha])


PALETTE = Image.fromarray(rgb(np.uint8)).quantize(16)
CLEAR = bytes([0, 90] + [255] * 14)
CMYK = Image.fromarray(rgb(np.uint8)).convert("CMYK")
BITS = rgb(np.uint8)[:, :, 0] > 128

PILLOW: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("PNG", {}),
    "JPEG": ("JPEG", {"quality": 98, "subsampling": 0}),
    "WebP": ("WEBP", {"lossless": True, "exact": True}),
    "TIFF": ("TIFF", {}),
    "BMP": ("BMP", {}),
    "GIF": ("GIF", {}),
    "AVIF": ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    "PPM": ("PPM", {}),
}
SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "WebP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".gif", "AVIF": ".avif",
          "HEIC": ".heic", "JPEG XL": ".jxl", "PPM": ".ppm"}  # fmt: skip
EIGHT: dict[str, Callable[[], Image.Image]] = {
    "1 bit": lambda: Image.fromarray(BITS),
    "gray": lambda: Image.fromarray(gray(np.uint8)),
    "gray+alpha": lambda: Image.fromarray(with_alpha(gray(np.uint8), mask(np.uint8))),
    "RGB": lambda: Image.fromarray(rgb(np.uint8)),
    "RGBA": lambda: Image.fromarray(with_alpha(rgb(np.uint8), mask(np.uint8))),
    "palette": lambda: PALETTE,
    "palette+alpha": lambda: PALETTE,
    "CMYK": lambda: CMYK,
}
DEEP: dict[str, tuple[type, bool, bool]] = {
    # mode: type, colour, alpha
    "16-bit gray": (np.uint16, False, False),
    "16-bit gray+alpha": (np.uint16, False, True),
    "16-bit RGB": (np.uint16, True, False),
    "16-bit RGBA": (np.uint16, True, True),
    "float gray": (np.float32, False, False),
    "float RGB": (np.float32, True, False),
}
MODES = [*EIGHT, *DEEP]

Expected = tuple[np.ndarray, np.ndarray | None]


def expected(mode: str, format: str = "") -> Expected:
    """Pixels (HW or HWC) and alpha that a file of this mode means."""
    if mode in DEEP:
        dtype, is_colour, has_alpha = DEEP[mode]
        return (rgb if is_colour else gray)(dtype), mask(dtype) if has_alpha else None
    if mode == "1 bit":
        return BITS * np.uint8(255), None
    if mode.startswith("palette"):
        clear = CLEAR if format == "PNG" else bytes([0] + [255] * 15)
        alpha = np.frombuffer(clear, np.uint8)[np.asarray(PALETTE)] if "alpha" in mode else None
        return np.asarray(PALETTE.convert("RGB")), alpha
    if mode == "CMYK":
        return np.asarray(CMYK.convert("RGB")), None
    return (gray if "gray" in mode else rgb)(np.uint8), mask(np.uint8) if "alpha" in mode or mode == "RGBA" else None


def make(format: str, mode: str) -> bytes | None:
    """A file of a format and mode; None where the format has no such files, or no software here that writes them."""
    if mode in EIGHT:
        return _eight(format, mode)
    dtype, is_colour, has_alpha = DEEP[mode]
    values, alpha = expected(mode)
    stacked = values if alpha is None else with_alpha(values, alpha)
    if format == "TIFF":
        tifffile = pytest.importorskip("tifffile")
        file = io.BytesIO()
        extra = {"extrasamples": ["unassalpha"]} if has_alpha else {}
        kind = "rgb" if is_colour else "minisblack"
        tifffile.imwrite(file, stacked, photometric=kind, planarconfig="contig" if stacked.ndim == 3 else None, **extra)
        return file.getvalue()
    if format == "PNG" and dtype is np.uint16:
        return bytes(pytest.importorskip("imagecodecs").png_encode(stacked))
    if format == "JPEG XL" and dtype is np.uint16:
        return _jxl(stacked)
    if format == "HEIC" and dtype is np.uint16:
        heif = pytest.importorskip("pillow_heif")
        file = io.BytesIO()
        kind = ("RGB" if is_colour else "L") + "A" * has_alpha + ";16"
        heif.encode(kind, (SIZE[1], SIZE[0]), stacked.tobytes(), file, quality=100, chroma=444)
        return file.getvalue()
    if format == "PPM" and dtype is np.uint16 and not has_alpha:
        head = f"{'P6' if is_colour else 'P5'} {SIZE[1]} {SIZE[0]} 65535\n".encode()
        return head + stacked.astype(">u2").tobytes()
    return None


def _eight(format: str, mode: str) -> bytes | None:
    image = EIGHT[mode]()
    if mode == "CMYK" and format not in ("JPEG", "TIFF"):
        return None
    if mode.startswith("palette") and format not in ("PNG", "GIF", "BMP", "TIFF"):
        return None
    if mode == "palette+alpha" and format not in ("PNG", "GIF"):
        return None
    if mode == "1 bit" and format not in ("PNG", "TIFF", "BMP", "PPM"):
        return None
    if format in ("JPEG", "BMP", "PPM", "GIF") and mode in ("gray+alpha", "RGBA"):
        return None
    if format == "GIF" and mode == "RGB":
        return None
    if format in ("WebP",) and mode in ("gray", "gray+alpha"):
        return None
    if format == "AVIF" and mode == "gray+alpha":
        return None
    if format == "HEIC":
        pytest.importorskip("pillow_heif")
        if mode == "gray+alpha":
            return None
        return _heic(np.asarray(image), image.mode)
    if format == "JPEG XL":
        return _jxl(np.asarray(image))
    kind, settings = PILLOW[format]
    if format == "AVIF" and mode == "gray":
        settings = {"quality": 100, "subsampling": "4:0:0"}
    if mode == "palette+alpha":
        settings = {**settings, "transparency": CLEAR if format == "PNG" else 0}
    return by_pillow(image, kind, **settings)


def _heic(values: np.ndarray, mode: str) -> bytes:
    file = io.BytesIO()
    pytest.importorskip("pillow_heif").encode(mode, (SIZE[1], SIZE[0]), values.tobytes(), file, quality=100, chroma=444)
    return file.getvalue()


def _jxl(values: np.ndarray) -> bytes:
    """This encoder says of 8 bits that they are sRGB, of 16 bits that they are linear light: so they are made that."""
    if values.dtype == np.uint16:
        share = values / 65535
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        if values.ndim == 3 and values.shape[2] in (2, 4):
            linear[:, :, -1] = share[:, :, -1]
        values = np.rint(linear * 65535).astype(np.uint16)
    codecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pillow_jxl")
    return bytes(codecs.jpegxl_encode(values, lossless=True))
