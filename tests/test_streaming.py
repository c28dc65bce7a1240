"""From file to file by rows: what comes out whole, in memory that does not grow with the height."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from box_filter import BoxFilter
from icc_files import SRGB, gamma, rgb_profile
from superfine.__main__ import main
from superfine.cores import cores
from superfine.errors import ImageError, PlanError
from superfine.images import read, write
from superfine.images.formats import png, png_rows, tiff_directory
from superfine.images.picture import Picture
from superfine.images.rows import PictureRows, open_rows
from superfine.upscaling.batch import source as sources
from superfine.upscaling.batch.estimate import Estimator
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.rates import Rates, network_pass
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.batch.stages import Outcome
from superfine.upscaling.memory import limit_memory, parse_memory
from superfine.upscaling.plan import Target
from superfine.upscaling.self_ensemble import SelfEnsembleEngine
from superfine.upscaling.tiled import TiledUpscaler
from superfine.upscaling.tiles import choose_tile, plan_bands, plan_tiles
from superfine.upscaling.upscaler import Upscaler

TWICE = Target(scale=Fraction(2))
LINEAR = rgb_profile(SRGB, gamma(None), "linear")


class Blur(BoxFilter):
    """Fails where it is told to."""

    name = "blur"
    halo = 2
    most = 10**9
    """LR pixels of a window beyond which it has no memory."""

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        if tile.shape[2] * tile.shape[3] > self.most:
            raise MemoryError
        return super().run(tile)


@pytest.fixture(autouse=True)
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_rows, "_BAND_BYTES", 1000)
    monkeypatch.setattr(tiff_directory, "BAND_BYTES", 1000)


def picture(height: int, kind: str, dtype: str = "uint8") -> Picture:
    channels = {"gray": 1, "gray+alpha": 2, "neutral": 1, "RGB": 3, "RGB+alpha": 4, "hidden": 4}[kind]
    peak = np.iinfo(dtype).max
    samples = np.random.default_rng(height).integers(1, peak, (height, 31, channels), dtype=dtype, endpoint=True)
    if kind == "neutral":
        samples = samples.repeat(3, axis=2)
    if kind.endswith("alpha"):
        samples[: height // 2, :, -1] = peak  # an opaque part, and one of all degrees
    if kind == "hidden":
        samples[5:9, 5:9, -1] = 0
    if channels in (2, 4):
        return Picture(samples[:, :, :-1], samples[:, :, -1])
    return Picture(samples)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("kind", ["gray", "gray+alpha", "neutral", "RGB", "RGB+alpha"])
@pytest.mark.parametrize("height", [1, 40, 97])
def test_bands_of_a_file_are_the_whole_picture_enlarged(
    tmp_path: Path, suffix: str, dtype: str, kind: str, height: int
) -> None:
    if (suffix, dtype, kind) == (".tif", "uint16", "gray+alpha"):
        pytest.skip("Pillow does not know this kind of file")
    source = tmp_path / f"a{suffix}"
    write(picture(height, kind, dtype), source)
    whole = TiledUpscaler(Blur(3))(read(source))
    rows = open_rows(source)
    assert rows is not None
    bands = list(TiledUpscaler(Blur(3), tile=11).bands(rows))
    assert len(bands) == len(plan_bands(height, 31, 11, 2))
    assert np.array_equal(np.concatenate([pixels for pixels, _ in bands]), whole.pixels)
    if whole.alpha is not None:
        assert np.array_equal(np.concatenate([alpha for _, alpha in bands if alpha is not None]), whole.alpha)


def test_bands_of_an_ensemble_are_the_whole_pictures(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    write(picture(53, "RGB"), source)
    whole = TiledUpscaler(SelfEnsembleEngine(Blur(2)))(read(source))
    rows = open_rows(source)
    assert rows is not None
    bands = list(TiledUpscaler(SelfEnsembleEngine(Blur(2)), tile=11).bands(rows))
    assert len(bands) > 1
    assert np.array_equal(np.concatenate([pixels for pixels, _ in bands]), whole.pixels)


def outcome(
    source: Path, target: Path, upscaler: Upscaler | None = None, wish: Target = TWICE, **asked: bool
) -> Outcome:
    upscaler = upscaler or Upscaler(engine="nearest", tile=9)
    (done,) = run_jobs([Job(source, target)], upscaler, wish, Settings(overwrite=True, **asked))
    return done


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a.png", "b.png"), ("a.png", "b.tif"), ("a.tif", "b.png"), ("a.tif", "b.tif"), ("a.jpg", "b.png"),
        ("a.bmp", "b.tif"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["gray", "RGB", "RGB+alpha", "hidden"])
def test_a_file_made_by_rows_is_the_same_to_the_byte(
    tmp_path: Path, name: str, target: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "hills", 1
    full = replace(
        picture(50, kind), icc=LINEAR if kind == "RGB" else None, dpi=(90.0, 90.0), exif=exif.tobytes()[6:], xmp=b"<x/>"
    )
    write(full, tmp_path / name)
    made = []
    for least in (0, 10**9):
        monkeypatch.setattr(sources, "MIN_PIXELS_BY_ROWS", least)
        done = outcome(tmp_path / name, tmp_path / target, note=True, scale_dpi=True)
        assert done.error is None and done.after == (62, 100)
        made.append((tmp_path / target).read_bytes())
    assert made[0] == made[1]
    assert read(tmp_path / target).dpi == pytest.approx((180, 180), rel=1e-3) or name == "a.bmp"


def test_what_is_no_single_pass_goes_whole_and_comes_out_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MIN_PIXELS_BY_ROWS", 0)
    write(picture(40, "RGB"), tmp_path / "a.png")
    for wish, size in ((Target(scale=Fraction(3, 2)), (47, 60)), (Target(scale=Fraction(6)), (186, 240))):
        done = outcome(tmp_path / "a.png", tmp_path / "b.png", wish=wish)
        assert done.error is None
        made = read(tmp_path / "b.png")
        assert (made.width, made.height) == size
    upscaler = Upscaler(engine="nearest", back_projection=True)
    assert len(outcome(tmp_path / "a.png", tmp_path / "b.png", upscaler).consistency) == 1


@pytest.mark.parametrize("kind", ["RGB", "RGB+alpha"])
def test_where_memory_runs_out_it_goes_on_below_with_smaller_windows(tmp_path: Path, kind: str) -> None:
    """The rows that are made stay made, the file is not begun again, and no bit differs."""
    source = tmp_path / "a.png"
    write(picture(97, kind), source)
    whole = TiledUpscaler(Blur(2))(read(source))
    engine, rows = Blur(2), open_rows(source)
    assert rows is not None
    pixels, progress = [], []
    for number, band in enumerate(TiledUpscaler(engine, tile=20).bands(rows, progress.append)):
        pixels.append(band[0])
        engine.most = 10**9 if number < 1 else 200
    assert np.array_equal(np.concatenate(pixels), whole.pixels)
    assert len(pixels[0]) > len(pixels[2]), "after the second band windows are small"
    assert progress[-1] == 1


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(1, 90), st.integers(1, 60), st.integers(0, 20), st.data())
def test_the_rest_of_a_picture_is_partitioned_without_reading_what_is_gone(
    height: int, width: int, tile: int, halo: int, data: st.DataObject
) -> None:
    done = data.draw(st.integers(0, height - 1))
    bands = plan_bands(height, width, tile, halo, done)
    covered = np.zeros((height, width), int)
    for tiles in bands:
        assert len({(each.keep.top, each.keep.bottom, each.read.top, each.read.bottom) for each in tiles}) == 1
        for each in tiles:
            covered[each.keep.top : each.keep.bottom, each.keep.left : each.keep.right] += 1
            assert max(0, done - halo) <= each.read.top and each.read.bottom <= height
            assert each.read.top == 0 or each.read.top <= each.keep.top - halo
            assert each.read.bottom == height or each.read.bottom >= each.keep.bottom + halo
    assert (covered[done:] == 1).all() and (covered[:done] == 0).all()
    if done == 0:
        assert [each for tiles in bands for each in tiles] == plan_tiles(height, width, tile, halo)


def test_a_damaged_file_is_named_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MIN_PIXELS_BY_ROWS", 0)
    source = tmp_path / "a.png"
    Image.fromarray(picture(300, "RGB").pixels).save(source, compress_level=0)
    data = bytearray(source.read_bytes())
    data[-3000:-2900] = bytes(100)  # stored blocks: the last one's length does not fit, or pixels are black
    at = data.index(b"IDAT") + 6
    data[at + 3 : at + 5] = b"\0\0"  # nor does the first one's check
    source.write_bytes(data)
    done = outcome(source, tmp_path / "b.png")
    assert isinstance(done.error, ImageError)
    assert str(source) in str(done.error) and "cannot write" not in str(done.error)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MIN_PIXELS_BY_ROWS", 0)
    write(picture(97, "RGB"), tmp_path / "a.png")

    def interrupted(number: int, share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    jobs = [Job(tmp_path / "a.png", tmp_path / "b.png")]
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(jobs, Upscaler(engine="nearest", tile=9), TWICE, Settings(), progress=interrupted))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_memory_does_not_grow_with_the_height(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MIN_PIXELS_BY_ROWS", 0)
    monkeypatch.setattr(png, "_SEGMENT_BYTES", 1 << 16)
    monkeypatch.setattr("superfine.images.formats.tiff._STRIP_BYTES", 1 << 16)
    monkeypatch.setattr(png_rows, "_BAND_BYTES", 1 << 16)
    monkeypatch.setattr(tiff_directory, "BAND_BYTES", 1 << 16)
    peaks = []
    for height in (1400, 1400, 5600):  # the first warms up
        values = np.random.default_rng(0).integers(0, 256, (height, 300, 3), dtype=np.uint8)
        write(Picture(values), tmp_path / f"a{suffix}")
        del values
        tracemalloc.start()
        done = outcome(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", Upscaler(engine="nearest", tile=40))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert done.error is None
    more = 4200 * 300 * 3  # bytes of source; the result has four times as many
    assert peaks[2] - peaks[1] < 0.5 * more, "what waits for a packer differs a little from run to run"


def test_amounts_of_memory_are_read() -> None:
    assert parse_memory("2GiB") == 2 * 2**30 and parse_memory("1.5 gb") == 1_500_000_000
    assert parse_memory("800M") == 800_000_000 and parse_memory("4096") == 4096
    for wrong in ("", "much", "-1GB", "0", "2 GiBs", "5I"):
        with pytest.raises(PlanError, match="2GiB"):
            parse_memory(wrong)


def test_windows_and_bands_keep_to_the_limit_and_what_cannot_is_refused() -> None:
    head = Picture(np.empty((0, 20_000, 3), np.uint8))
    spans = []
    for gib in (0.5, 1, 4):
        tiled = TiledUpscaler(Blur(4))
        tiled.engine.pixel_bytes = 2000
        taken = limit_memory(tiled, head, (20_000, 15_000), 0, int(gib * 2**30))
        tiles = plan_bands(15_000, 20_000, choose_tile(15_000, 20_000, 2, tiled.engine.window, tiled._rows), 2)
        window = tiles[1][0].read.height * tiles[1][0].read.width * 2000
        rows = tiles[1][0].keep.height * 20_000 * 3 * (2 + 2 * 16)
        assert window + rows < gib * 2**30 and rows <= taken
        spans.append(tiled.engine.window)
    assert spans == sorted(spans) and spans[0] < spans[1]
    with pytest.raises(PlanError, match=r"allow more, or write PNG or TIFF"):
        limit_memory(TiledUpscaler(Blur(4)), head, (20_000, 15_000), 2**29, 2**29)


def test_a_processor_of_96_cores_takes_no_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(96), raising=False)
    assert cores() == 96
    head = Picture(np.empty((0, 2000, 3), np.uint8))
    tiled = TiledUpscaler(Blur(2))
    tiled.engine.pixel_bytes = 3000  # as CFSRCNN in OpenVINO
    assert limit_memory(tiled, head, (2000, 2100), 250 * 2**20, 2**30) > 0
    held = 16 * 2**30  # by a process with work of its own: what it holds costs no share of what is free
    assert limit_memory(tiled, head, (2000, 2100), held, held + 2**30) > 0


def test_a_picture_that_does_not_fit_whole_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # A test process that has run all the others is larger than this test's limit.
    monkeypatch.setattr("superfine.upscaling.upscaler.resident_memory", lambda: 100_000_000)
    whole = Picture(np.zeros((2000, 2000, 3), np.uint8))
    upscaler = Upscaler(engine="nearest", memory=400_000_000)
    with pytest.raises(PlanError, match="GiB is the limit"):
        upscaler.upscale_picture(whole, Target(scale=Fraction(4)))
    found = upscaler.upscale_rows(PictureRows(whole), Target(scale=Fraction(2)))
    assert found is not None and found[0].height == 4000


def test_a_dry_run_counts_rows_not_the_picture(tmp_path: Path) -> None:
    rates = Rates(tmp_path / "rates.json")
    upscaler = Upscaler(engine="nearest", tile=100)
    rates.note(network_pass(upscaler.tiled(2).engine, ""), 100 * 100, 0.01)
    estimator = Estimator(upscaler, rates)
    found = []
    for height in (3000, 9000):
        write(Picture(np.zeros((height, 400, 3), np.uint8)), tmp_path / "a.png")
        rows = open_rows(tmp_path / "a.png")
        assert rows is not None
        estimate = estimator.by_rows(rows, TWICE, ".png", ".png")
        assert estimate is not None and estimate.plan.output == (800, 2 * height)
        found.append(estimate)
    assert found[1].memory - found[0].memory < 6000 * 400 * 3, "less than the rows of source that came on top"
    assert [each.seconds for each in found] == pytest.approx([30 * 4 * 0.01, 90 * 4 * 0.01])
    rows = open_rows(tmp_path / "a.png")
    assert rows is not None and estimator.by_rows(rows, Target(width=1000), ".png", ".png") is None


def test_a_limit_that_cannot_be_kept_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(picture(97, "RGB"), tmp_path / "a.png")
    command = ["upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "-s", "2", "--engine", "nearest"]
    for memory, words in (("1MB", "is the limit: allow more"), ("lots", "no amount such as 2GiB")):
        assert main([*command, "--memory", memory]) == 2
        said = capsys.readouterr().err.strip()
        assert words in said and len(said.splitlines()) == 1
    assert main([*command, "--memory", "8GiB"]) == 0
    assert read(tmp_path / "b.png").height == 194


def test_a_file_too_large_to_unpack_within_the_limit_is_not_begun(tmp_path: Path) -> None:
    Image.new("RGB", (6000, 6000)).save(tmp_path / "a.jpg")
    upscaler = Upscaler(engine="nearest", memory=600_000_000)
    upscaler.tiled(2)
    upscaler._memory_before = 400_000_000  # whatever this process has
    done = outcome(tmp_path / "a.jpg", tmp_path / "b.png", upscaler)
    assert isinstance(done.error, PlanError) and "6000x6000" in str(done.error)
