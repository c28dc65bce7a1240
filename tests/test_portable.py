"""Portable packs: under the limit, honest about the quality, unpacked there into what training reads."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from superfine.__main__ import main
from superfine.cli.pack import parse_size
from superfine.errors import DataError
from superfine.images.resize import downscale
from superfine.quality.metrics import psnr
from superfine.training.data.open_pack import open_pack
from superfine.training.data.pack import Pack, PackOptions
from superfine.training.data.pictures import decode, find_pictures
from superfine.training.data.portable import is_portable, read_portable, write_portable
from superfine.training.recipe import Recipe, parse_recipe


def scene(seed: int, side: int = 96) -> NDArray[np.uint8]:
    """Something an encoder has work with: waves in three colours and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = [128 + 90 * np.sin(2 * np.pi * (rng.uniform(1, 9) * x + rng.uniform(1, 9) * y)) for _ in range(3)]
    return np.clip(np.stack(waves, axis=2) + rng.normal(0, 4, (side, side, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four PNGs, two of the same name in different folders."""
    for seed, name in enumerate(["a.png", "b.png", "below/a.png", "below/c.png"]):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(seed)).save(path)
    return tmp_path / "in"


def recipe(**data: object) -> Recipe:
    raw = {"name": "t", "network": {"name": "esrgcnn"}, "data": {"patch": 16, **data}, "schedule": {"steps": 1}}
    return parse_recipe(raw, source="test")


@pytest.mark.parametrize("codec", ["webp", "jpeg", "avif"])
def test_it_stays_under_the_limit_and_its_cost_is_what_unpacking_shows(folder: Path, codec: str) -> None:
    out, paths = folder.parent / "carry.zip", find_pictures([folder])
    limit = sum(path.stat().st_size for path in paths) // 3
    report = write_portable(out, paths, limit, codec=codec, smallest_side=64)  # type: ignore[arg-type]
    assert out.stat().st_size == report.size <= limit
    assert report.reencoded == 4 and report.left_out == [] and 1 <= (report.quality or 0) <= 100
    found = []
    for path, member in zip(paths, read_portable(out), strict=True):
        before, after = decode(path), decode(member)
        assert not isinstance(before, str) and not isinstance(after, str)
        found.append(psnr(before, after))
    assert report.psnr_mean == pytest.approx(np.mean(found)) and report.psnr_worst == pytest.approx(min(found))
    assert 20 < report.psnr_worst < 60


def test_a_larger_limit_buys_quality(folder: Path) -> None:
    paths = find_pictures([folder])
    whole = sum(path.stat().st_size for path in paths)
    costs = [
        write_portable(folder.parent / "x.zip", paths, whole // part, smallest_side=64).psnr_mean for part in (12, 6, 3)
    ]
    assert costs == sorted(costs) and costs[0] < costs[2] - 1


def test_with_room_for_them_all_files_travel_as_they_are(folder: Path) -> None:
    out, paths = folder.parent / "carry.zip", find_pictures([folder])
    report = write_portable(out, paths, 10**7, smallest_side=64)
    assert (report.as_they_are, report.reencoded, report.quality, report.psnr_mean) == (4, 0, None, math.inf)
    with zipfile.ZipFile(out) as archive:
        assert [archive.read(member.entry) for member in read_portable(out)] == [path.read_bytes() for path in paths]


def test_a_file_smaller_than_its_re_encoding_travels_as_it_is(folder: Path) -> None:
    Image.fromarray(scene(9)).save(folder / "worn.jpg", quality=5)
    paths = find_pictures([folder])
    report = write_portable(folder.parent / "x.zip", paths, sum(p.stat().st_size for p in paths) // 2, smallest_side=64)
    assert (report.as_they_are, report.reencoded) == (1, 4)


def test_what_does_not_fit_at_any_quality_is_one_line_and_no_file(folder: Path) -> None:
    with pytest.raises(DataError, match="do not fit into 600 bytes: even at quality 1 they are"):
        write_portable(folder.parent / "out" / "x.zip", find_pictures([folder]), 600, smallest_side=64)
    assert list((folder.parent / "out").iterdir()) == []


def test_training_unpacks_it_into_a_native_pack_with_exact_lr(folder: Path, tmp_path: Path) -> None:
    carry, (fakes, first) = tmp_path / "carry.zip", (folder / "fake.png", folder / "a.png")
    fakes.write_text("no")
    report = write_portable(carry, find_pictures([folder]), 30_000, smallest_side=64)
    assert len(report.left_out) == 1 and "fake.png" in report.left_out[0]
    chosen = recipe(pack=str(carry), exclude=["c.png"], extra_downscales=[0.8])
    pack = open_pack(chosen, tmp_path / "packs")
    assert [p.name for p in pack] == ["a.png", "a.png@0.8", "b.png", "b.png@0.8", "a.png", "a.png@0.8"]
    carried = decode(read_portable(carry)[0])
    assert np.array_equal(pack.plane(pack.pictures[0].hr), carried)
    assert not np.array_equal(carried, decode(first))
    for scale in (2, 3, 4):
        assert np.array_equal(pack.plane(pack.pictures[0].lr[scale]), downscale(carried, scale))
    made = (tmp_path / "packs").iterdir()
    assert open_pack(chosen, tmp_path / "packs").identity == pack.identity  # found again, not made again
    assert len(list(made)) == 1


def test_a_damaged_picture_inside_is_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    carry = tmp_path / "carry.zip"
    write_portable(carry, find_pictures([folder]), 10**7, smallest_side=64)
    with zipfile.ZipFile(carry) as archive:
        place = archive.getinfo(read_portable(carry)[1].entry).header_offset
    raw = bytearray(carry.read_bytes())
    raw[place + 500] ^= 0xFF
    carry.write_bytes(raw)
    named: list[str] = []
    pack = open_pack(recipe(pack=str(carry)), tmp_path / "packs", left_out=named.append)
    assert len(pack) == 3
    assert len(named) == 1 and "b.png" in named[0] and "damaged" in named[0]


def test_a_truncated_or_foreign_archive_is_one_line(folder: Path, tmp_path: Path) -> None:
    carry = tmp_path / "carry.zip"
    write_portable(carry, find_pictures([folder]), 10**7, smallest_side=64)
    whole = carry.read_bytes()
    carry.write_bytes(whole[: len(whole) // 2])
    assert is_portable(carry)
    with pytest.raises(DataError, match="cut short or damaged: copy it again"):
        open_pack(recipe(pack=str(carry)), tmp_path / "packs")
    with zipfile.ZipFile(carry, "w") as archive:
        archive.writestr("holiday.txt", "hello")
    with pytest.raises(DataError, match="not a pack of superfine's"):
        open_pack(recipe(pack=str(carry)), tmp_path / "packs")
    with zipfile.ZipFile(carry, "w") as archive:
        archive.writestr("superfine.json", json.dumps({"format": "superfine-portable-9", "pictures": []}))
    with pytest.raises(DataError, match="superfine-portable-9"):
        open_pack(recipe(pack=str(carry)), tmp_path / "packs")


def test_a_native_pack_must_fit_the_recipe(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "photos.pack"
    assert main(["pack", str(folder), "-o", str(out), "--smallest", "64"]) == 0
    assert Pack(out).options == PackOptions(smallest_side=64)
    assert len(open_pack(recipe(pack=str(out)), tmp_path)) == 4
    with pytest.raises(DataError, match=r"holds c\.png, which data\.exclude forbids"):
        open_pack(recipe(pack=str(out), exclude=["c.png"]), tmp_path)
    with pytest.raises(DataError, match="made with extra downscales"):
        open_pack(recipe(pack=str(out), extra_downscales=[0.8]), tmp_path)


def test_the_command_says_what_it_packed_and_what_the_limit_cost(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "fake.png").write_text("no")
    out = tmp_path / "carry.zip"
    assert main(["pack", str(folder), "-o", str(out), "--limit", "25 kB", "--smallest", "64"]) == 0
    printed, said = capsys.readouterr()
    assert re.search(r"4 pictures in .*kB: 0 as they are, 4 as webp quality \d+: \d\d\.\d\d dB mean", printed)
    assert printed.strip().endswith("1 left out")
    assert "left out" in said and "fake.png" in said
    assert out.stat().st_size <= 25_000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--limit", "much"], "--limit 'much': wanted a size such as 55MiB"),
        (["--limit", "0"], "--limit '0'"),
        (["--limit", "1MB", "--codec", "png"], "unknown codec 'png'"),
        (["--scales", "2,5"], "--scales '2,5'"),
        (["--extra-downscale", "1.5"], "wanted shares between 0.1 and 1"),
        (["--limit", "1MB", "--extra-downscale", "0.8"], "exclude each other"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["pack", str(folder), "-o", str(tmp_path / "x.pack"), *options]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert not (tmp_path / "x.pack").exists()


def test_nothing_is_overwritten_unasked(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.pack"
    out.write_text("mine")
    assert main(["pack", str(folder), "-o", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err and out.read_text() == "mine"


def test_sizes_are_read_as_people_write_them() -> None:
    written = {"55MiB": 55 * 2**20, "2 GB": 2 * 10**9, "1.5g": 15 * 10**8, "4096": 4096, "10kib": 10240}
    assert {text: parse_size(text) for text in written} == written


def test_packing_needs_no_pytorch(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "x.zip")
    arguments = ["pack", str(folder), "-o", out, "--limit", "25kB", "--smallest", "64"]
    code = f"import sys; from superfine.__main__ import main; main({arguments!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
    assert Path(out).is_file()
