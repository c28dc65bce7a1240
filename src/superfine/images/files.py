"""Read picture files with everything they hold, and write them whole or not at all.

    files.read(path) -> Picture          files.write(picture, path)

Damaged, foreign and oversized files raise an ImageError of one line, never Pillow's own exceptions.
"""

import io
import os
import secrets
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from superfine.errors import ImageError
from superfine.images import colour_codes
from superfine.images.bands import BandedImage
from superfine.images.formats import deep, encode, heif_jxl, pillow_16bit, png_chunks, read_only, tiff_read
from superfine.images.formats.tiff import is_tiff
from superfine.images.picture import Picture, assemble, check_size, from_pil, keyed_alpha, to_pil

__all__ = ["DEFAULT_MAX_PIXELS", "SUFFIXES", "Picture", "from_pil", "read", "to_pil", "write"]

SUFFIXES: Final = tuple(encode.FORMATS)
"""Suffixes that can be read and written, lower case, with their dot."""

READABLE: Final = (*SUFFIXES, *read_only.SUFFIXES)
"""Suffixes that are looked for in folders: these and those of formats that can only be read."""

DEFAULT_MAX_PIXELS: Final = 400_000_000
"""20,000 x 20,000: a larger header is more often a trap than a picture."""

_LONGEST_TEXT: Final = 1 << 26
"""Bytes of an unpacked text or profile chunk of PNG. (Pillow's own limit, 1 MiB, is less than some editors write.)"""
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, _LONGEST_TEXT)
PngImagePlugin.MAX_TEXT_MEMORY = max(PngImagePlugin.MAX_TEXT_MEMORY, 2 * _LONGEST_TEXT)

# Pillow's decompression bomb limit is a global of its module.
_limit_lock = threading.RLock()

# Pixels per byte that no file of a format reaches. Deflate packs 1032:1, LZW less, in pixels of a bit or more; a
# JPEG block of 64 pixels takes a bit for its DC value alone; WebP could go further, but only with nothing in it.
_DENSEST: Final = {
    "JPEG": 1000, "MPO": 1000, "PNG": 8 * 1032, "GIF": 8 * 1032, "TIFF": 8 * 1032, "BMP": 8 * 1032, "PPM": 1,
    "WEBP": 20_000,
}  # fmt: skip
_MENDABLE: Final = ("JPEG", "MPO", "PNG")
_HARMLESS: Final = 16_000_000

# What Pillow's decoders raise on damaged files, found by fuzzing them.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error, AttributeError,
    OverflowError, ZeroDivisionError, AssertionError, RuntimeError, NotImplementedError,
)  # fmt: skip


def read(
    path: str | os.PathLike[str] | IO[bytes], *, max_pixels: int = DEFAULT_MAX_PIXELS, accept_damaged: bool = False
) -> Picture:
    """Read a picture file, upright, with alpha, ICC profile, EXIF, XMP, DPI and text notes.

    `path` may be a binary file open for reading (standard input, say). Pixels come as uint8, as
    uint16 where the file has more than 8 bits, as float32 where it has floats. Of an animation or a
    file of several pages, the first (`frames.read_frames` gives all). accept_damaged: of a damaged
    JPEG or PNG take what is there; `Picture.left_out` then says so. Raises ImageError for what cannot
    be read and for pictures over `max_pixels` (width x height), which is checked from the header,
    before any pixel is unpacked.
    """
    name, source = source_of(path)
    try:
        return _read_whole(name, source, max_pixels)
    except ImageError:
        found = _read_damaged(source, max_pixels) if accept_damaged else None
        if found is None:
            raise
        return found


def _read_whole(name: str, source: Path | IO[bytes], max_pixels: int) -> Picture:
    """Read a sound file."""
    with image_errors(name, max_pixels):
        opened = open_picture(source, name, max_pixels)
        if isinstance(opened, Picture):
            return opened
        with opened as image:
            return load(image, source, name, max_pixels)


def _read_damaged(source: Path | IO[bytes], max_pixels: int) -> Picture | None:
    """Read what is there of a damaged JPEG or PNG; None for other formats and where nothing can be read."""
    with _limit_lock:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            with open_header(source, max_pixels) as image:
                if image.format not in _MENDABLE:
                    return None
                picture = load(image, source, "", max_pixels)
        except (ImageError, Image.DecompressionBombWarning, Image.DecompressionBombError, *_DAMAGE):
            return None
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before
    return replace(picture, left_out=(*picture.left_out, "the damaged part of the file"))


def write(
    picture: Picture | BandedImage,
    path: str | os.PathLike[str] | IO[bytes],
    *,
    format: str | None = None,
    quality: int | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
) -> None:
    """Write a picture in the format of the path's suffix (or of `format`, a suffix such as ".png").

    A file appears under its name only when it is whole: it is written beside it under a temporary
    name, then moved there; a failed write leaves nothing behind. `quality` (1..100, default 95)
    is used by JPEG, WebP, AVIF, HEIC and JPEG XL; at 100 WebP and JPEG XL are lossless. For a
    format without alpha the picture is composited over `background` (RGB 0..255); for a format of 8 bits
    values are rounded. A BandedImage is written as its bands are produced (PNG and TIFF only).
    Raises ImageError for an unknown suffix, a size the format cannot hold, or a file that cannot be written.
    """
    options = encode.checked_options(quality, background)
    if not isinstance(path, (str, os.PathLike)):
        # Some encoders go back to fill in what they know only at the end; a pipe cannot.
        whole = io.BytesIO()
        encode.encode(picture, whole, _known_suffix("standard output", format or ".png"), options)
        path.write(whole.getbuffer())
        return
    target = Path(path)
    suffix = _known_suffix(str(target), format or target.suffix)
    with replacing(target) as file:
        encode.encode(picture, file, suffix, options)


def _known_suffix(name: str, suffix: str) -> str:
    """Return the suffix in lower case. Raises ImageError if no format has it."""
    if suffix.lower() in encode.FORMATS:
        return suffix.lower()
    found = f"unknown suffix {suffix!r}" if suffix else "the name has no suffix"
    raise ImageError(f"cannot write {name}: {found}; want one of {' '.join(SUFFIXES)}")


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the target's name when the block ends, and is deleted if the block fails.

    Raises ImageError where the target cannot be written. Symbolic links are followed.
    """
    try:
        final = Path(os.path.realpath(target))
        if final.is_dir():
            raise ImageError(f"cannot write {target}: it is a folder")
        if final.exists() and not final.is_file():
            raise ImageError(f"cannot write {target}: it is not an ordinary file")
        part = final.parent / f".superfine-{secrets.token_hex(6)}.part"
        # Not tempfile: its files are private (0600), a result should have the user's usual permissions.
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write {target}: {_reason(error)}") from None
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
        part.replace(final)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ImageError(f"cannot write {target}: {_reason(error)}") from None
        if isinstance(error, ImageError) and str(target) not in str(error):
            raise ImageError(f"cannot write {target}: {error}") from None
        raise


@contextmanager
def image_errors(name: str, max_pixels: int) -> Iterator[None]:
    """Turn every error of reading the file `name` into an ImageError that names it."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name} holds more than {max_pixels:,} pixels; raise the limit with --max-pixels") from None
    except MemoryError:
        raise ImageError(f"{name} does not fit in memory") from None
    except ImageError as error:
        raise error if name in str(error) else ImageError(f"{name}: {error}") from None
    except _DAMAGE as error:
        if "MAX_TEXT" in str(error) or "Too much memory used in text" in str(error):
            limit = f"{_LONGEST_TEXT >> 20} MiB"
            raise ImageError(f"{name} holds text or a profile of more than {limit}; remove it with exiftool") from None
        # Pillow's own messages help a user; the words of a decoder that stumbled do not.
        details = f" ({_reason(error)})" if isinstance(error, (OSError, SyntaxError)) and str(error) else ""
        raise ImageError(f"{name} is cut short or damaged{details}") from None


def open_picture(source: Path | IO[bytes], name: str, max_pixels: int) -> Image.Image | Picture:
    """Open a source with Pillow and check its size; read it as a Picture if Pillow does not know the format."""
    start = start_of(source)
    read_only.refuse_foreign(start)
    if (kind := read_only.kind_of(start)) is not None:
        return deep.read_known(kind, content(source), max_pixels)
    if heif_jxl.kind_of(start) == "JPEG XL":  # a plug-in for it would unpack it before its size is checked
        return heif_jxl.read_with_extra(content(source), max_pixels)
    try:
        image = open_header(source, max_pixels)
    except UnidentifiedImageError:
        if heif_jxl.kind_of(start) is not None:
            return heif_jxl.read_with_extra(content(source), max_pixels)
        if start.startswith(b"\xff\xd8\xff"):
            return deep.read_deep_jpeg(content(source), max_pixels)
        picture = tiff_read.read_page(source, max_pixels) if is_tiff(start) else None
        if picture is not None:
            return picture
        raise ImageError(
            f"{name} is not a picture, or its header is damaged; want one of {' '.join(READABLE)}"
        ) from None
    return image


def open_header(source: Path | IO[bytes], max_pixels: int) -> Image.Image:
    """Open a source with Pillow and check its size, without loading pixels. Raises ImageError and Pillow's errors."""
    if not isinstance(source, Path):
        source.seek(0)
    elif source.exists() and not source.is_file():  # a pipe would be waited for without end
        raise ImageError(f"{source} is not an ordinary file; want a picture file")
    with _limit_lock, warnings.catch_warnings():
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and TIFF tags; the pixels are what counts
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(source)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    try:
        check_size(*image.size, max_pixels)
        _check_plausible(image, source)
    except ImageError:
        image.close()
        raise
    return image


def _check_plausible(image: Image.Image, source: Path | IO[bytes]) -> None:
    """Raise ImageError for a header with more pixels than the file can hold, which would cost minutes and GiBs."""
    pixels = image.width * image.height
    if min(image.size) < 1:
        raise ImageError(f"{image.width} x {image.height}: it holds no pixels")
    densest = _DENSEST.get(image.format or "")
    if pixels < _HARMLESS or densest is None or image.mode == "1":
        return
    count = source.stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)
    if pixels > densest * count:
        raise ImageError(
            f"its header says {image.width:,} x {image.height:,} pixels, which {count:,} bytes cannot hold"
        )


def load(image: Image.Image, source: Path | IO[bytes], name: str, max_pixels: int, frame: int = 0) -> Picture:
    """Load the Picture of an opened image that stands at `frame`; 16-bit pictures need the source opened again."""
    try:
        return _load(image, source, name, max_pixels, frame)
    except OSError as error:
        if image.format not in _MENDABLE or isinstance(error, ImageError):
            raise
        words = f"{name} is cut short or damaged ({_reason(error)}); --accept-damaged takes what is there"
        raise ImageError(words) from None


def _load(image: Image.Image, source: Path | IO[bytes], name: str, max_pixels: int, frame: int) -> Picture:
    """Load the Picture of an opened image, by its format's own way."""
    _describe_colour(image, source)
    if image.format == "JPEG2000" and (samples := deep.deep_jpeg2000(content(source))):
        return assemble(image, *samples, image.info.get("icc_profile") or None, image.mode)
    if image.format == "TIFF":
        read_only.refuse_raw(dict(getattr(image, "tag_v2", {})))
        picture = tiff_read.read_page(source, max_pixels, frame, image)
        if picture is not None:
            return picture
    if image.format == "AVIF" and frame == 0 and (samples := heif_jxl.deep_avif(content(source))):
        image.load()
        return assemble(image, *samples, image.info.get("icc_profile") or None, image.mode)
    if image.format in ("JPEG", "MPO"):
        return _load_jpeg(image, source, name)
    if not pillow_16bit.is_16bit(image):
        return from_pil(image)
    with open_header(source if isinstance(source, Path) else io.BytesIO(content(source)), max_pixels) as again:
        again.seek(frame)
        values = pillow_16bit.read_16bit(image, again)
    icc = image.info.get("icc_profile") or None
    if values.shape[2] in (2, 4):
        pixels, alpha = np.ascontiguousarray(values[:, :, :-1]), np.ascontiguousarray(values[:, :, -1])
        return assemble(image, pixels, alpha, icc, image.mode)
    return assemble(image, values, keyed_alpha(values, image.info.get("transparency")), icc, image.mode)


def _load_jpeg(image: Image.Image, source: Path | IO[bytes], name: str) -> Picture:
    """Load a JPEG; one that only lacks its end marker is whole, and a warning says so.

    The missing end is filled in two ways: pixels that are the same in both do not depend on it.
    """
    try:
        return from_pil(image)
    except OSError as error:
        data = content(source)
        if data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise
        pictures = []
        for filler in (b"\x00" * 64, b"\xa5" * 64):
            with Image.open(io.BytesIO(data + filler + b"\xff\xd9"), formats=["JPEG", "MPO"]) as again:
                again.load()
                pictures.append(from_pil(again))
        if not np.array_equal(pictures[0].pixels, pictures[1].pixels):
            raise error
        warnings.warn(f"{name} lacks its end marker; all its pixels are there", UserWarning, stacklevel=2)
        return pictures[0]


def _describe_colour(image: Image.Image, source: Path | IO[bytes]) -> None:
    """Give an image whose colours are described otherwise (cICP, gAMA and cHRM, nclx) the ICC profile of that."""
    info, gray = image.info, image.mode in ("1", "L", "LA", "I;16", "I")
    if image.format == "AVIF" and (codes := colour_codes.nclx_codes(content(source))) is not None:
        info["icc_profile"] = colour_codes.described(info.get("icc_profile"), codes, gray=gray)
    if image.format == "JPEG2000" and not info.get("icc_profile"):
        info["icc_profile"] = deep.profile_of_jpeg2000(content(source))
    if image.format != "PNG":
        return
    # PNG specification, 4.3: the first of these counts.
    chunk = png_chunks.header_chunk(source, b"cICP")
    if chunk is not None and len(chunk) == 4:
        info["icc_profile"] = colour_codes.profile_of_codes(chunk[0], chunk[1], gray=gray)
    elif not info.get("icc_profile") and "srgb" not in info and ("gamma" in info or "chromaticity" in info):
        gamma, place = info.get("gamma"), info.get("chromaticity")
        info["icc_profile"] = colour_codes.profile_of_gamma(gamma, place, gray=gray)


def content(source: Path | IO[bytes]) -> bytes:
    """Return all bytes of a source."""
    if isinstance(source, Path):
        return source.read_bytes()
    source.seek(0)
    return source.read()


def format_of(source: Path | IO[bytes]) -> str:
    """Name the format of a file that Pillow does not open."""
    start = start_of(source)
    if start.startswith(b"\xff\xd8"):
        return "JPEG"
    return read_only.kind_of(start) or heif_jxl.kind_of(start) or "TIFF"


def start_of(source: Path | IO[bytes]) -> bytes:
    """Return the first 1,024 bytes of a source."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(1024)
    source.seek(0)
    return source.read(1024)


def source_of(path: str | os.PathLike[str] | IO[bytes]) -> tuple[str, Path | IO[bytes]]:
    """Return a name for messages and a source: a checked path, or a copy of the file in memory."""
    if not isinstance(path, (str, os.PathLike)):
        name = str(getattr(path, "name", "standard input"))
        data = path.read()
        if not data:
            raise ImageError(f"{name} is empty (0 bytes); want a picture")
        return name, io.BytesIO(data)
    source = Path(path)
    try:
        if source.is_dir():
            raise ImageError(f"{source} is a folder; want a picture file")
        if not source.exists():
            raise ImageError(f"no such file: {source}")
        if not source.is_file():
            raise ImageError(f"{source} is not an ordinary file; want a picture file")
        if source.stat().st_size == 0:
            raise ImageError(f"{source} is empty (0 bytes); want a picture")
        with source.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read {source}: {_reason(error)}") from None
    return str(source), source


def _reason(error: BaseException) -> str:
    """Describe an error in a few words, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = " ".join(str(error).split())
    return words[:160] or type(error).__name__
