"""The PNG writer: every pixel as it was, whatever the segments, read by another implementation."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from superfine.images.bands import BandedImage
from superfine.images.formats import deflate, png
from superfine.images.picture import Picture


def written(pixels: np.ndarray, alpha: np.ndarray | None = None) -> bytes:
    file = io.BytesIO()
    png.write_png(file, BandedImage.of(Picture(pixels, alpha)), [])
    return file.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), channels=st.sampled_from([1, 3]), alpha=st.booleans(),
    segment=st.sampled_from([1, 100, 1000, 1 << 22]), band=st.sampled_from([1, 300, 1 << 16]), seed=st.integers(0, 99),
)  # fmt: skip
def test_pillow_reads_what_was_written_for_every_segment_and_band(
    height: int, width: int, channels: int, alpha: bool, segment: int, band: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    mask = rng.integers(0, 256, (height, width), dtype=np.uint8) if alpha else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "_SEGMENT_BYTES", segment)
        patch.setattr(png, "_BAND_BYTES", band)
        data = written(pixels, mask)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.mode == {1: "L", 3: "RGB"}[channels] + "A" * alpha
        values = np.asarray(image).reshape(height, width, -1)
    np.testing.assert_array_equal(values[:, :, :channels], pixels)
    if mask is not None:
        np.testing.assert_array_equal(values[:, :, -1], mask)


def test_checksums_join_as_zlib_computes_them() -> None:
    data = bytes(range(256)) * 700
    for cut in (0, 1, 5553, 65521, len(data) - 1, len(data)):
        joined = png._combined_adler32(zlib.adler32(data[:cut]), zlib.adler32(data[cut:]), len(data) - cut)
        assert joined == zlib.adler32(data)


def test_the_stream_is_whole_zlib_with_its_checksum() -> None:
    """Pillow forgives a wrong checksum; zlib does not."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "_SEGMENT_BYTES", 50_000)
        data = written(pixels)
    stream, at = b"", 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        content = data[at + 8 : at + 8 + length]
        assert zlib.crc32(data[at + 4 : at + 8 + length]).to_bytes(4, "big") == data[at + 8 + length : at + 12 + length]
        if data[at + 4 : at + 8] == b"IDAT":
            stream += content
        at += 12 + length
    assert len(zlib.decompress(stream)) == 300 * (1 + 3 * 400)


@pytest.mark.parametrize("without_isal", [False, True])
def test_graphics_become_small_whoever_packs(without_isal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if without_isal:
        monkeypatch.setattr(deflate, "isal_zlib", None)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    tile = np.tile(noise[:8, :8], (16, 16, 1))
    assert len(written(tile)) < len(written(noise)) / 20
    with Image.open(io.BytesIO(written(tile))) as image:
        np.testing.assert_array_equal(np.asarray(image), tile)
