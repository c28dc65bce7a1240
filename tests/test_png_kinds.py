"""PNG of every colour type, depth and tRNS, and chunks of any size, against the specification and a referee."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

import referee
from picture_samples import photograph
from png_files import DEPTHS, SAMPLES, png
from superfine.errors import ImageError
from superfine.images import Picture, read, write

KINDS = [(colour, bits, key) for colour, depths in DEPTHS.items() for bits in depths for key in (False, True)
         if not (key and colour in (4, 6))]  # fmt: skip
COLOURS = np.random.default_rng(3).integers(0, 256, (256, 3), dtype=np.uint8)


def kind(colour: int, bits: int, key: bool) -> tuple[bytes, np.ndarray, np.ndarray | None]:
    """A file, its pixels and its alpha; with a key, the sample of the first pixel is transparent."""
    top = (1 << bits) - 1
    samples = np.random.default_rng(bits + colour).integers(0, top + 1, (9, 13, SAMPLES[colour])).astype(np.uint16)
    samples[0, 0] = top
    chunks, alpha = [], None
    if colour == 3:
        chunks.append((b"PLTE", COLOURS[: top + 1].tobytes()))
        cover = np.arange(top + 1).astype(np.uint8)
        chunks += [(b"tRNS", cover.tobytes())] if key else []
        alpha = cover[samples[:, :, 0]] if key else None
        return png(samples, bits, colour, *chunks), COLOURS[samples[:, :, 0]], alpha
    peak = 65535 if bits == 16 else 255
    values = (samples.astype(int) * peak // top).astype(np.uint16 if bits == 16 else np.uint8)
    if key:
        chunks.append((b"tRNS", struct.pack(f">{SAMPLES[colour]}H", *samples[0, 0].tolist())))
        alpha = np.where((samples == samples[0, 0]).all(axis=2), 0, peak).astype(values.dtype)
    if colour in (4, 6):
        values, alpha = values[:, :, :-1], values[:, :, -1]
    return png(samples, bits, colour, *chunks), values, alpha


@pytest.mark.parametrize(("colour", "bits", "key"), KINDS)
def test_every_kind_is_its_samples(colour: int, bits: int, key: bool, tmp_path: Path) -> None:
    data, pixels, alpha = kind(colour, bits, key)
    picture = read(io.BytesIO(data))
    np.testing.assert_array_equal(np.broadcast_to(picture.pixels, pixels.shape), pixels)
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alpha, alpha)
    (tmp_path / "a.png").write_bytes(data)
    seen = referee.pixels_of(tmp_path / "a.png")
    if seen is not None:
        factor = 257 if pixels.dtype == np.uint8 else 1
        visible = np.ones(pixels.shape[:2], bool) if alpha is None else alpha > 0
        ours = np.broadcast_to(pixels.astype(int) * factor, (9, 13, 3))
        np.testing.assert_array_equal(ours[visible], seen[:, :, :3][visible])
        if alpha is not None:
            np.testing.assert_array_equal(alpha.astype(int) * factor, seen[:, :, 3])


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_chunks_above_a_mebibyte_are_read(name: bytes) -> None:
    """Some editors store their whole work in a text chunk; some profiles are large tables."""
    content = b"work " * 600_000
    data = {
        b"zTXt": b"prompt\0\0" + zlib.compress(content),
        b"iTXt": b"prompt\0\1\0\0\0" + zlib.compress(content),
        b"iCCP": b"large\0\0" + zlib.compress(content),
    }[name]
    picture = read(io.BytesIO(png(photograph(9, 13), 8, 2, (name, data))))
    found = picture.icc if name == b"iCCP" else picture.text["prompt"].encode()
    assert found == content


def test_a_chunk_above_the_limit_is_named() -> None:
    bomb = b"prompt\0\0" + zlib.compress(bytes(70 << 20))
    with pytest.raises(ImageError, match="more than 64 MiB"):
        read(io.BytesIO(png(photograph(9, 13), 8, 2, (b"zTXt", bomb))))


def test_our_own_png_with_a_large_profile_is_read_again(tmp_path: Path) -> None:
    icc = bytes(128) + b"\xff" * (3 << 20)
    write(Picture(photograph(9, 13), icc=icc), tmp_path / "a.png")
    assert read(tmp_path / "a.png").icc == icc
