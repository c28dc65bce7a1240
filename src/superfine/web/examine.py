"""Look at the first bytes of an upload: a picture or a video, how large, and nothing else is let in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from PIL import UnidentifiedImageError

from superfine.errors import ImageError, SuperfineError, install_command
from superfine.images.files import image_errors, open_header, read
from superfine.images.formats import heif_jxl, read_only
from superfine.images.formats.tiff import is_tiff
from superfine.images.metadata import orientation_of
from superfine.web.problems import Problem

_FORMATS: Final = {
    "PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp", "DIB": ".bmp",
    "GIF": ".gif", "AVIF": ".avif", "PPM": ".ppm", "HEIC": ".heic", "JPEG XL": ".jxl", "JPEG2000": ".png",
    "QOI": ".png", "ICO": ".png", "TGA": ".png",
}  # fmt: skip
"""Formats that are let in → suffix of their results. Pillow knows more; some run programs."""

VIDEO_SUFFIXES: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts")
"""Endings of the containers that `superfine.video` writes."""

_MOST_FRAMES: Final = 10_000
_ANY_SIZE: Final = 2**62
"""Pixels. Nothing is unpacked here; sizes over the limit are refused below, with the limit in words."""


@dataclass(frozen=True)
class Subject:
    """The content of an upload, as its first bytes and its header show it."""

    kind: Literal["picture", "video"]
    suffix: str
    """Of its format, whatever its name ends in."""
    width: int
    """Pixels, upright."""
    height: int
    frames: int = 1
    """Of an animation or a file of several pages. Of a video 1: they are not counted before."""


def examine(path: Path, *, max_pixels: int) -> Subject:
    """Say what a file holds, from its header. Raises Problem for anything but a picture or video, ImageError."""
    with path.open("rb") as file:
        start = file.read(1024)
    if not start:
        raise Problem(400, "empty", "the body is empty: send a picture")
    suffix = video_suffix(start)
    if suffix is not None:
        return _examine_video(path, suffix)
    try:
        read_only.refuse_foreign(start)
    except ImageError as error:
        raise Problem(415, "not-a-picture", f"this {error}") from None
    kind = heif_jxl.kind_of(start) or read_only.kind_of(start)
    if kind is not None:
        return _examine_whole(path, kind, max_pixels)
    with image_errors(str(path), max_pixels):
        try:
            image = open_header(path, _ANY_SIZE)
        except UnidentifiedImageError:
            if not is_tiff(start) and not start.startswith(b"\xff\xd8\xff"):
                raise _unknown() from None
            return _examine_whole(path, "TIFF" if is_tiff(start) else "PNG", max_pixels)
        with image:
            if image.format not in _FORMATS:
                raise _unknown()
            width, height = image.size
            if width * height > max_pixels:
                raise Problem(413, "too-large", _over(f"a picture of {width:,} x {height:,} pixels", max_pixels))
            frames = int(getattr(image, "n_frames", 1)) if image.format != "MPO" else 1
            if frames > _MOST_FRAMES or width * height * frames > max_pixels:
                raise Problem(413, "too-large", _over(f"{frames:,} frames of {width:,} x {height:,}", max_pixels))
            if orientation_of(image) >= 5:
                width, height = height, width
            return Subject("picture", _FORMATS[image.format], width, height, frames)


def _examine_whole(path: Path, kind: str, max_pixels: int) -> Subject:
    """Read a picture whose header alone does not say enough; its result is PNG where its own format is not written."""
    picture = read(path, max_pixels=max_pixels)
    return Subject("picture", _FORMATS.get(kind, ".png"), picture.width, picture.height)


def _over(what: str, limit: int) -> str:
    return f"{what} came, and {limit:,} pixels is this server's limit: send a smaller one"


def _unknown() -> Problem:
    wanted = "PNG, JPEG, WebP, TIFF, AVIF, GIF, BMP, HEIC, JPEG XL, PSD or the like"
    return Problem(415, "not-a-picture", f"this is no picture that can be read here: send {wanted}")


def video_suffix(start: bytes) -> str | None:
    """Name the container of a video by its first bytes; None for anything else.

    FFmpeg would also open playlists and scripts, which name further files and addresses: they never get that far.
    """
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") and heif_jxl.kind_of(start) is None:
        brand = start[8:12] if start[4:8] == b"ftyp" else b"qt  "
        return None if brand in (b"avif", b"avis") else ".mov" if brand == b"qt  " else ".mp4"
    if start.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm" if b"webm" in start[:64] else ".mkv"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return ".avi"
    if len(start) > 376 and start[0] == start[188] == start[376] == 0x47:
        return ".ts"
    return None


def _examine_video(path: Path, suffix: str) -> Subject:
    """Open a video for its size; the path must end in a suffix of a container."""
    try:
        import av  # noqa: F401
    except ModuleNotFoundError:
        command = install_command("video")
        raise Problem(415, "video", f"this server takes pictures only: videos need PyAV there, {command}") from None
    from superfine.video.source import Source

    try:
        with Source(path) as video:
            width, height = (video.height, video.width) if video.is_turned() else (video.width, video.height)
    except SuperfineError:
        raise
    except Exception:  # what a library of decoders raises on damaged files is not to be foreseen
        raise Problem(422, "video", "this video is cut short or damaged") from None
    return Subject("video", suffix, width, height)
