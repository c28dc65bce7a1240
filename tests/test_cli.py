"""The command line as a real process: what it prints, where, and the exit code it leaves with."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import processes
import superfine
from processes import one_clear_line
from superfine.__main__ import main


def superfine_command(*arguments: str | Path, cwd: Path | None = None) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a real `superfine` process."""
    done = processes.superfine(*arguments, cwd=cwd, env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"})
    return done.returncode, done.stdout, done.stderr


def nearest(*arguments: str | Path, cwd: Path | None = None) -> tuple[int, str, str]:
    """`superfine upscale` with the engine that needs no weights and no time."""
    return superfine_command("upscale", *arguments, "--engine", "nearest", cwd=cwd)


def working_process(tmp_path: Path) -> subprocess.Popen[str]:
    """A `superfine upscale` that has begun to write its first result, of many."""
    for number in range(40):
        picture(tmp_path / f"in/{number:03d}.png", (200, 200))
    command = [*processes.slow_superfine(0.03), "upscale", "in", "-o", "out", "--engine", "nearest"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "out/000.png").exists():
        time.sleep(0.005)
    return process


def picture(path: Path, size: tuple[int, int] = (12, 8), mode: str = "RGB") -> Path:
    """A picture of noise, width x height, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def test_one_picture_becomes_one_file_and_a_summary_line(tmp_path: Path) -> None:
    source = picture(tmp_path / "photo.png")
    code, out, err = nearest(source, "-o", tmp_path / "large.png", "-s", "3")
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/large\.png: 12x8 to 36x24 in [\d.]+ s\n", out)
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
    assert code == 0 and "33x21 to 66x42" in out
    expected = superfine.Upscaler("esrgcnn", engine="openvino", precision="fp32")(np.asarray(Image.open(source)), 2)
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


def test_a_bad_picture_is_one_line_and_exit_code_2_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in bad_pictures(tmp_path / "in"):
        assert main(["upscale", str(path), "-o", str(tmp_path / "out.png"), "--engine", "nearest"]) == 2
        assert path.name in one_clear_line(capsys.readouterr().err)
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
        (["-o", "b.png"], "INPUT"),
        (["a.png", "-o", "a.png/b.png"], "a.png"),
        (["a.png", "-o", "b.png", "--wrong"], "--wrong"),
        (["a.png", "-o", "b.png", "-s", "2", "--width", "9"], "scale and width contradict"),
        (["a.png", "-o", "b.png", "-s", "100"], "out of reach"),
        (["a.png", "-o", "b.png", "--size", "9"], "WIDTHxHEIGHT"),
        (["a.png", "-o", "b.png", "--size", "9x9", "--fit", "squeeze"], "contain, cover, stretch"),
        (["a.png", "-o", "b.png", "--print", "A4"], "30x40cm@300dpi"),
        (["a.png", "-o", "b.png", "--width", "0"], "--width"),
        (["a.png", "-o", "b.png", "--format", "jpg"], "--format says .jpg"),
        (["a.png", "-o", "out", "--format", "doc"], "unknown format"),
        (["a.png", "-o", "b.png", "--quality", "101"], "--quality"),
        (["a.png", "-o", "b.png", "--resume"], "--resume"),
        (["a.png", "-o", "b.png", "--max-pixels", "95", "--engine", "nearest"], "--max-pixels"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["upscale", *arguments]) == 2  # what the process calls, without its start-up time
    out, err = capsys.readouterr()
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
    assert sum(line.startswith("superfine: ") for line in err.splitlines()) == len(names) + 1  # and how many failed


def test_the_version_is_printed() -> None:
    assert superfine_command("--version") == (0, f"superfine {superfine.__version__}\n", "")


def test_models_lists_networks_scales_parameters_and_psnr_with_its_protocol() -> None:
    code, out, err = superfine_command("models")
    assert (code, err) == (0, "")
    for word in ("esrgcnn", "cfsrcnn", "x2 x3 x4", "1,977,024", "Set5", "standard"):
        assert word in out


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m superfine --help | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_folder_of_sources_and_results_can_be_run_again(tmp_path: Path) -> None:
    for name in "abcd":
        picture(tmp_path / f"in/{name}.png", (8, 6))
    wish = ("in", "-o", "in", "-s", "2", "--suffix", "-x2")
    assert nearest(*wish, cwd=tmp_path)[0] == 0
    made = sorted(path.name for path in (tmp_path / "in").iterdir())
    code, out, err = nearest(*wish, "--skip-existing", cwd=tmp_path)
    assert code == 0 and "4 there already" in out
    line = one_clear_line(err)
    assert "a-x2.png, b-x2.png, c-x2.png and 1 more" in line and "results of an earlier run" in line
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == made
    code, _, err = nearest("in", "-o", "in", cwd=tmp_path)
    assert code == 2 and "replace their sources" in one_clear_line(err)


def test_a_dry_run_shows_plan_pixels_memory_and_time_and_writes_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    picture(tmp_path / "in/a.png", (40, 30))
    picture(tmp_path / "in/b.png", (30, 40))
    (tmp_path / "in/c.png").write_text("no picture")
    code, out, err = nearest("in", "-o", "out", "--long-edge", "100", "--dry-run", cwd=tmp_path)
    assert code == 1
    assert "c.png" in one_clear_line(err)
    for word in ("100x75", "75x100", "x3, down to", "15.0 kpixels", "time unknown", "nothing was written"):
        assert word in out
    assert nearest("in/a.png", "-o", "a.png", "--long-edge", "100", cwd=tmp_path)[0] == 0
    (tmp_path / "a.png").unlink()
    _, out, _ = nearest("in", "-o", "out", "--long-edge", "100", "--dry-run", cwd=tmp_path)
    assert "unknown" not in out and re.search(r"memory, [\d.]+ s \(", out), "learned by a real run"
    assert re.search(r"\d [MG]i?B", out)  # of this process, which other tests may have made large
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_dry_run_counts_every_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 30), (shade, 0, 0)) for shade in (0, 90, 180)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=50)
    code, out, _ = nearest("a.gif", "-o", "b.webp", "-s", "2", "--dry-run", cwd=tmp_path)
    assert code == 0
    for word in ("3 of 40x30", "3 of 80x60", "14.4 kpixels"):
        assert word in out
    code, out, _ = nearest("a.gif", "-o", "b.jpg", "-s", "2", "--dry-run", cwd=tmp_path)
    assert code == 0 and "3 of" not in out and "4.8 kpixels" in out


def test_every_size_option_gives_that_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png", (40, 30))
    monkeypatch.chdir(tmp_path)
    for number, (options, size) in enumerate(
        [
            (["-s", "1.5"], (60, 45)),
            (["--width", "100"], (100, 75)),
            (["--megapixels", "0.0075"], (100, 75)),
            (["--size", "64x64", "--fit", "cover"], (64, 64)),
            (["--print", "1x1in@72dpi", "--fit", "stretch"], (72, 72)),
        ]
    ):
        assert main(["upscale", "a.png", "-o", f"{number}.png", *options, "--engine", "nearest"]) == 0
        assert Image.open(tmp_path / f"{number}.png").size == size
    assert Image.open(tmp_path / "4.png").info["dpi"] == pytest.approx((72, 72), abs=0.01)


def test_a_stream_goes_in_and_out_and_the_summary_stays_out_of_it(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png", (5, 4)).read_bytes()
    command = [*processes.SUPERFINE, "upscale", "-", "-o", "-", "--engine", "nearest", "-s", "2"]
    for more, format in (
        ([], "PNG"),
        (["--format", "tif"], "TIFF"),
        (["--format", "webp", "--quality", "100"], "WEBP"),
    ):
        done = subprocess.run([*command, *more], input=source, capture_output=True, check=True)
        result = Image.open(BytesIO(done.stdout))
        assert (result.format, result.size) == (format, (10, 8))
        assert b"5x4 to 10x8" in done.stderr
    done = subprocess.run(command, input=b"", capture_output=True, check=False)
    assert done.returncode == 2 and done.stdout == b"" and b"empty" in done.stderr


def test_suffix_format_and_quality_make_the_files_asked_for(tmp_path: Path) -> None:
    picture(tmp_path / "in/deep/a.png", (64, 64))
    for quality in ("20", "90"):
        options = ["--suffix", f"-q{quality}", "--format", "JPG", "--quality", quality]
        assert nearest("in", "-o", "out", *options, cwd=tmp_path)[0] == 0
    small, large = tmp_path / "out/deep/a-q20.jpg", tmp_path / "out/deep/a-q90.jpg"
    assert Image.open(small).format == "JPEG"
    assert small.stat().st_size < large.stat().st_size


def test_what_exists_can_be_skipped(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    assert nearest("in/a.png", "-o", "out", cwd=tmp_path)[0] == 0
    before = (tmp_path / "out/a.png").stat().st_mtime_ns
    code, out, err = nearest("in", "-o", "out", "--skip-existing", cwd=tmp_path)
    assert (code, err) == (0, "") and "1 there already" in out
    assert (tmp_path / "out/a.png").stat().st_mtime_ns == before and (tmp_path / "out/b.png").is_file()


def test_a_failure_of_a_batch_is_printed_once_and_counted_at_the_end(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_text("no picture")
    code, _, err = nearest("in", "-o", "out", cwd=tmp_path)
    assert code == 1
    first, last = err.splitlines()
    assert "b.png" in first and last == "superfine: 1 of 2 pictures failed"


def test_without_out_a_result_lies_beside_its_source_and_nothing_is_replaced(tmp_path: Path) -> None:
    picture(tmp_path / "photo.jpg")
    for options, name in (
        ([], "photo-x4.jpg"),
        (["-s", "1.5"], "photo-x1.5.jpg"),
        (["--width", "30"], "photo-30w.jpg"),
        (["--size", "24x16"], "photo-24x16.jpg"),
        (["--print", "1x1in@72dpi"], "photo-1x1in.jpg"),
        (["--suffix", "-large", "--format", "png"], "photo-large.png"),
    ):
        code, out, err = nearest("photo.jpg", *options, cwd=tmp_path)
        assert (code, err) == (0, "") and out.startswith(f"{name}: ")
        assert (tmp_path / name).is_file()
    before = (tmp_path / "photo-x4.jpg").read_bytes()
    code, _, err = nearest("photo.jpg", cwd=tmp_path)
    assert code == 2 and "photo-x4.jpg exists" in one_clear_line(err)
    assert (tmp_path / "photo-x4.jpg").read_bytes() == before


def test_without_out_several_pictures_and_folders_have_their_places_too(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "pics/deep/c.png", "d/e.png"):
        picture(tmp_path / name)
    assert nearest("a.png", "b.png", "-s", "2", cwd=tmp_path)[0] == 0
    assert nearest("pics", "-s", "2", cwd=tmp_path)[0] == 0
    assert Image.open(tmp_path / "pics-x2/deep/c.png").size == (24, 16)
    # A shell writes *.png out, results of the first run included.
    code, _, err = nearest("a.png", "a-x2.png", "b.png", "b-x2.png", "-s", "2", "--overwrite", cwd=tmp_path)
    assert code == 0 and "a-x2.png, b-x2.png" in one_clear_line(err)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["a-x2.png", "a.png", "b-x2.png", "b.png"]
    code, _, err = nearest("pics", "d", cwd=tmp_path)
    assert code == 2 and "--out" in one_clear_line(err)


def test_standard_input_goes_to_standard_output_without_being_told(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png", (5, 4)).read_bytes()
    command = [*processes.SUPERFINE, "upscale", "-", "--engine", "nearest", "-s", "2"]
    done = subprocess.run(command, input=source, capture_output=True, check=True)
    assert Image.open(BytesIO(done.stdout)).size == (10, 8)


def test_what_is_converted_and_what_has_no_effect_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("CMYK", (4, 4), (9, 99, 200, 3)).save(tmp_path / "in/ink.jpg")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 10, 30])
    palette.save(tmp_path / "in/palette.png")
    code, out, err = nearest("in", "-s", "2", "--format", "png", "--quality", "50", cwd=tmp_path)
    assert code == 0 and len(out.splitlines()) == 1
    assert err == "converted: CMYK to sRGB (1 of 2); --quality has no effect on PNG (2 of 2); palette to RGB (1 of 2)\n"
    code, out, err = nearest("in/palette.png", "-q", "-o", "one.png", cwd=tmp_path)
    assert (code, out, err) == (0, "", "")


def test_back_projection_reports_the_agreement_before_and_after(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png", (20, 20))
    code, out, _ = nearest(source, "-o", tmp_path / "b.png", "-s", "2", "--back-projection", "--tta")
    assert code == 0
    assert re.search(r"agreement with the input [\d.]+ dB before back-projection, [\d.]+ dB after", out)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_batch_leaves_whole_pictures_and_goes_on(tmp_path: Path, number: int, code: int) -> None:
    process = working_process(tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err
    if number == signal.SIGINT:
        assert re.search(
            r"interrupted: \d+ of 40 pictures are done; the same command with --resume", one_clear_line(err)
        )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert 0 < len(names) < 40
    assert not any(name.endswith(".part") for name in names)
    again = nearest("in", "-o", "out", cwd=tmp_path)
    assert again[0] == 2 and "--resume" in one_clear_line(again[2])
    result, out, err = nearest("in", "-o", "out", "--resume", cwd=tmp_path)
    assert (result, err) == (0, "") and "there already" in out
    assert len(list((tmp_path / "out").iterdir())) == 40
