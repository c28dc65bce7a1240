"""Every format and kind through the whole command, against independent decoders (benchmarks/corpus.py)."""

from pathlib import Path

import pytest

import corpus
import fuzz

SUFFIXES = [
    ".avif", ".bmp", ".dds", ".exr", ".gif", ".hdr", ".heic", ".ico", ".jp2", ".jpg", ".jxl", ".png", ".ppm", ".psd",
    ".qoi", ".tga", ".tif", ".webp",
]  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return fuzz.seeds()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_independent_decoder_sees_the_same(suffix: str, made: dict[str, bytes], tmp_path: Path) -> None:
    verdicts = {}
    for name, data in made.items():
        if name.endswith(suffix):
            (tmp_path / name).write_bytes(data)
            verdicts[name] = corpus.verdict_of(tmp_path / name, tmp_path)
    wrong = {name: verdict for name, verdict in verdicts.items() if verdict[0] not in ("agree", "no referee")}
    assert not wrong
    if all(verdict[0] == "no referee" for verdict in verdicts.values()):
        pytest.skip("no independent decoder is installed")
