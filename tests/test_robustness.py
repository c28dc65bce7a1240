"""The whole command against what the world holds: damaged files, odd names, bad folders, full disks."""

import importlib
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from processes import SUPERFINE, assert_refused, upscale_nearest
from superfine.images import read

PIXELS = np.arange(24 * 20 * 3, dtype=np.uint32).astype(np.uint8).reshape(24, 20, 3)


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    """benchmarks/fuzz.py, which runs 5,000 files as a program; its worker processes import it by this name."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
    yield importlib.import_module("fuzz")
    sys.path.pop(0)


def picture(path: Path) -> Path:
    Image.fromarray(PIXELS).save(path, "PNG")
    return path


# Damaged files ----------------------------------------------------------------------------------


def test_damaged_files_of_every_format_are_refused_in_one_line(fuzz: ModuleType, tmp_path: Path) -> None:
    told = fuzz.fuzz(150, seed=2, keep=tmp_path / "harm")
    assert told["harm"] == []
    assert told["codes"]["2"] > 50 and told["codes"]["0"] > 10, "the damage is neither trivial nor total"


def test_the_same_seed_makes_the_same_damage(fuzz: ModuleType) -> None:
    assert fuzz.files(80, 5)[70:] == fuzz.files(80, 5)[70:]
    assert fuzz.files(80, 5)[70:] != fuzz.files(80, 6)[70:]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("side", "words"), [(40_000, "--max-pixels"), (19_000, "cannot hold")])
def test_absurd_headers_cost_no_memory(fuzz: ModuleType, tmp_path: Path, side: int, words: str) -> None:
    """Over the limit, and under it with too few bytes to be true."""
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    worker = fuzz.Worker()
    code, said, peak = worker.run(tmp_path / "bomb.png", tmp_path / "out.png")
    worker.stop()
    assert code == 2 and words in said and len(said.strip().splitlines()) == 1
    assert peak < 300_000_000


def test_pixel_limit_is_an_option(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    assert_refused(upscale_nearest(source, tmp_path / "b.png", "--max-pixels", 479), "--max-pixels")
    assert upscale_nearest(source, tmp_path / "b.png", "--max-pixels", 480).returncode == 0


# Names and folders ------------------------------------------------------------------------------

NAMES = ["with space.png", "new\nline.png", "\N{GRINNING FACE}\N{COMBINING ACUTE ACCENT}.png", "-dash.png", "[a]*?.png"]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"not-\xff\xfe-utf8.png"), "x" * 200 + ".png"])
def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    picture(tmp_path / "in" / name)
    done = upscale_nearest(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out" / name).width == 40
    assert len(done.stdout.strip().splitlines()) == 1
    (tmp_path / "in" / name).write_bytes(b"broken")
    assert_refused(upscale_nearest(tmp_path / "in" / name, tmp_path / "again.png"), "not a picture")


def test_symbolic_link_loops_end(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    picture(folder / "a.png")
    (folder / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self.png").symlink_to(tmp_path / "in" / "self.png")
    (tmp_path / "in" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    done = upscale_nearest(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").rglob("*.png")] == ["a.png"]
    assert_refused(upscale_nearest(tmp_path / "in" / "self.png", tmp_path / "b.png"), "self.png")


UNPRIVILEGED = """
import contextlib, io, os, sys
from superfine.__main__ import main
warm, *arguments = sys.argv[1:]
# Whatever is imported late, the table of failures too, is imported now: nobody may not read a private environment.
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main(["upscale", warm, warm + ".none", "-o", warm + ".outs", "-s", "2", "--engine", "nearest"])
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
sys.exit(main(arguments))
"""


def unprivileged(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as somebody who may not read and write everything, even when the tests run as root."""
    for folder in (tmp_path, *tmp_path.parents):
        ours = folder.owner() == Path.home().owner() or os.getuid() == 0
        if ours and not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    warm = picture(tmp_path / "warm.png")
    command = [sys.executable, "-c", UNPRIVILEGED, str(warm), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="Unix permissions")
def test_unreadable_folders_and_files_are_named_and_the_rest_is_done(tmp_path: Path) -> None:
    (tmp_path / "in" / "closed").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "secret.png").chmod(0)
    picture(tmp_path / "in" / "closed" / "b.png")
    (tmp_path / "in" / "closed").chmod(0)
    done = unprivileged(tmp_path, "upscale", tmp_path / "in", "-o", tmp_path / "out", "-s", 2, "--engine", "nearest")
    (tmp_path / "in" / "closed").chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "closed" in done.stderr and "secret.png" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".png"] == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="Unix permissions")
@pytest.mark.parametrize(("source", "target"), [
    ("closed", "out"), ("closed/a.png", "out.png"), ("closed/*.png", "out"), ("a.png", "closed/b.png"),
    ("a.png", "closed/b"),
])  # fmt: skip
def test_folders_that_may_not_be_entered_are_named(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "closed").mkdir()
    picture(tmp_path / "a.png")
    picture(tmp_path / "closed" / "a.png")
    (tmp_path / "closed").chmod(0)
    command = ("upscale", tmp_path / source, "-o", tmp_path / target, "-s", 2, "--engine", "nearest")
    done = unprivileged(tmp_path, *command)
    (tmp_path / "closed").chmod(0o755)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "closed" in done.stderr and all(line.startswith("superfine: ") for line in done.stderr.splitlines())
    assert sorted(path.name for path in tmp_path.rglob("[a-v]*.png")) == ["a.png", "a.png"]


@pytest.mark.parametrize(
    ("source", "target"), [("x" * 300 + ".png", "b.png"), ("a.png", "x" * 300 + ".png"), ("a.png", "x" * 300)]
)
def test_names_too_long_for_the_disk_are_one_line(tmp_path: Path, source: str, target: str) -> None:
    picture(tmp_path / "a.png")
    assert_refused(upscale_nearest(tmp_path / source, tmp_path / target), "too long")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full disk")
@pytest.mark.parametrize("arguments", [("upscale", "a.png", "-o", "-", "-s", "2", "--engine", "nearest"), ("models",)])
def test_standard_output_onto_a_full_disk_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    picture(tmp_path / "a.png")
    with Path("/dev/full").open("w") as full:
        command = [*SUPERFINE, *arguments]
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert_refused(done, "no space left")


@pytest.mark.parametrize("empty", ["in", "out"])
def test_an_empty_argument_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "a.png")
    assert_refused(upscale_nearest("" if empty == "in" else "a.png", "" if empty == "out" else "b"), "empty")


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="Unix permissions")
def test_read_only_folder_is_named_and_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o555)
    source = picture(tmp_path / "a.png")
    done = unprivileged(tmp_path, "upscale", source, "-o", tmp_path / "out" / "b.png", "-s", 2, "--engine", "nearest")
    assert_refused(done, "permission denied")
    assert list((tmp_path / "out").iterdir()) == []


# The way out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".gif", ".avif", ".ppm"])
def test_full_disk_is_named_and_nothing_is_left(tmp_path: Path, suffix: str) -> None:
    """A limit on the size of files stands for the disk: the write fails half-way all the same."""
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "out").mkdir()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = upscale_nearest(tmp_path / "a.png", tmp_path / "out" / f"b{suffix}", preexec_fn=limit)
    assert_refused(done, f"cannot write {tmp_path / 'out' / f'b{suffix}'}")
    assert list((tmp_path / "out").iterdir()) == []


def test_output_equal_to_input_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    before = source.read_bytes()
    (tmp_path / "link.png").symlink_to(source)
    for target in (source, tmp_path / "link.png", tmp_path / "." / "a.png"):
        assert_refused(upscale_nearest(source, target, "--overwrite"), "the picture itself")
    assert source.read_bytes() == before


def test_output_folder_inside_the_input_folder_is_not_taken_for_input(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for _ in range(2):
        done = upscale_nearest(tmp_path, tmp_path / "large", "--overwrite")
        assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "large").rglob("*.png")] == ["a.png"]
