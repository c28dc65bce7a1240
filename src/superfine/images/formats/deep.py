"""Read formats by the libraries of `superfine[formats]`: OpenEXR, Radiance, PSD, deep JPEG 2000, deep JPEG."""

import ctypes
import importlib
import io
import os
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine.errors import ImageError, install_command
from superfine.images.depth import Pixels
from superfine.images.formats.avif_items import boxes_in
from superfine.images.picture import Picture, assemble, check_size, from_pil
from superfine.images.scene_light import picture_of_light


def library(module: str, what: str) -> ModuleType:
    """Import an optional library. Raises ImageError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImageError(f"{what} needs {module}: {install_command('formats')}") from None


def read_known(kind: str, data: bytes, max_pixels: int) -> Picture:
    """Read a picture of one of `read_only.kind_of`'s formats. Raises ImageError without the library."""
    return {"OpenEXR": _read_exr, "Radiance": _read_radiance, "PSD": _read_psd}[kind](data, max_pixels)


# OpenEXR ----------------------------------------------------------------------------------------

_quiet_lock = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what a C++ library prints about damaged files on both outputs; Python's own messages still get there."""
    with _quiet_lock:
        sys.stdout.flush()
        sys.stderr.flush()
        before, kept = sys.stderr, {number: os.dup(number) for number in (1, 2)}
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            if _descriptor(before) == 2:  # another thread may have something to say meanwhile
                sys.stderr = os.fdopen(os.dup(kept[2]), "w", buffering=1, errors="backslashreplace")
            for number in kept:
                os.dup2(nothing, number)
            yield
        finally:
            with suppress(OSError, AttributeError, TypeError):
                ctypes.CDLL(None).fflush(None)  # what is still in C's buffers must not come out later
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
            if sys.stderr is not before:
                sys.stderr.close()
                sys.stderr = before
            os.close(nothing)


def _descriptor(stream: Any) -> int | None:
    """Return a stream's file descriptor, None if it has none."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def _read_exr(data: bytes, max_pixels: int) -> Picture:
    """Read the colour of the first part: R, G, B or Y, of the layer without name or the first that has colour."""
    codecs = library("OpenEXR", "reading OpenEXR")
    with _quiet():
        header = codecs.File(io.BytesIO(data), header_only=True).header()
        window, shown = ([[int(side) for side in corner] for corner in header[key]] for key in _WINDOWS)
        for (left, top), (right, bottom) in (window, shown):
            check_size(right - left + 1, bottom - top + 1, max_pixels)
        channels = codecs.File(io.BytesIO(data), separate_channels=True, num_threads=0).channels()
    planes = {name: channel.pixels for name, channel in channels.items()}
    names = _colour_channels(planes)
    size = (window[1][1] - window[0][1] + 1, window[1][0] - window[0][0] + 1)
    if any(planes[name].shape != size or planes[name].dtype.kind != "f" for name in names):
        raise ImageError("its colour channels are whole numbers or of a lower resolution; convert it with exrconvert")
    values = np.stack([planes[name] for name in names], axis=2).astype(np.float32)
    cover = names[0][: len(names[0]) - 1] + "A"
    if cover in planes and planes[cover].shape == size:
        values = np.concatenate([values, planes[cover].astype(np.float32)[:, :, None]], axis=2)
    elif window != shown:
        values = np.concatenate([values, np.ones((*size, 1), np.float32)], axis=2)
    values = _in_window(values, window, shown)
    place = header.get("chromaticities")
    if place is not None:  # red, green, blue, white there; white first here
        place = tuple(float(each) for each in np.ravel(place))
        place = (*place[6:], *place[:6]) if len(place) == 8 and min(place[1::2]) > 0 else None
    if values.shape[2] in (1, 3):
        return picture_of_light(values, None, "OpenEXR", place)
    light, alpha = values[:, :, :-1], values[:, :, -1]
    light = np.where(alpha[:, :, None] > 0, light / np.maximum(alpha, 1e-6)[:, :, None], 0)
    return picture_of_light(light, alpha, "OpenEXR", place)


_WINDOWS: Final = ("dataWindow", "displayWindow")


def _colour_channels(planes: dict[str, Any]) -> list[str]:
    """Return the names of R, G and B, or of Y, in one layer. Raises ImageError if there is none."""
    layers = sorted({name.rpartition(".")[0] for name in planes})
    for layer in layers:
        start = layer + "." if layer else ""
        if all(start + each in planes for each in "RGB"):
            return [start + each for each in "RGB"]
        if start + "Y" in planes and start + "RY" not in planes:
            return [start + "Y"]
    raise ImageError(f"its channels are {', '.join(sorted(planes)[:8])}; want R, G and B, or Y")


def _in_window(values: Pixels, window: list[list[int]], shown: list[list[int]]) -> Pixels:
    """Lay the data window into the display window; what lies outside of the data is transparent black."""
    if window == shown:
        return values
    (left, top), (right, bottom) = shown
    out = np.zeros((bottom - top + 1, right - left + 1, values.shape[2]), values.dtype)
    (first, upper), (last, lower) = window
    x0, y0, x1, y1 = max(left, first), max(top, upper), min(right, last) + 1, min(bottom, lower) + 1
    if x0 < x1 and y0 < y1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = values[y0 - upper : y1 - upper, x0 - first : x1 - first]
    return out


# Radiance ---------------------------------------------------------------------------------------


def _read_radiance(data: bytes, max_pixels: int) -> Picture:
    """Read Radiance HDR of RGBE, rows from the top, with its exposure and gamma undone."""
    head, _, _ = data[:65536].partition(b"\n\n")
    size = re.match(rb"-Y (\d{1,9}) \+X (\d{1,9})\n", data[len(head) + 2 : len(head) + 64])
    if size is None or b"FORMAT=32-bit_rle_xyze" in head:
        raise ImageError("its rows are turned or its colours XYZ; convert it with Radiance's ra_xyze and pfilt first")
    check_size(int(size[2]), int(size[1]), max_pixels)
    if int(size[1]) * int(size[2]) > 64 * 4 * len(data):  # a run of 127 pixels takes two bytes for each of four planes
        raise OSError(f"{len(data)} bytes cannot hold {int(size[2])} x {int(size[1])} pixels")
    codecs = library("imagecodecs", "reading Radiance HDR")
    light = np.asarray(codecs.rgbe_decode(data), np.float32)
    for value in re.findall(rb"^EXPOSURE=\s*([0-9.eE+-]+)\s*$", head, re.MULTILINE):
        light = light / np.float32(max(float(value), 1e-9))
    gamma = re.search(rb"^GAMMA=\s*([0-9.]+)\s*$", head, re.MULTILINE)
    if gamma is not None and 0.1 < float(gamma[1]) < 10:
        light = light ** np.float32(1 / float(gamma[1]))
    return picture_of_light(light, None, "Radiance")


# PSD --------------------------------------------------------------------------------------------


def _read_psd(data: bytes, max_pixels: int) -> Picture:
    """Read the flattened picture of a PSD: gray and RGB of 8 to 32 bits by psd-tools, all else by Pillow."""
    if len(data) < 26:
        raise OSError("the header is cut short")
    channels, height, width, depth, mode = struct.unpack_from(">HIIHH", data, 12)
    check_size(width, height, max_pixels)
    with Image.open(io.BytesIO(_as_eight_bits(data)), formats=["PSD"]) as image:
        if mode not in (1, 3) or (depth == 8 and channels in (1, 3)):
            return from_pil(image)
        tools = library("psd_tools", "reading PSD of this kind")
        values = tools.PSDImage.open(io.BytesIO(data)).numpy()
        own = 1 if mode == 1 else 3
        alpha = values[:, :, own] if values.shape[2] > own else None
        light = values[:, :, :own]
        see_through = _has_transparency(data)
        # Photoshop lays colours over white, and psd-tools takes it away; other programs and plain channels have none.
        if alpha is not None and (not see_through or light.min() < -0.02):
            light = light * alpha[:, :, None] + (1 - alpha[:, :, None])
        alpha = alpha if see_through else None
        if depth == 32:
            return picture_of_light(light, alpha, "PSD")
        kind: Any = np.uint8 if depth <= 8 else np.uint16
        pixels, cover = (_whole(each, kind) for each in (light, alpha))
        assert pixels is not None
        return assemble(image, pixels, cover, image.info.get("icc_profile") or None, "PSD")


def _has_transparency(data: bytes) -> bool:
    """Return True if the flattened picture's further channel is transparency, not a saved selection.

    Adobe's specification: the count of layers is negative, or a block says so where layers have 16 or 32 bits.
    """
    at = 26
    for _ in range(2):  # colour map and resources
        at += 4 + struct.unpack_from(">I", data, at)[0]
    place = 8 if data[4:6] == b"\0\2" else 4
    size = int.from_bytes(data[at : at + place], "big")
    layers = data[at + place : at + place + size]
    blocks = any(key in layers for key in (b"8BIMMtrn", b"8BIMMt16", b"8BIMMt32"))
    inner = int.from_bytes(layers[:place], "big")
    return blocks or (inner >= 2 and struct.unpack_from(">h", layers, place)[0] < 0)


def _whole(values: NDArray[np.floating[Any]] | None, kind: Any) -> Pixels | None:
    """Convert floats 0..1 to whole numbers."""
    top = np.iinfo(kind).max
    return None if values is None else np.rint(np.clip(values, 0, 1) * top).astype(kind)


def _as_eight_bits(data: bytes) -> bytes:
    """Return the file with a header of 8 bits: Pillow then opens it for its metadata, whatever the depth."""
    return data[:22] + struct.pack(">H", 8 if data[22:24] != b"\0\1" else 1) + data[24:]


# JPEG 2000 and JPEG -----------------------------------------------------------------------------


def deep_jpeg2000(data: bytes) -> tuple[Pixels, Pixels | None] | None:
    """Decode JPEG 2000 of more than 8 bits a sample to 16; None for 8 bits, which Pillow reads.

    (Pillow cuts colour to 8 bits, and turns the highest 16-bit values into 0.) Raises ImageError without imagecodecs.
    """
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 42 > len(data):
        return None
    (count,) = struct.unpack_from(">H", data, at + 40)
    parts = [data[at + 42 + 3 * index : at + 45 + 3 * index] for index in range(min(count, 4))]
    depth = max((part[0] & 0x7F) + 1 for part in parts)
    if depth <= 8:
        return None
    if any(part != parts[0] or part[1:] != b"\1\1" for part in parts) or depth > 16 or b"pclr" in data[:at]:
        raise ImageError("a JPEG 2000 of mixed depths or resolutions; convert it to TIFF with opj_decompress first")
    values = np.asarray(library("imagecodecs", "reading JPEG 2000 of more than 8 bits").jpeg2k_decode(data))
    if values.dtype.kind != "u":
        raise ImageError("a JPEG 2000 of signed values; convert it to TIFF with opj_decompress first")
    return _split(values, depth)


def profile_of_jpeg2000(data: bytes) -> bytes | None:
    """Return the ICC profile in the header box of a JP2 file (ISO/IEC 15444-1, I.5.3.3); None if there is none."""
    if data[4:8] != b"jP  ":
        return None
    for kind, content in boxes_in(data[: 1 << 22]):
        for inner, part in boxes_in(content[8:]) if kind == b"jp2h" else ():
            if inner == b"colr" and part[8] == 2:
                return part[11:]
    return None


def read_deep_jpeg(data: bytes, max_pixels: int) -> Picture:
    """Read a JPEG of 12 bits, or a lossless one, which Pillow does not open, by imagecodecs.

    Pillow gets it with the header of an ordinary JPEG, and gives the metadata. Raises OSError if it is damaged.
    """
    header, depth = _ordinary_header(data)
    with Image.open(io.BytesIO(header), formats=["JPEG"]) as image:
        check_size(*image.size, max_pixels)
        if not data.rstrip(b"\0").endswith(b"\xff\xd9"):  # the decoder fills up what is missing without a word
            raise OSError("its end is missing")
        values = np.asarray(library("imagecodecs", f"reading JPEG of {depth} bits").jpeg8_decode(data))
        if values.ndim == 3 and values.shape[2] == 4:
            raise ImageError(f"a CMYK JPEG of {depth} bits; convert it to TIFF with ImageMagick first")
        pixels, _ = _split(values, depth)
        return assemble(image, pixels, None, image.info.get("icc_profile") or None, f"JPEG of {depth} bits")


def _ordinary_header(data: bytes) -> tuple[bytes, int]:
    """Return the file with its frame header made one of 8 bits, baseline, and the depth it had."""
    at = 2
    while at + 9 < len(data):
        marker, size = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[:at] + b"\xff\xc0" + data[at + 2 : at + 4] + b"\x08" + data[at + 5 :], data[at + 4]
        at += 2 + size
    raise OSError("no frame header")


def _split(values: Pixels, depth: int) -> tuple[Pixels, Pixels | None]:
    """Scale values of `depth` bits to 8 or 16, and take alpha off the second or fourth channel."""
    top, full = (1 << depth) - 1, 65535 if depth > 8 else 255
    if top != full:
        values = (np.minimum(values, top).astype(np.uint32) * full + top // 2) // top
    values = values.astype(np.uint16 if depth > 8 else np.uint8).reshape(*values.shape[:2], -1)
    if values.shape[2] in (2, 4):
        return np.ascontiguousarray(values[:, :, :-1]), np.ascontiguousarray(values[:, :, -1])
    return np.ascontiguousarray(values), None
