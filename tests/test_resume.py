"""A batch that is killed at any moment goes on where it was, and ends as if it had never been killed."""

from __future__ import annotations

import random
import subprocess
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processes import slow_superfine, superfine
from superfine.errors import PlanError
from superfine.upscaling.batch.journal import NAME, PARTS, Journal, Stamp

PICTURES, KILLS = 60, 20
COMMAND = ("upscale", "in", "-s", "4", "--engine", "nearest", "--format", "png")


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unpacked(png: bytes) -> tuple[list[bytes], bytes]:
    """All of a whole PNG but how its rows were packed: every other chunk, and the rows; zlib.error if it was cut.

    Once, one bit of the deflate stream differed between two runs and unpacked to the same bytes.
    """
    others, packed, at = [png[:8]], b"", 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : end - 4]
        else:
            others.append(png[at:end])
        at = end
    return others, zlib.decompress(packed)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `in`, sixty pictures in three folders, and `whole`, the results of a run nobody killed."""
    home = tmp_path_factory.mktemp("batch")
    noise = np.random.default_rng(0)
    for number in range(PICTURES):
        path = home / "in" / f"folder{number % 3}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (90 + number, 120, 3), dtype=np.uint8)).save(path)
    superfine(*COMMAND, "-o", "whole", cwd=home).check_returncode()
    return home


def test_a_batch_killed_twenty_times_ends_like_one_never_killed(pictures: Path) -> None:
    whole = files_in(pictures / "whole")
    assert len(whole) == PICTURES
    out = pictures / "out"
    chance = random.Random(7)
    interrupted = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [*slow_superfine(0.03), *COMMAND, "-o", "out", "--resume"],
            cwd=pictures,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        # Killed at a random moment at work, not while it is starting up: about its first, second or third picture.
        begun = _begun(out / NAME) + chance.randint(1, 3)
        while process.poll() is None and _begun(out / NAME) < begun:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.015)
        process.kill()
        process.communicate()
        interrupted += process.returncode != 0
        for name, content in files_in(out).items():
            if not Path(name).name.startswith("."):
                assert unpacked(content) == unpacked(whole[name]), f"{name} is not complete"
    assert interrupted == KILLS, "the batch was done before it had been killed often enough"
    done = superfine(*COMMAND, "-o", "out", "--resume", cwd=pictures)
    assert (done.returncode, done.stderr) == (0, "")
    assert "there already" in done.stdout
    found = files_in(out)
    assert found.keys() == whole.keys()  # no journal and no half-written file left either
    assert [name for name in whole if unpacked(found[name]) != unpacked(whole[name])] == []


def _begun(journal: Path) -> int:
    return journal.read_text().count('"begin"') if journal.exists() else 0


def a_file(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_what_is_done_counts_until_source_or_result_changes(tmp_path: Path) -> None:
    source, target = a_file(tmp_path / "a.png"), tmp_path / "out/a.png"
    journal = Journal(tmp_path / "out", {"scale": "2"}, resume=True)
    journal.begin(target)
    a_file(target, "result")
    journal.done(Stamp.of(source), target)
    again = Journal(tmp_path / "out", {"scale": "2"}, resume=True)
    assert again.is_done(source, target) and again.is_own(target)
    source.write_text("another picture")
    assert not again.is_done(source, target)
    source.write_text("x")
    target.unlink()
    assert not again.is_done(source, target)


def test_a_line_cut_short_is_forgotten_and_the_rest_counts(tmp_path: Path) -> None:
    source, target, other = a_file(tmp_path / "a.png"), tmp_path / "out/a.png", tmp_path / "out/b.png"
    journal = Journal(tmp_path / "out", {}, resume=True)
    journal.begin(target)
    a_file(target)
    journal.done(Stamp.of(source), target)
    journal.begin(other)
    text = journal.path.read_text()
    journal.path.write_text(text[:-7])
    again = Journal(tmp_path / "out", {}, resume=True)
    assert again.is_done(source, target) and not again.is_own(other)
    again.begin(other)
    assert Journal(tmp_path / "out", {}, resume=True).is_own(other)


def test_other_settings_do_not_go_on_with_a_batch(tmp_path: Path) -> None:
    Journal(tmp_path, {"scale": "2", "model": "esrgcnn"}, resume=False)
    with pytest.raises(PlanError, match="scale was 2 and is 3 now"):
        Journal(tmp_path, {"scale": "3", "model": "esrgcnn"}, resume=True)
    with pytest.raises(PlanError, match="--resume"):
        Journal(tmp_path, {"scale": "2", "model": "esrgcnn"}, resume=False)
    Journal(tmp_path, {"scale": "3", "model": "esrgcnn"}, resume=False, restart=True).finish()
    assert not (tmp_path / NAME).exists()


def test_half_written_files_of_a_killed_run_are_swept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {}, resume=True)
    part = a_file(tmp_path / "deep" / PARTS.replace("*", "0123456789ab"))
    precious = a_file(tmp_path / "deep" / "precious.part")
    journal.sweep({tmp_path / "deep"})
    assert not part.exists() and precious.exists()
