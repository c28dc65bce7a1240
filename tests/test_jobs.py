"""Which pictures a command line means, and where each result goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from superfine.errors import PlanError
from superfine.upscaling.batch.jobs import Batch, plan_batch


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures (empty files: nothing is opened here), the working directory of the test."""
    for name in (
        "a.png",
        "b.JPG",
        "in/c.webp",
        "in/deep/d.tif",
        "in/deep/notes.txt",
        "in/.secret/e.png",
        "other/c.webp",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pairs(batch: Batch) -> dict[str, str]:
    return {str(job.source): str(job.target) for job in batch.jobs}


def test_one_picture_goes_into_the_file_or_folder_named(home: Path) -> None:
    assert pairs(plan_batch(["a.png"], "x.webp")) == {"a.png": "x.webp"}
    assert pairs(plan_batch(["a.png"], "in")) == {"a.png": "in/a.png"}
    assert pairs(plan_batch(["a.png"], "new/")) == {"a.png": "new/a.png"}
    assert pairs(plan_batch(["a.png"], "new")) == {"a.png": "new/a.png"}


def test_a_folder_or_glob_of_one_picture_goes_into_a_folder() -> None:
    assert pairs(plan_batch(["other"], "new")) == {"other/c.webp": "new/c.webp"}
    assert pairs(plan_batch(["oth*/*.webp"], "new")) == {"other/c.webp": "new/other/c.webp"}
    with pytest.raises(PlanError, match="folder"):
        plan_batch(["other"], "x.png")


def test_folders_are_mirrored_without_what_is_hidden_or_no_picture() -> None:
    assert pairs(plan_batch(["in"], "out")) == {"in/c.webp": "out/c.webp", "in/deep/d.tif": "out/deep/d.tif"}


def test_suffix_and_format_change_the_names() -> None:
    assert pairs(plan_batch(["a.png", "b.JPG"], "out", suffix="-x4")) == {
        "a.png": "out/a-x4.png",
        "b.JPG": "out/b-x4.JPG",
    }
    assert pairs(plan_batch(["in"], "out", suffix="_big", format=".jpg")) == {
        "in/c.webp": "out/c_big.jpg",
        "in/deep/d.tif": "out/deep/d_big.jpg",
    }


def test_two_pictures_never_become_one_file() -> None:
    batch = plan_batch(["in", "other"], "out")
    assert pairs(batch) == {"in/c.webp": "out/c.webp", "in/deep/d.tif": "out/deep/d.tif"}
    assert [str(each) for each in batch.complaints] == ["other/c.webp and in/c.webp would both become out/c.webp"]


def test_the_folder_of_results_is_no_source(home: Path) -> None:
    assert "in/deep/d.tif" not in pairs(plan_batch(["in"], "in/deep"))
    assert set(pairs(plan_batch(["in"], "in", suffix="-x2"))) == {"in/c.webp", "in/deep/d.tif"}


def test_results_beside_their_sources_are_no_sources_the_next_time(home: Path) -> None:
    first = plan_batch(["in"], "in", suffix="-x2")
    assert pairs(first) == {"in/c.webp": "in/c-x2.webp", "in/deep/d.tif": "in/deep/d-x2.tif"}
    assert first.left_out == []
    for job in first.jobs:
        assert job.target is not None
        job.target.touch()
    again = plan_batch(["in"], "in", suffix="-x2")
    assert pairs(again) == pairs(first)
    assert again.left_out == [Path("in/c-x2.webp"), Path("in/deep/d-x2.tif")]
    # The same by a glob, by another name of the folder, and where a source has gone.
    (home / "link").symlink_to("in")
    Path("in/c.webp").unlink()
    assert pairs(plan_batch(["link"], "in", suffix="-x2")) == {"link/deep/d.tif": "in/deep/d-x2.tif"}
    assert pairs(plan_batch(["in/**/*"], "in", suffix="-x2")) == {"in/deep/d.tif": "in/deep/d-x2.tif"}
    # Into another folder they are pictures like all others, and so is one that was named itself.
    assert len(plan_batch(["in"], "out", suffix="-x2").jobs) == 3
    named = plan_batch(["in/c-x2.webp"], "in", suffix="-x2")
    assert pairs(named) == {"in/c-x2.webp": "in/c-x2-x2.webp"} and named.left_out == []


def test_results_of_another_format_beside_their_sources_are_no_sources_either(home: Path) -> None:
    first = plan_batch(["in"], "in", format=".png")
    assert pairs(first) == {"in/c.webp": "in/c.png", "in/deep/d.tif": "in/deep/d.png"}
    for name in ("in/c.png", "in/deep/d.png", "in/own.png"):
        (home / name).touch()
    again = plan_batch(["in"], "in", format=".png")
    # own.png would become itself, which is said when its turn comes.
    assert pairs(again) == {**pairs(first), "in/own.png": "in/own.png"}
    assert again.left_out == [Path("in/c.png"), Path("in/deep/d.png")] and again.complaints == []


def test_a_folder_that_would_replace_all_its_pictures_is_refused_at_once() -> None:
    for inputs, out in ((["in"], "in"), (["a.png", "b.JPG"], "."), (["in/**/*"], "in")):
        with pytest.raises(PlanError, match=r"replace their sources.*--suffix"):
            plan_batch(inputs, out)


def test_inputs_without_pictures_are_complained_of_and_the_rest_is_done(home: Path) -> None:
    (home / "empty").mkdir()
    batch = plan_batch(["empty", "none*.png", "a.png"], "out")
    assert pairs(batch) == {"a.png": "out/a.png"}
    assert ["empty" in str(batch.complaints[0]), "none*.png" in str(batch.complaints[1])] == [True, True]


def test_streams_hold_one_picture() -> None:
    assert [(job.source, job.target) for job in plan_batch(["-"], "-").jobs] == [(None, None)]
    assert [(job.source, job.target) for job in plan_batch(["a.png"], "-").jobs] == [(Path("a.png"), None)]
    assert [(job.source, job.target) for job in plan_batch(["-"], "x.png").jobs] == [(None, Path("x.png"))]
    for inputs, out in ((["-", "a.png"], "x"), (["-"], "in"), (["in"], "-")):
        with pytest.raises(PlanError):
            plan_batch(inputs, out)


@pytest.mark.parametrize(
    ("out", "format", "says"),
    [("x.abc", None, "unknown suffix"), ("out", ".abc", "unknown format"), ("x.png", ".jpg", "name one of them")],
)
def test_a_format_nobody_can_write_is_refused(out: str, format: str | None, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        plan_batch(["a.png"], out, format=format)
    assert pairs(plan_batch(["a.png"], "x.jpeg", format=".jpg")) == {"a.png": "x.jpeg"}
