"""Damaged JPEG and PNG: refused in one line, or what is there when asked, and then said."""

import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from picture_samples import photograph
from processes import SUPERFINE, assert_refused, upscale_nearest
from superfine.errors import ImageError
from superfine.images import Picture, read, write

PIXELS = photograph(200, 300)


def file_of(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "16 bits.png":
        write(Picture(PIXELS.astype(np.uint16) * 257), file, format=".png")
    else:
        settings: dict[str, Any] = {"progressive": True} if "progressive" in kind else {}
        Image.fromarray(PIXELS).save(file, "PNG" if kind.endswith("png") else "JPEG", quality=95, **settings)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["a.jpg", "progressive.jpg", "a.png", "16 bits.png"])
def test_what_is_there_of_a_file_cut_short_is_taken_when_asked(kind: str) -> None:
    whole, short = file_of(kind), file_of(kind)
    short = short[: len(short) * 6 // 10]
    with pytest.raises(ImageError, match="--accept-damaged"):
        read(io.BytesIO(short))
    picture, wanted = read(io.BytesIO(short), accept_damaged=True), read(io.BytesIO(whole)).pixels
    assert picture.pixels.shape == wanted.shape and picture.pixels.dtype == wanted.dtype
    assert "damaged" in picture.left_out[-1]
    if "progressive" not in kind:  # there the lower half has its first, coarse pass
        same = (picture.pixels == wanted).all(axis=(1, 2))
        assert same[:80].all() and not same[-20:].any()


def test_damage_inside_a_png_is_taken_when_asked() -> None:
    broken = bytearray(file_of("a.png"))
    broken[len(broken) // 2] ^= 0x55
    with pytest.raises(ImageError, match="damaged"):
        read(io.BytesIO(bytes(broken)))
    assert (read(io.BytesIO(bytes(broken)), accept_damaged=True).pixels[:60] == PIXELS[:60]).all()


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(file_of("a.jpg")[:-9000])
    assert_refused(upscale_nearest(source, tmp_path / "o.png"), "--accept-damaged")
    assert not (tmp_path / "o.png").exists()
    done = upscale_nearest(source, tmp_path / "o.png", "--accept-damaged")
    assert done.returncode == 0 and "damaged part of the file left out" in done.stderr
    assert Image.open(tmp_path / "o.png").size == (600, 400)
    command = [*SUPERFINE, "upscale", "-", "-o", "-", "-s", "2", "--engine", "nearest", "--accept-damaged"]
    piped = subprocess.run(command, input=source.read_bytes(), capture_output=True, timeout=120, check=True)
    assert Image.open(io.BytesIO(piped.stdout)).size == (600, 400)


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n" + bytes(20), b"\xff\xd8\xff\xe0" + bytes(30), b"no picture at all"]
)
def test_nothing_to_take_stays_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        read(io.BytesIO(data), accept_damaged=True)
