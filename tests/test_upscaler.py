"""Any size, exactly; self-ensemble and back-projection."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from superfine.demo import PHOTOGRAPH
from superfine.engines import open_engine
from superfine.engines.base import Engine
from superfine.images.depth import as_type
from superfine.images.files import Picture, read
from superfine.images.resize import downscale, shrink
from superfine.quality.protocols import measure
from superfine.upscaling import back_projection
from superfine.upscaling.back_projection import project_back
from superfine.upscaling.plan import Target
from superfine.upscaling.self_ensemble import SelfEnsembleEngine
from superfine.upscaling.tiled import TiledUpscaler
from superfine.upscaling.upscaler import Upscaler
from superfine.weights import find


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    return read(PHOTOGRAPH).pixels[96:288, 288:480]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine(find("esrgcnn"), 2, "openvino", "fp32")


def run_once(engine: Engine, pixels: NDArray[np.uint8], tile: int | None = None) -> NDArray[np.uint8]:
    return TiledUpscaler(engine, tile)(Picture(pixels)).pixels


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_every_kind_of_picture_comes_out_at_the_exact_size(kind: str, channels: int, alpha: bool) -> None:
    noise = np.random.default_rng(0).random((21, 34, channels + 1), dtype=np.float32)
    values = as_type(noise, np.dtype(kind))
    picture = Picture(values[:, :, :channels], alpha=values[:, :, -1] if alpha else None, dpi=(72.0, 72.0))
    upscaler = Upscaler(engine="nearest")
    for target, size in (
        (Target(scale=Fraction(3, 2)), (51, 32)),
        (Target(width=100), (100, 62)),
        (Target(size=(64, 64), fit="cover"), (64, 64)),
        (Target(scale=Fraction(5)), (170, 105)),
        (Target(width=10), (10, 6)),
    ):
        done = upscaler.upscale_picture(picture, target).picture
        assert (done.width, done.height) == size
        assert done.pixels.dtype == np.dtype(kind) and done.pixels.shape[2] == channels
        assert (done.alpha is not None) == alpha
        if done.alpha is not None:
            assert done.alpha.shape == done.pixels.shape[:2]


def test_passes_follow_one_another_and_progress_ends_at_one(photograph: NDArray[np.uint8]) -> None:
    shares: list[float] = []
    upscaler = Upscaler(engine="nearest", tile=50)
    result = upscaler.upscale_picture(Picture(photograph), Target(scale=Fraction(6)), shares.append)
    assert len(result.plan.passes) == 2 and np.prod(result.plan.passes) == 6
    assert np.array_equal(result.picture.pixels, photograph.repeat(6, 0).repeat(6, 1))
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)


def test_a_whole_scale_is_one_pass_of_the_network(photograph: NDArray[np.uint8], engine: Engine) -> None:
    small = photograph[:40, :50]
    upscaler = Upscaler(engine="openvino", precision="fp32")
    assert np.array_equal(upscaler(small, 2), run_once(engine, small))


def test_a_print_is_marked_with_its_resolution_and_others_keep_theirs(photograph: NDArray[np.uint8]) -> None:
    picture = Picture(photograph, dpi=(72.0, 72.0), icc=b"profile")
    upscaler = Upscaler(engine="nearest")
    printed = upscaler.upscale_picture(picture, Target(size=(300, 300), dpi=300)).picture
    assert (printed.dpi, printed.icc) == ((300.0, 300.0), b"profile")
    assert upscaler.upscale_picture(picture, Target(width=300)).picture.dpi == (72.0, 72.0)


def test_shrinking_keeps_even_areas_even_and_stays_in_range() -> None:
    for kind, top in (("uint8", 255), ("uint16", 65535), ("float32", 1)):
        even = np.full((50, 70, 3), 0.25 * top).astype(kind)
        assert np.unique(shrink(even, (33, 21))).size == 1
        steps = np.zeros((60, 60, 1), kind)
        steps[:, 30:] = top
        small = shrink(steps, (37, 41))
        assert small.dtype == np.dtype(kind) and small.min() == 0 and small.max() == top


def test_self_ensemble_is_the_same_for_a_turned_or_mirrored_picture(
    photograph: NDArray[np.uint8], engine: Engine
) -> None:
    ensemble = SelfEnsembleEngine(engine)
    small = photograph[:24, :40]
    straight = run_once(ensemble, small).astype(int)
    for turned, back in (
        (np.rot90(small), lambda sr: np.rot90(sr, -1)),
        (small[:, ::-1], lambda sr: sr[:, ::-1]),
        (small.transpose(1, 0, 2), lambda sr: sr.transpose(1, 0, 2)),
    ):
        again = back(run_once(ensemble, np.ascontiguousarray(turned))).astype(int)
        assert np.abs(again - straight).max() <= 1  # the order of eight sums may move a half


def test_self_ensemble_measures_better_and_is_tiled_exactly(photograph: NDArray[np.uint8], engine: Engine) -> None:
    lr = downscale(photograph, 2)
    plain = measure(run_once(engine, lr), photograph, 2, "standard")["psnr"]
    ensemble = SelfEnsembleEngine(engine)
    assert measure(run_once(ensemble, lr), photograph, 2, "standard")["psnr"] > plain
    corner = lr[:30, :40]  # three by four tiles, the last ones narrow
    assert np.array_equal(run_once(ensemble, corner, tile=13), run_once(ensemble, corner))


def test_back_projection_makes_the_downscaled_result_the_input_and_does_not_hurt(
    photograph: NDArray[np.uint8], engine: Engine
) -> None:
    lr = downscale(photograph, 2)
    sr = run_once(engine, lr)
    done, agreement = project_back(sr, lr, 2)
    assert agreement.after > agreement.before + 6
    off = downscale(done, 2).astype(int) - lr
    assert np.abs(off).max() <= 1 and (off == 0).mean() > 0.97
    assert (downscale(sr, 2) == lr).mean() < 0.9  # before, it was not so
    assert measure(done, photograph, 2, "standard")["psnr"] >= measure(sr, photograph, 2, "standard")["psnr"]


def test_back_projection_in_tiles_equals_the_whole(
    photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    lr = downscale(photograph, 2)
    sr = photograph.copy()
    sr[::3] //= 2
    whole, _ = project_back(sr, lr, 2)
    monkeypatch.setattr(back_projection, "_TILE", 17)
    monkeypatch.setattr(back_projection, "ROUNDS", 2)
    tiled, one = project_back(sr, lr, 2)
    monkeypatch.setattr(back_projection, "_TILE", 1000)
    whole, other = project_back(sr, lr, 2)
    assert np.abs(tiled.astype(int) - whole).max() <= 1 and (tiled == whole).mean() > 0.9999
    assert one.after == pytest.approx(other.after, abs=0.01)


def test_back_projection_is_reported_for_every_pass(photograph: NDArray[np.uint8]) -> None:
    picture = Picture(photograph[:20, :20])
    upscaler = Upscaler(engine="nearest", back_projection=True)
    result = upscaler.upscale_picture(picture, Target(scale=Fraction(5)))
    assert len(result.consistency) == 2
    assert all(each.after > each.before for each in result.consistency)
