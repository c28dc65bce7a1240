"""engines/ahead.py and upscaling/flow.py: batches under way change no result, and errors lose none."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from launchers import OnAThread
from superfine.engines.base import Window, run_windows, runs_ahead
from superfine.engines.pytorch import PyTorchEngine
from superfine.errors import EngineError, ImageError
from superfine.images import Picture
from superfine.images.files import read, write
from superfine.images.formats.frames import Frames, read_frames, write_frames
from superfine.images.rows import PictureRows, open_rows
from superfine.nets import ESRGCNNConfig, Network, build
from superfine.upscaling import TiledUpscaler, Upscaler
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.in_step import in_step
from superfine.upscaling.plan import make_target

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TWICE = make_target("2")


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return build(ESRGCNNConfig(width=16, distilled=4, blocks=1)).eval()


def engine_on(device: OnAThread | None, network: Network, window: int = 4096) -> PyTorchEngine:
    used = PyTorchEngine.of_network(network, 2, "fp32", "cpu", device)
    used.limit(window)
    return used


def levels(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def alike(one: Window, other: Window) -> bool:
    """Equal but for rounding: float32 within 1e-5, 8 bits within a level."""
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64)).max()
    return (
        one.shape == other.shape and one.dtype == other.dtype and difference <= (1 if one.dtype == np.uint8 else 1e-5)
    )


def each(engine: PyTorchEngine, windows: list[Window]) -> list[Window]:
    return [result for batch in run_windows(engine, windows) for result in batch]


def test_results_come_in_order_and_windows_of_one_size_run_as_batches_of_powers_of_two(network: Network) -> None:
    device = OnAThread()
    ahead, plain = engine_on(device, network), engine_on(None, network)
    sizes = [(16, 16)] * 11 + [(16, 20)] * 2 + [(60, 60)] * 3 + [(16, 16)]
    windows: list[Window] = [levels(*size, 3, seed=seed) for seed, size in enumerate(sizes)]
    windows += [np.random.default_rng(seed).random((1, 3, 16, 16), np.float32) for seed in range(3)]
    found, wanted = each(ahead, windows), each(plain, windows)
    assert runs_ahead(ahead) and not runs_ahead(plain)
    assert len(found) == len(windows) and all(map(alike, found, wanted))
    assert device.batches == [8, 2, 1, 2, 1, 1, 1, 1, 2, 1]
    assert device.most_under_way == 2


def test_a_window_that_runs_alone_gives_the_same_bits(network: Network) -> None:
    windows: list[Window] = [levels(50, 50, 3, seed=seed) for seed in range(4)]  # two do not fit into a batch
    found, wanted = each(engine_on(OnAThread(), network), windows), each(engine_on(None, network), windows)
    assert all(map(np.array_equal, found, wanted))


def test_windows_are_taken_one_batch_ahead_and_no_further(network: Network) -> None:
    taken: list[int] = []

    def windows() -> Iterator[Window]:
        for number in range(6):
            taken.append(number)
            yield levels(50, 50, 3)

    results = run_windows(engine_on(OnAThread(), network), windows())
    for number in range(6):
        next(results)
        assert taken == list(range(min(6, number + 2)))
    plain = run_windows(engine_on(None, network), windows())
    taken.clear()
    next(plain)
    assert taken == [0]


def test_whoever_stops_early_leaves_nothing_under_way(network: Network) -> None:
    device = OnAThread()
    results = run_windows(engine_on(device, network), (levels(50, 50, 3) for _ in range(5)))
    next(results)
    results.close()
    assert device.held == 0 and device.batches == [1, 1]


@pytest.mark.parametrize("late", [False, True])
def test_a_batch_that_memory_does_not_suffice_for_runs_in_halves(network: Network, late: bool) -> None:
    device = OnAThread(memory=3 * 256, late=late)  # a batch of 8 never fits, one of 2 beside another does not
    used = engine_on(device, network)
    windows: list[Window] = [levels(16, 16, 3, seed=seed) for seed in range(16)]
    assert all(map(alike, each(used, windows), each(engine_on(None, network), windows)))
    device.batches.clear()
    assert len(each(used, windows)) == 16
    assert max(device.batches) <= 2  # what was learned is kept
    assert device.held == 0


def test_an_error_of_the_windows_comes_after_the_results_before_it(network: Network) -> None:
    def windows() -> Iterator[Window]:
        yield from (levels(16, 16, 3, seed=seed) for seed in range(3))
        raise ImageError("damaged")

    found: list[Window] = []
    with pytest.raises(ImageError, match="damaged"):
        for batch in run_windows(engine_on(OnAThread(), network), windows()):
            found += list(batch)
    assert len(found) == 3


@pytest.mark.parametrize("shape", [(90, 70, 3), (90, 70), (90, 70, 4)])
def test_tiles_ahead_equal_the_whole_picture(network: Network, shape: tuple[int, ...]) -> None:
    pixels = levels(*shape)
    alpha = pixels[:, :, 3] if shape[2:] == (4,) else None
    picture = Picture(pixels[:, :, :3] if len(shape) == 3 else pixels[:, :, None], alpha)
    whole = TiledUpscaler(engine_on(None, network, 10_000))(picture)
    seen: list[float] = []
    device = OnAThread()
    found = TiledUpscaler(engine_on(device, network, 10_000), tile=20)(picture, seen.append)
    assert max(device.batches) > 1 and device.most_under_way == 2
    assert alike(found.pixels, whole.pixels)
    if alpha is not None:
        assert found.alpha is not None and whole.alpha is not None and alike(found.alpha, whole.alpha)
    assert seen == sorted(seen) and seen[-1] == 1 and len(set(seen)) == len(seen)


@pytest.mark.parametrize("late", [False, True])
def test_where_memory_runs_out_ahead_windows_shrink_and_nothing_is_lost(network: Network, late: bool) -> None:
    picture = Picture(levels(150, 60, 3))
    whole = TiledUpscaler(engine_on(None, network, 10_000))(picture)
    used = TiledUpscaler(engine_on(OnAThread(memory=3000, late=late), network, 4000))
    rows = PictureRows(picture)
    parts = [pixels for pixels, _ in used.bands(rows)]
    assert alike(np.concatenate(parts), whole.pixels)
    read = used.plan(150, 60)[0].read
    assert read.height * read.width <= 3000


def test_where_memory_runs_out_rows_that_were_read_ahead_are_read_again(network: Network, tmp_path: Path) -> None:
    picture = Picture(levels(400, 40, 3))
    write(picture, tmp_path / "tall.png")
    rows = open_rows(tmp_path / "tall.png", max_pixels=10**6, min_pixels=0)
    assert rows is not None and rows.held == 0
    device = OnAThread()
    used = TiledUpscaler(engine_on(device, network, 3000))
    parts = []
    for pixels, _ in used.bands(rows):
        parts.append(pixels)
        if len(parts) == 2:  # the fourth band's rows are read by now
            device.memory = 2500
    assert used.plan(400, 40)[0].read.height * 40 < 2000 and len(parts) > 10
    assert alike(np.concatenate(parts), TiledUpscaler(engine_on(None, network, 20_000))(picture).pixels)


def test_no_memory_for_the_smallest_window_is_one_error(network: Network) -> None:
    with pytest.raises(EngineError, match="smallest window"):
        TiledUpscaler(engine_on(OnAThread(memory=100), network))(Picture(levels(60, 60, 3)))


def test_small_pictures_share_batches_and_large_ones_among_them_keep_their_place(network: Network) -> None:
    pictures = [Picture(levels(16, 16, 3, seed=seed), dpi=(seed, seed)) for seed in range(6)]
    pictures.insert(3, Picture(levels(120, 60, 3)))
    pictures.insert(5, Picture(levels(16, 16, 1, seed=9), levels(16, 16)))
    device = OnAThread()
    used = TiledUpscaler(engine_on(device, network, 4096))
    found = list(used.stream(pictures))
    plain = TiledUpscaler(engine_on(None, network, 4096))
    wanted = [plain(picture) for picture in pictures]
    assert [each.dpi for each in found] == [each.dpi for each in wanted]
    assert all(alike(one.pixels, other.pixels) for one, other in zip(found, wanted, strict=True))
    assert device.batches[:2] == [2, 1] and device.most_under_way == 2


def test_windows_of_a_batch_count_as_so_many_windows(network: Network) -> None:
    used = TiledUpscaler(engine_on(OnAThread(), network))
    for _ in range(2):
        list(used.stream([Picture(levels(16, 16, 3))] * 8))
    ((first, _),) = used.times.take_first()
    ((later, seconds),) = used.times.take()
    assert first == later == 256 and 0 < 8 * seconds < used.times.seconds


def test_frames_of_a_video_share_batches_and_repeated_ones_keep_their_place(network: Network, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from superfine.video import Options, upscale_video
    from video_files import decoded, write_video

    source = write_video(tmp_path / "in.mkv", 12, same=2, pixel_format="yuv444p")
    device = OnAThread()
    summary = upscale_video(
        source, tmp_path / "ahead.mkv", Upscaler(engine=engine_on(device, network, 40_000)), Options(codec="ffv1")
    )
    upscale_video(source, tmp_path / "plain.mkv", Upscaler(engine=engine_on(None, network)), Options(codec="ffv1"))
    assert sum(device.batches) == 6 and max(device.batches) > 1
    assert (summary.frames, summary.repeated) == (12, 6)
    found, wanted = decoded(tmp_path / "ahead.mkv"), decoded(tmp_path / "plain.mkv")
    assert [each.pts for each in found] == [each.pts for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert all(map(alike, one.planes, other.planes))


def test_pictures_of_an_array_share_batches(network: Network) -> None:
    device, array = OnAThread(), levels(8, 16, 16, 3)
    seen: list[float] = []
    found = Upscaler(engine=engine_on(device, network))(array, 3, progress=seen.append)
    wanted = Upscaler(engine=engine_on(None, network))(array, 3)
    assert alike(found, wanted) and max(device.batches) > 1
    assert seen == sorted(seen) and seen[-1] == 1


def folder_of(folder: Path, pictures: list[NDArray[np.uint8]]) -> list[Job]:
    folder.mkdir()
    for number, pixels in enumerate(pictures):
        write(Picture(pixels), folder / f"{number:02}.png")
    return [Job(path, folder / "out" / path.name) for path in sorted(folder.iterdir())]


def test_small_pictures_of_a_folder_share_batches_and_fail_alone(network: Network, tmp_path: Path) -> None:
    pictures = [levels(16, 16, 3, seed=seed) for seed in range(12)]
    pictures[4] = levels(60, 60, 3)  # for which the device below has no memory
    jobs = folder_of(tmp_path / "in", pictures)
    jobs[8].source.write_bytes(b"no picture")
    device = OnAThread(memory=600)
    upscaler = Upscaler(engine=engine_on(device, network, 1024))
    seen: list[tuple[int, float]] = []
    outcomes = list(run_jobs(jobs, upscaler, TWICE, Settings(), progress=lambda *done: seen.append(done)))
    assert [each.job for each in outcomes] == jobs
    wrong = {number: str(each.error) for number, each in enumerate(outcomes) if each.error is not None}
    assert sorted(wrong) == [4, 8] and "smallest window" in wrong[4] and "04.png" in wrong[4] and "08.png" in wrong[8]
    plain = TiledUpscaler(engine_on(None, network))
    for number, job in enumerate(jobs):
        if number not in wrong:
            assert alike(read(job.target).pixels, plain(Picture(pictures[number])).pixels)
            assert (number, 1.0) in seen
    assert max(device.batches) == 2 and device.held == 0


def test_writers_and_readers_at_once_keep_the_order_of_a_folder(network: Network, tmp_path: Path) -> None:
    sizes = [(16, 16)] * 20 + [(40, 30)] * 3 + [(16, 16)] * 5
    pictures = [levels(*size, 3, seed=seed) for seed, size in enumerate(sizes)]
    jobs = folder_of(tmp_path / "in", pictures)
    device = OnAThread()
    upscaler = Upscaler(engine=engine_on(device, network))
    outcomes = list(run_jobs(iter(jobs), upscaler, make_target("1.5"), Settings()))
    assert [each.job for each in outcomes] == jobs and not any(each.error for each in outcomes)
    plain = Upscaler(engine=engine_on(None, network))
    for job, pixels, outcome in zip(jobs, pictures, outcomes, strict=True):
        assert alike(read(job.target).pixels, plain(pixels, 1.5))
        assert outcome.reading is not None and outcome.reading > 0 and outcome.writing is not None
    assert max(device.batches) == 8 and device.most_under_way == 2


def test_pages_of_a_file_share_batches_and_repeated_ones_cost_nothing(network: Network, tmp_path: Path) -> None:
    frames = [Picture(levels(16, 16, 3, seed=seed // 2)) for seed in range(8)]
    write_frames(Frames(frames), tmp_path / "in.tif")
    device = OnAThread()
    job = Job(tmp_path / "in.tif", tmp_path / "out.tif")
    (outcome,) = run_jobs([job], Upscaler(engine=engine_on(device, network, 2048)), TWICE, Settings())
    plain = TiledUpscaler(engine_on(None, network))
    found = read_frames(tmp_path / "out.tif").pictures
    assert outcome.error is None and len(found) == 8 and device.batches == [4]
    assert all(alike(one.pixels, plain(other).pixels) for one, other in zip(found, frames, strict=True))


def test_keys_without_an_item_pass_by_in_order() -> None:
    def doubled(numbers: Iterator[int]) -> Iterator[int]:
        ahead = [next(numbers, None), next(numbers, None)]  # one ahead, as an engine does
        while ahead[0] is not None:
            yield 2 * ahead.pop(0)
            ahead.append(next(numbers, None))

    items = [(key, None if key % 5 in (1, 2, 3) else key) for key in range(40)]
    for passing in (0, 1, 2, 64):
        assert list(in_step(iter(items), doubled, passing)) == [
            (key, None if item is None else 2 * item) for key, item in items
        ]


def test_a_long_still_part_is_not_collected() -> None:
    taken: list[int] = []

    def items() -> Iterator[tuple[int, str | None]]:
        for key in range(1000):
            taken.append(key)
            yield key, "first" if key == 0 else None

    found = in_step(items(), lambda given: given, 3)
    for key in range(1000):
        assert next(found)[0] == key
        assert len(taken) <= key + 5


def test_the_benchmark_of_cuda_says_that_it_needs_a_gpu_and_rehearses_without(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    from cuda_engine import main

    if not torch.cuda.is_available():
        assert main([]) == 2
        assert "no NVIDIA GPU" in capsys.readouterr().err
    assert main(["--rehearse"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("files" in line for line in lines) == 4 and sum("the same to the bit" in line for line in lines) == 1
