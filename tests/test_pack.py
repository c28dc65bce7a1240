"""Packs: what lies in them is the pictures and the bit-exact bicubic, whatever happens to the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from superfine.errors import DataError
from superfine.images.resize import downscale, resize
from superfine.training.data.pack import MAGIC, Pack, PackOptions, write_pack
from superfine.training.data.pictures import find_pictures

SMALL = PackOptions(smallest_side=24)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good pictures, one of them gray and one in a folder below."""
    save(tmp_path / "pictures" / "a.png", noise(50, 63, 1))
    save(tmp_path / "pictures" / "b.png", noise(48, 36, 2)[:, :, 0])
    save(tmp_path / "pictures" / "below" / "c.png", noise(61, 40, 3))
    return tmp_path / "pictures"


def packed(folder: Path, options: PackOptions = SMALL) -> Pack:
    target = folder.parent / "made.pack"
    write_pack(target, find_pictures([folder]), options)
    return Pack(target)


def test_hr_is_the_picture_cut_to_whole_lr_pixels_and_lr_the_exact_bicubic_of_it(folder: Path) -> None:
    pack = packed(folder)
    assert [picture.name for picture in pack] == ["a.png", "b.png", "c.png"]
    originals = [noise(50, 63, 1), np.repeat(noise(48, 36, 2)[:, :, :1], 3, axis=2), noise(61, 40, 3)]
    for picture, original in zip(pack, originals, strict=True):
        hr = pack.plane(picture.hr)
        assert hr.shape[0] % 12 == hr.shape[1] % 12 == 0
        assert original.shape[0] - hr.shape[0] < 12 and original.shape[1] - hr.shape[1] < 12
        assert np.array_equal(hr, original[: hr.shape[0], : hr.shape[1]])
        for scale in (2, 3, 4):
            assert np.array_equal(pack.plane(picture.lr[scale]), downscale(hr, scale))


def test_one_process_and_several_write_the_same_bytes(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{k:02d}.png", noise(36, 48, k)) for k in range(14)]
    write_pack(tmp_path / "one.pack", paths, SMALL, workers=1)
    seen: list[tuple[int, int]] = []
    write_pack(tmp_path / "two.pack", paths, SMALL, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "one.pack").read_bytes() == (tmp_path / "two.pack").read_bytes()
    assert seen == [(done, 14) for done in range(1, 15)]


def test_pictures_that_cannot_be_used_are_named_skipped_and_counted(folder: Path) -> None:
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "fake.jpg").write_text("not a picture")
    save(folder / "tiny.png", noise(20, 90))
    Image.fromarray(np.zeros((48, 48), np.uint16)).save(folder / "deep.png")
    target = folder.parent / "made.pack"
    report = write_pack(target, find_pictures([folder]), SMALL)
    assert report.kept == len(Pack(target)) == 3
    assert len(report.left_out) == 5
    for name in ("cut.png", "empty.jpg", "fake.jpg", "tiny.png", "deep.png"):
        (line,) = [line for line in report.left_out if name in line]
        assert "\n" not in line
    assert "90x20 is under 24 pixels a side" in next(line for line in report.left_out if "tiny" in line)


def test_a_folder_with_nothing_usable_writes_nothing_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fake.png").write_text("no")
    with pytest.raises(DataError, match=r"none of 1 pictures can be trained on; the first: .*fake\.png"):
        write_pack(tmp_path / "out" / "x.pack", find_pictures([tmp_path / "in"]), SMALL)
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_and_empty_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none is not a folder"):
        find_pictures([tmp_path / "none"])
    with pytest.raises(DataError, match="no pictures in"):
        find_pictures([tmp_path])


def test_excluded_names_hidden_files_and_a_folder_named_twice_are_seen_once_or_not_at_all(folder: Path) -> None:
    save(folder / ".hidden.png", noise(48, 48))
    (folder / "notes.txt").write_text("hello")
    found = find_pictures([folder, folder], exclude=["c.png"])
    assert [path.name for path in found] == ["a.png", "b.png"]


def test_extra_downscales_add_each_picture_again_smaller_unless_too_small(folder: Path) -> None:
    pack = packed(folder, PackOptions(extra_downscales=(0.6, 0.9), smallest_side=30))
    assert [p.name for p in pack] == ["a.png", "a.png@0.6", "a.png@0.9", "b.png", "b.png@0.9", "c.png", "c.png@0.9"]
    smaller = resize(noise(50, 63, 1), (30, 38))[:24, :36]
    assert np.array_equal(pack.plane(pack.pictures[1].hr), smaller)
    assert np.array_equal(pack.plane(pack.pictures[1].lr[3]), downscale(smaller, 3))


def test_opening_reads_the_header_alone(tmp_path: Path) -> None:
    """A pack of 64 GB of samples (a hole in the file) opens from its first kilobyte."""
    side = 146_000
    planes = [[0, side, side], [side * side * 3, 4, 4]]
    options = {"scales": [2], "extra_downscales": [], "smallest_side": 1}
    header = json.dumps({"scales": [2], "options": options, "pictures": [{"name": "sky.png", "planes": planes}]})
    path = tmp_path / "large.pack"
    with path.open("wb") as file:
        file.write(MAGIC + len(header).to_bytes(8, "little") + header.encode())
        file.truncate(file.tell() + side * side * 3 + 48)
    assert path.stat().st_blocks * 512 < 1 << 20
    pack = Pack(path)
    assert pack.data.size == side * side * 3 + 48
    assert pack.plane(pack.pictures[0].lr[2]).shape == (4, 4, 3)


def test_a_pack_cut_anywhere_is_refused_in_one_line(folder: Path) -> None:
    whole = packed(folder).path.read_bytes()
    cut = folder.parent / "cut.pack"
    for length in [0, 5, len(MAGIC), len(MAGIC) + 4, len(MAGIC) + 8, 200, len(whole) // 2, len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut short|not a superfine pack") as caught:
            Pack(cut)
        assert "\n" not in str(caught.value)


def test_what_is_no_pack_is_refused_in_one_line(folder: Path) -> None:
    for path, says in [
        (folder / "a.png", "not a superfine pack"),
        (folder / "none.pack", "No such file"),
        (folder, "directory"),
    ]:
        with pytest.raises(DataError, match=says):
            Pack(path)


@pytest.mark.parametrize("header", ["[]", "{}", '{"scales": [2], "options": {"sides": 3}, "pictures": []}', "\x00"])
def test_a_damaged_header_is_refused_in_one_line(tmp_path: Path, header: str) -> None:
    path = tmp_path / "damaged.pack"
    path.write_bytes(MAGIC + len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(DataError, match="cut short or damaged: make it again"):
        Pack(path)


def test_identity_follows_the_pixels_and_not_the_file(folder: Path) -> None:
    first = packed(folder).identity
    assert packed(folder).identity == first
    save(folder / "a.png", noise(50, 63, 9))
    assert packed(folder).identity != first


def test_a_folder_that_cannot_be_written_is_one_line(folder: Path) -> None:
    with pytest.raises(DataError, match="cannot write the pack"):
        write_pack(folder / "a.png" / "x.pack", find_pictures([folder]), SMALL)
