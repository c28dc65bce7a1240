"""The command line as a real process: what it prints, where, and the exit code it leaves with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import superfine


def superfine_command(
    *arguments: str | Path, cwd: Path | None = None, stdin: bytes | None = None
) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a real `superfine` process."""
    command = [sys.executable, "-m", "superfine", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, env=environment, check=False)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def nearest(*arguments: str | Path, cwd: Path | None = None) -> tuple[int, str, str]:
    """`superfine upscale` with the engine that needs no weights and no time."""
    return superfine_command("upscale", *arguments, "--engine", "nearest", cwd=cwd)


def picture(path: Path, size: tuple[int, int] = (12, 8), mode: str = "RGB") -> Path:
    """A picture of noise, width x height, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def one_clear_line(stderr: str) -> str:
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("superfine: ")
    assert "Traceback" not in stderr
    return lines[0]


def test_one_picture_becomes_one_file_and_a_summary_line(tmp_path: Path) -> None:
    source = picture(tmp_path / "photo.png")
    code, out, err = nearest(source, "-o", tmp_path / "large.png", "-s", "3")
    assert (code, err) == (0, "")
    assert "12x8 to 36x24" in out and "nearest" in out and "fp32" in out
    assert len(out.splitlines()) == 1
    assert np.array_equal(np.asarray(Image.open(tmp_path / "large.png"))[::3, ::3], np.asarray(Image.open(source)))


def test_the_networks_give_what_python_gives(tmp_path: Path) -> None:
    source = picture(tmp_path / "photo.png", (33, 21))
    code, out, _ = superfine_command(
        "upscale",
        source,
        "-o",
        tmp_path / "x.png",
        "-s",
        "2",
        "--engine",
        "openvino",
        "--precision",
        "fp32",
        "--tile",
        "9",
    )
    assert code == 0 and "esrgcnn x2" in out and "openvino fp32" in out
    expected = superfine.Upscaler("esrgcnn", 2, engine="openvino", precision="fp32")(np.asarray(Image.open(source)))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), expected)


def test_several_pictures_go_into_a_folder_under_their_names(tmp_path: Path) -> None:
    names = ["a.png", "b.jpg", "c.webp", "d.tif", "e.bmp"]
    sources = [picture(tmp_path / name) for name in names]
    code, out, err = nearest(*sources, "-o", tmp_path / "large", "-s", "2")
    assert (code, err) == (0, "")
    assert "5 pictures" in out
    assert sorted(path.name for path in (tmp_path / "large").iterdir()) == names
    assert all(Image.open(tmp_path / "large" / name).size == (24, 16) for name in names)


def test_folders_are_mirrored_and_globs_keep_their_place(tmp_path: Path) -> None:
    for name in ("in/a.png", "in/deep/er/b.png", "in/deep/c.jpg", "in/notes.txt", "in/.hidden.png"):
        picture(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).write_text("not a picture")
    assert nearest("in", "-o", "out", cwd=tmp_path)[0] == 0
    done = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert done == ["a.png", "deep/c.jpg", "deep/er/b.png"]
    assert nearest("in/**/*.png", "-o", "globbed/", cwd=tmp_path)[0] == 0
    assert sorted(path.name for path in (tmp_path / "globbed").rglob("*.png")) == ["a.png", "b.png"]
    assert (tmp_path / "globbed/deep/er/b.png").is_file()


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    picture(tmp_path / "photo[1].png")
    assert nearest("photo[1].png", "-o", "out.png", cwd=tmp_path)[0] == 0
    assert (tmp_path / "out.png").is_file()


def test_results_inside_the_source_folder_are_not_done_again(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert nearest(".", "-o", "large", cwd=tmp_path)[0] == 0
    assert nearest(".", "-o", "large", "--overwrite", cwd=tmp_path)[0] == 0
    assert [path.name for path in (tmp_path / "large").rglob("*.png")] == ["a.png"]
    assert not (tmp_path / "large/large").exists()


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    (tmp_path / "in/again").symlink_to(tmp_path / "in", target_is_directory=True)
    assert nearest("in", "-o", "out", cwd=tmp_path)[0] == 0
    assert [path.name for path in (tmp_path / "out").rglob("*.png")] == ["a.png"]


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    source, target = picture(tmp_path / "a.png"), tmp_path / "b.png"
    target.write_bytes(b"precious")
    code, _, err = nearest(source, "-o", target)
    assert code == 2 and "--overwrite" in one_clear_line(err)
    assert target.read_bytes() == b"precious"
    assert nearest(source, "-o", target, "--overwrite")[0] == 0
    assert Image.open(target).size == (48, 32)


def test_a_picture_is_never_its_own_result(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    before = source.read_bytes()
    for out in (source, tmp_path):
        code, _, err = nearest(source, "-o", out, "--overwrite")
        assert code == 2 and "the picture itself" in one_clear_line(err)
    assert source.read_bytes() == before


def bad_pictures(folder: Path) -> list[Path]:
    whole = picture(folder / "whole.png", (60, 60)).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "fake.png").write_bytes(b"this is no picture at all")
    (folder / "empty.png").write_bytes(b"")
    bomb = bytearray(whole)
    bomb[16:24] = (40_000).to_bytes(4, "big") * 2
    import zlib

    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    (folder / "bomb.png").write_bytes(bytes(bomb))
    return [folder / name for name in ("cut.png", "fake.png", "empty.png", "bomb.png", "missing.png")]


def test_a_bad_picture_is_one_line_and_exit_code_2_and_leaves_nothing(tmp_path: Path) -> None:
    for path in bad_pictures(tmp_path / "in"):
        code, _, err = nearest(path, "-o", tmp_path / "out.png")
        assert code == 2, path
        assert path.name in one_clear_line(err)
        assert not (tmp_path / "out.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_bad_pictures_never_stop_the_rest_of_a_batch(tmp_path: Path) -> None:
    bad = bad_pictures(tmp_path / "in")
    good = [picture(tmp_path / "in" / name) for name in ("a.png", "z.png")]
    code, out, err = nearest(good[0], *bad, good[1], "-o", tmp_path / "out")
    assert code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]
    assert "2 pictures" in out
    for path in bad:
        assert sum(line.startswith("superfine: ") and path.name in line for line in err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.png", "-o", "b.png", "-m", "esrgcn"], "did you mean esrgcnn"),
        (["a.png", "-o", "b.png", "-m", "nothing.pth"], "nothing.pth"),
        (["a.png", "-o", "b.png", "-s", "0"], "0"),
        (["a.png", "-o", "b.png", "-s", "four"], "four"),
        (["a.png", "-o", "b.png", "--engine", "steam"], "openvino"),
        (["a.png", "-o", "b.png", "--precision", "int1"], "bf16"),
        (["a.png", "-o", "b.png", "--tile", "0"], "tile"),
        (["a.png", "-o", "b.xyz"], ".png"),
        (["a.png", "b.png", "-o", "c.png"], "folder"),
        (["empty", "-o", "out"], "no pictures"),
        (["z*.png", "-o", "out"], "no pictures match"),
        (["a.png"], "--out"),
        (["-o", "b.png"], "INPUT"),
        (["a.png", "-o", "a.png/b.png"], "a.png"),
        (["a.png", "-o", "b.png", "--wrong"], "--wrong"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    code, out, err = superfine_command("upscale", *arguments, cwd=tmp_path)
    assert code == 2
    assert says in one_clear_line(err)
    assert out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "empty"]


def test_a_picture_of_one_pixel_is_upscaled(tmp_path: Path) -> None:
    source = picture(tmp_path / "dot.png", (1, 1))
    code, _, err = superfine_command("upscale", source, "-o", tmp_path / "x.png", "-s", "3")
    assert (code, err) == (0, "")
    assert Image.open(tmp_path / "x.png").size == (3, 3)


def test_names_of_any_bytes_are_done_and_shown_on_one_line(tmp_path: Path) -> None:
    names = [b"two words.png", b"new\nline.png", "emoji \U0001f99c.png".encode(), b"not utf-8 \xff.png", b"-dash.png"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), b"in-" + name), "wb") as file:  # noqa: PTH118, PTH123 (bytes)
            Image.new("RGB", (4, 4)).save(file, "PNG")
    code, _, err = nearest(tmp_path, "-o", tmp_path / "out", "-s", "2")
    assert (code, err) == (0, "")
    assert len(list((tmp_path / "out").iterdir())) == len(names)
    code, _, err = nearest(tmp_path, "-o", tmp_path / "out", "-s", "2")  # all exist already
    assert code == 2
    assert sum(line.startswith("superfine: ") for line in err.splitlines()) == len(names)


def test_version_help_and_no_arguments(tmp_path: Path) -> None:
    assert superfine_command("--version") == (0, f"superfine {superfine.__version__}\n", "")
    code, out, _ = superfine_command()
    assert code == 0 and "upscale" in out and "models" in out
    code, out, _ = superfine_command("upscale", "--help")
    assert code == 0 and "superfine upscale photo.jpg" in out
    code, _, err = superfine_command("upscal")
    assert code == 2 and "Did you mean 'upscale'" in one_clear_line(err)


def test_every_command_explains_itself() -> None:
    from superfine.cli import create_app, names_wanted

    for name in names_wanted([]):
        create_app([name])  # its module and its function are there


def test_models_lists_networks_scales_parameters_and_psnr_with_its_protocol() -> None:
    code, out, err = superfine_command("models")
    assert (code, err) == (0, "")
    for word in ("esrgcnn", "cfsrcnn", "x2 x3 x4", "1,977,024", "Set5", "standard"):
        assert word in out


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m superfine --help | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
