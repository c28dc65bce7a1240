"""Files that cannot be read or written: damaged, foreign, oversized, in the way, or in need of an extra."""

import os
import stat
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from picture_samples import photograph, save
from processes import assert_refused, upscale_nearest
from superfine.errors import ImageError
from superfine.images import SUFFIXES, Picture, read, write

# Bad input --------------------------------------------------------------------------------------


def refused(path: Path, **settings: int) -> str:
    with pytest.raises(ImageError) as caught:
        read(path, **settings)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def test_missing_file_folder_and_empty_file_are_named(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.png")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "0 bytes" in refused(tmp_path / "empty.png")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_files_are_refused_wherever_the_cut(tmp_path: Path, suffix: str) -> None:
    write(Picture(photograph(90, 120)), tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole[: int(len(whole) * share)])
        refused(cut)


@pytest.mark.parametrize(
    "content", [b"hello, I am not a picture\n" * 40, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0"]
)
def test_fake_pictures_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.png").write_bytes(content)
    refused(tmp_path / "fake.png")


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        write(Picture(np.full((1, 1, 3), 128, np.uint8)), tmp_path / f"a{suffix}")
        assert read(tmp_path / f"a{suffix}").pixels.shape[:2] == (1, 1)


def test_header_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    message = refused(tmp_path / "bomb.png")
    assert "--max-pixels" in message


def test_pixel_limit_is_exact(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", Image.fromarray(photograph(10, 20)))
    assert read(source, max_pixels=200).width == 20
    assert "--max-pixels" in refused(source, max_pixels=199)
    assert "--max-pixels" in refused(source, max_pixels=50)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", Image.fromarray(photograph()))
    source.chmod(0)
    if os.access(source, os.R_OK):
        pytest.skip("this user may read everything")
    assert "permission denied" in refused(source)


def not_written(picture: Picture, path: Path, **settings: object) -> str:
    with pytest.raises(ImageError) as caught:
        write(picture, path, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_unwritable_targets_are_named_and_leave_nothing_behind(tmp_path: Path) -> None:
    picture = Picture(photograph())
    assert "no such file or directory" in not_written(picture, tmp_path / "none" / "a.png")
    (tmp_path / "dir.png").mkdir()
    assert "folder" in not_written(picture, tmp_path / "dir.png")
    assert "unknown suffix '.xyz'" in not_written(picture, tmp_path / "a.xyz")
    assert "no suffix" in not_written(picture, tmp_path / "a")
    assert "1 to 100" in not_written(picture, tmp_path / "a.jpg", quality=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="device files are Unix's")
def test_device_files_are_never_replaced() -> None:
    assert "ordinary file" in not_written(Picture(photograph()), Path("/dev/null"), format=".png")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_sizes_a_format_cannot_hold_are_named(tmp_path: Path) -> None:
    wide = Picture(np.zeros((1, 70_000, 1), np.uint8))
    assert "JPEG" in not_written(wide, tmp_path / "a.jpg")
    assert "WebP" in not_written(wide, tmp_path / "a.webp")
    assert list(tmp_path.iterdir()) == []
    write(wide, tmp_path / "a.png")


def test_failed_write_keeps_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.webp"
    target.write_bytes(b"old")
    not_written(Picture(np.zeros((1, 20_000, 1), np.uint8)), target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.webp"]


# Without the extra ------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["pillow_heif", "imagecodecs"])
def test_missing_libraries_are_named_with_the_extra_that_brings_them(
    tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(missing)
    suffix = {"pillow_heif": ".heic", "imagecodecs": ".jxl"}[missing]
    write(Picture(photograph()), tmp_path / f"a{suffix}")
    monkeypatch.setitem(sys.modules, missing, None)  # what Python does for a module that is not there
    assert "[formats]" in refused(tmp_path / f"a{suffix}")
    assert "[formats]" in not_written(Picture(photograph()), tmp_path / f"b{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_rare_tiffs_name_the_extra_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", photograph(), photometric="rgb", compression="jpeg2000")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert "[formats]" in refused(tmp_path / "a.tif")


@pytest.mark.parametrize(("suffix", "library"), [(".jxl", "pillow_jxl"), (".heic", "pillow_heif")])
def test_pixel_limit_holds_for_the_formats_of_the_extra(tmp_path: Path, suffix: str, library: str) -> None:
    """Their libraries would unpack first and ask later, so the size is read out of the header."""
    pytest.importorskip(library)
    pytest.importorskip("imagecodecs")
    for height, width in ((16, 24), (300, 200), (257, 1030)):
        write(Picture(photograph(height, width)), tmp_path / f"a{suffix}")
        assert read(tmp_path / f"a{suffix}", max_pixels=height * width).width == width
        assert "--max-pixels" in refused(tmp_path / f"a{suffix}", max_pixels=height * width - 1)


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"optimize": True, "subsampling": 0}])
def test_a_jpeg_without_its_end_marker_is_whole_and_says_so(tmp_path: Path, settings: dict[str, object]) -> None:
    save(tmp_path / "a.jpg", Image.fromarray(photograph(90, 120)), quality=90, **settings)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(data[:-2])
    with pytest.warns(UserWarning, match="end marker"):
        picture = read(tmp_path / "b.jpg")
    np.testing.assert_array_equal(picture.pixels, read(tmp_path / "a.jpg").pixels)
    for cut in (40, 400):
        (tmp_path / "b.jpg").write_bytes(data[:-cut])
        refused(tmp_path / "b.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    done = upscale_nearest(tmp_path / "a.png", tmp_path / "o.png", timeout=60)
    assert_refused(done, "not an ordinary file")
