"""Read and write animations (APNG, WebP, GIF, AVIF) and the pages of a TIFF."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from PIL import Image, TiffImagePlugin

from superfine.errors import ImageError
from superfine.images import files
from superfine.images.convert import to_srgb
from superfine.images.depth import as_uint8
from superfine.images.formats import encode, tiff_read
from superfine.images.formats.tiff import is_tiff
from superfine.images.picture import Picture, to_pil

ANIMATED: Final = (".png", ".apng", ".webp", ".gif", ".avif")
PAGED: Final = (".tif", ".tiff")
_LONGEST: Final = 65_535  # milliseconds that APNG can say


@dataclass
class Frames:
    """The pictures of one file, in order."""

    pictures: list[Picture]
    """All of one size for an animation; pages may differ. Each is complete: none has to be drawn over another."""
    durations: list[float] = field(default_factory=list)
    """Milliseconds for each picture; empty for pages and for a single picture."""
    loop: int | None = None
    """Number of times an animation is played: 0 for ever, None if the file does not say."""


def read_frames(path: str | os.PathLike[str] | IO[bytes], *, max_pixels: int = files.DEFAULT_MAX_PIXELS) -> Frames:
    """Read all pictures of a file: its frames or pages, or its single picture.

    Raises ImageError as `files.read` does; `max_pixels` counts all of them together.
    """
    name, source = files.source_of(path)
    with files.image_errors(name, max_pixels):
        opened = files.open_picture(source, name, max_pixels)
        if isinstance(opened, Picture):
            return _tiff_pages(source, max_pixels) if is_tiff(files.start_of(source)) else Frames([opened])
        with opened as image:
            try:
                count = int(getattr(image, "n_frames", 1))
            except SyntaxError:  # Pillow counts pages by reading their tags, and one has a mode unknown to it
                return _tiff_pages(source, max_pixels)
            if count < 2 or image.format not in ("PNG", "WEBP", "GIF", "AVIF", "TIFF"):
                return Frames([files.load(image, source, name, max_pixels)])
            if image.format == "TIFF":
                return _read_pages(image, source, name, max_pixels, count)
            return _read_animation(image, source, name, max_pixels, count)


def same_pixels(one: Picture, other: Picture) -> bool:
    """Return True if two pictures have equal pixels: a repeated frame need not be computed again."""
    if one.pixels.dtype != other.pixels.dtype or (one.alpha is None) != (other.alpha is None):
        return False
    same_alpha = one.alpha is None or other.alpha is None or np.array_equal(one.alpha, other.alpha)
    return same_alpha and np.array_equal(one.pixels, other.pixels)


def _read_animation(image: Image.Image, source: Path | IO[bytes], name: str, max_pixels: int, count: int) -> Frames:
    """Read the frames of an opened animation."""
    pictures: list[Picture] = []
    durations: list[float] = []
    _check_sum(count, image.width * image.height * count, max_pixels)
    for index in range(count):
        image.seek(index)
        if image.info.get("default_image") and index == 0:
            continue  # APNG's still picture for viewers that cannot play; it is not part of the animation
        pictures.append(files.load(image, source, name, max_pixels, frame=index))
        durations.append(float(image.info.get("duration", 0) or 0))
    # A GIF without a loop count is played once; the default of the other formats is for ever.
    loop = image.info.get("loop", 1 if image.format == "GIF" else None)
    return Frames(pictures, durations, int(loop) if isinstance(loop, int) else None)


def _read_pages(image: Image.Image, source: Path | IO[bytes], name: str, max_pixels: int, count: int) -> Frames:
    """Read the pages of a TIFF that Pillow opens."""
    pictures: list[Picture] = []
    pixels = 0
    for index in range(count):
        image.seek(index)
        if index and getattr(image, "tag_v2", {}).get(254, 0) & 1:
            continue  # a thumbnail
        pixels += image.width * image.height
        _check_sum(index + 1, pixels, max_pixels)
        pictures.append(files.load(image, source, name, max_pixels, frame=index))
    return Frames(pictures)


def _tiff_pages(source: Path | IO[bytes], max_pixels: int) -> Frames:
    """Read the pages of a TIFF of which Pillow cannot open some."""
    pictures: list[Picture] = []
    for page in range(tiff_read.count_pages(source)):
        if page and tiff_read.is_thumbnail(source, page):
            continue
        left = max_pixels - sum(picture.width * picture.height for picture in pictures)
        picture = tiff_read.read_page(source, left, page)
        if picture is None:
            raise ImageError(f"page {page + 1} is a TIFF of a kind unknown here; convert it with ImageMagick first")
        pictures.append(picture)
    return Frames(pictures)


def _check_sum(count: int, pixels: int, max_pixels: int) -> None:
    """Raise ImageError if the pictures of a file are over the limit together."""
    if pixels > max_pixels:
        raise ImageError(
            f"{count} pictures of it hold {pixels:,} pixels, over the limit of {max_pixels:,}; "
            "raise it with --max-pixels"
        )


def write_frames(
    frames: Frames,
    path: str | os.PathLike[str] | IO[bytes],
    *,
    format: str | None = None,
    quality: int | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
) -> None:
    """Write an animation, pages, or a single picture; a format that holds only one picture gets the first.

    Pages can only be written to a TIFF. Animations have 8 bits; pages keep their depth. Everything else is as in
    `files.write`.
    """
    named = Path(path).suffix if isinstance(path, (str, os.PathLike)) else ".png"
    suffix = (format or named).lower()
    held = suffix in PAGED or (suffix in ANIMATED and len(frames.durations) > 0)
    if len(frames.pictures) < 2 or not held:
        files.write(frames.pictures[0], path, format=format, quality=quality, background=background)
        return
    options = encode.checked_options(quality, background)

    def put(file: IO[bytes]) -> None:
        if suffix in PAGED:
            _write_pages(frames.pictures, file, options)
        else:
            _write_animation(frames, file, encode.FORMATS[suffix].name, options)

    if isinstance(path, (str, os.PathLike)):
        with files.replacing(Path(path)) as file:
            put(file)
    else:
        put(path)


def _write_pages(pictures: Sequence[Picture], file: IO[bytes], options: encode.Options) -> None:
    """Append every picture to one TIFF."""
    with TiffImagePlugin.AppendingTiffWriter(file) as pages:
        for picture in pictures:
            encode.encode(picture, pages, ".tif", options)
            pages.newFrame()


def _write_animation(frames: Frames, file: IO[bytes], kind: str, options: encode.Options) -> None:
    """Write all frames with their durations."""
    first = encode.with_current_exif(frames.pictures[0], frames.pictures[0].width, frames.pictures[0].height)
    if max(first.width, first.height) > encode.FORMATS[f".{kind.lower()}"].longest_side:
        raise ImageError(f"{first.width} x {first.height} is too large for {kind}; write the pages of a TIFF")
    encode.check_hdr(first, encode.FORMATS[f".{kind.lower()}"], eight_bits=True)
    alpha = any(picture.alpha is not None for picture in frames.pictures)
    gray = all(picture.is_gray for picture in frames.pictures) and not alpha
    pictures = frames.pictures
    if kind == "GIF":
        pictures = [to_srgb(picture) for picture in pictures]
        images = [encode.gif_image(picture) for picture in pictures]
    else:
        images = [to_pil(_as_mode(picture, alpha, gray)) for picture in pictures]
    settings: dict[str, Any] = encode.animation_settings(kind, first, options)
    if frames.durations:
        settings["duration"] = [min(round(duration), _LONGEST) for duration in frames.durations]
    if frames.loop is not None and kind != "AVIF" and (kind, frames.loop) != ("GIF", 1):
        settings["loop"] = frames.loop
    for image in images:
        image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    try:
        images[0].save(file, kind.upper(), save_all=True, append_images=images[1:], **settings)
    except (ValueError, TypeError, RuntimeError, struct.error) as error:
        raise ImageError(f"{kind} encoder: {error}") from None


def _as_mode(picture: Picture, alpha: bool, gray: bool) -> Picture:
    """Convert a frame to the mode of all frames: RGBA if any has alpha, gray only if all are gray."""
    pixels = as_uint8(picture.pixels)
    if picture.is_gray and not gray:
        pixels = np.repeat(pixels, 3, axis=2)
    mask = None if picture.alpha is None else as_uint8(picture.alpha)
    if alpha and mask is None:
        mask = np.full(pixels.shape[:2], 255, np.uint8)
    return replace(picture, pixels=pixels, alpha=mask)
