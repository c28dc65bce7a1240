"""Packing: whoever packs, zlib unpacks it; what pays is chosen where there is a choice."""

import zlib

import numpy as np
import pytest

from superfine.images.formats import deflate
from superfine.images.formats.deflate import RAW, WRAPPED, Effort, choose_effort, compress_all

NOISE = np.random.default_rng(0).integers(0, 256, 60_000, dtype=np.uint8).tobytes()
PATTERN = NOISE[:192] * 300
BOTH = [effort for effort in Effort if effort is not Effort.ISAL or deflate.isal_zlib is not None]


@pytest.mark.parametrize("effort", BOTH)
@pytest.mark.parametrize("window", [RAW, WRAPPED])
@pytest.mark.parametrize("data", [b"", b"a", NOISE, PATTERN, bytes(1_000_000)])
def test_zlib_unpacks_what_was_packed(effort: Effort, window: int, data: bytes) -> None:
    assert zlib.decompress(compress_all(data, effort, window), window) == data


@pytest.mark.parametrize("effort", BOTH)
def test_pieces_of_several_packers_make_one_stream(effort: Effort) -> None:
    stream = b""
    for piece, mode in ((NOISE, zlib.Z_SYNC_FLUSH), (PATTERN, zlib.Z_SYNC_FLUSH), (NOISE[::-1], zlib.Z_FINISH)):
        packer = effort.packer(RAW)
        stream += packer.compress(piece) + packer.flush(mode)
    assert zlib.decompress(stream, RAW) == NOISE + PATTERN + NOISE[::-1]


def test_without_isal_photographs_are_packed_fast_and_graphics_thoroughly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "isal_zlib", None)
    assert choose_effort(lambda: NOISE) is Effort.FAST
    assert choose_effort(lambda: PATTERN) is Effort.THOROUGH


@pytest.mark.skipif(deflate.isal_zlib is None, reason="no isal here")
def test_isal_is_taken_where_it_is_and_packs_graphics_too() -> None:
    assert choose_effort(lambda: NOISE) is Effort.ISAL
    assert len(compress_all(PATTERN, Effort.ISAL, RAW)) < len(PATTERN) / 20
