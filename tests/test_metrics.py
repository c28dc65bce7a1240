"""quality/metrics.py and images/profile.py against hand arithmetic, a plain loop and golden figures."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from superfine.images.profile import rgb_to_y
from superfine.quality import metrics
from superfine.quality.fsim import fsim, phase_congruency
from superfine.quality.protocols import PROTOCOLS, measure

GOLDEN = json.loads((Path(__file__).parent / "golden" / "golden_metrics.json").read_text())


def noisy_pair(height, width, seed=0):
    random = np.random.RandomState(seed)
    a = random.randint(0, 256, (height, width)).astype(np.float64)
    return a, np.clip(a + random.randn(height, width) * 20, 0, 255)


def ssim_by_loop(a, b):
    """SSIM as its paper writes it: one 11x11 window at a time."""
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            c1, c2 = 2.55**2, 7.65**2
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_luma_of_black_white_and_primaries_is_matlabs():
    rgb = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)
    np.testing.assert_allclose(rgb_to_y(rgb), [16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966], atol=1e-12)


def test_luma_of_something_else_than_rgb_is_refused():
    with pytest.raises(ValueError, match="shape"):
        rgb_to_y(np.zeros((4, 4)))


def test_psnr_of_one_level_of_error_everywhere_is_48_13_db():
    a = np.full((5, 7), 100.0)
    assert metrics.psnr(a, a + 1) == pytest.approx(20 * math.log10(255), abs=1e-12)


def test_psnr_of_equal_pictures_is_infinite():
    assert metrics.psnr(np.ones((3, 3)), np.ones((3, 3))) == math.inf


def test_ssim_equals_a_window_by_window_loop():
    a, b = noisy_pair(19, 26)
    assert metrics.ssim(a, b) == pytest.approx(ssim_by_loop(a, b), abs=1e-12)


def test_ssim_of_equal_pictures_is_one_and_of_a_negative_is_below_zero():
    a, _ = noisy_pair(30, 30)
    assert metrics.ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    assert metrics.ssim(a, 255 - a) < 0


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (1, 1)])
def test_ssim_refuses_pictures_smaller_than_its_window(shape):
    with pytest.raises(ValueError, match="11x11"):
        metrics.ssim(np.zeros(shape), np.zeros(shape))


def test_pictures_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        metrics.psnr(np.zeros((3, 4)), np.zeros((4, 3)))


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_psnr_and_ssim_agree_to_1e_4_under_every_protocol(shared, name):
    golden = GOLDEN[name]
    hr = np.asarray(Image.open(shared / golden["hr"]).convert("RGB"))
    sr = np.asarray(Image.open(shared / "reference" / "metrics" / f"{name}_lanczos.png").convert("RGB"))
    for protocol, kind in (("paper", "uint8"), ("standard", "float")):
        got = measure(sr, hr, golden["scale"], PROTOCOLS[protocol])
        assert got["psnr"] == pytest.approx(golden[f"psnr_y_{kind}"], abs=1e-4)
        assert got["ssim"] == pytest.approx(golden[f"ssim_y_{kind}"], abs=1e-4)
    assert measure(sr, hr, golden["scale"], "rgb")["psnr"] == pytest.approx(golden["psnr_rgb"], abs=1e-4)


def test_ms_ssim_of_two_flat_pictures_is_luminance_at_the_coarsest_scale_only():
    luminance = (2 * 100 * 120 + 2.55**2) / (100**2 + 120**2 + 2.55**2)
    got = metrics.ms_ssim(np.full((161, 180), 100.0), np.full((161, 180), 120.0))
    assert got == pytest.approx(luminance ** metrics.MS_SSIM_WEIGHTS[-1], abs=1e-12)


def test_ms_ssim_of_equal_pictures_is_one_and_noise_lowers_it():
    a, b = noisy_pair(170, 165)
    assert metrics.ms_ssim(a, a) == pytest.approx(1.0)
    assert 0 < metrics.ms_ssim(a, b) < 0.999


def test_ms_ssim_refuses_pictures_too_small_for_five_scales():
    with pytest.raises(ValueError, match="161x161"):
        metrics.ms_ssim(np.zeros((160, 300)), np.zeros((160, 300)))


@pytest.mark.parametrize("shape", [(64, 64), (41, 57), (400, 390)])
def test_fsim_is_one_for_equal_pictures_symmetric_and_falls_with_noise(shape):
    a, b = noisy_pair(*shape)
    worse = np.clip(b + np.random.RandomState(9).randn(*shape) * 60, 0, 255)
    assert fsim(a, a) == pytest.approx(1.0)
    assert fsim(a, b) == pytest.approx(fsim(b, a))
    assert fsim(a, worse) < fsim(a, b) < 1


def test_phase_congruency_marks_an_edge_whatever_its_contrast():
    weak, strong = np.full((64, 64), 100.0), np.full((64, 64), 100.0)
    weak[:, 32:], strong[:, 32:] = 110, 200
    low, high = phase_congruency(weak), phase_congruency(strong)
    assert high[32, 31:33].max() > 0.5 and low == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_fsim_agrees_to_1e_4(shared, name):
    golden = GOLDEN[name]
    hr = np.asarray(Image.open(shared / golden["hr"]).convert("RGB"))
    sr = np.asarray(Image.open(shared / "reference" / "metrics" / f"{name}_lanczos.png").convert("RGB"))
    got = measure(sr, hr, golden["scale"], "paper", ["fsim"])["fsim"]
    assert got == pytest.approx(golden["fsim_y_uint8_piq"], abs=1e-4)
