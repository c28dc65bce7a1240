"""quality/protocols.py: each choice of a protocol changes the figure by what arithmetic says."""

import math

import numpy as np
import pytest

from superfine.errors import DataError
from superfine.images.resize import downscale
from superfine.quality.protocols import PROTOCOLS, Protocol, consistency, measure, planes, quantise


def test_paper_truncates_and_standard_rounds():
    sr = np.array([[[99.9 / 255, -0.5, 1.5]]], dtype=np.float32)
    assert quantise(sr, PROTOCOLS["paper"]).tolist() == [[[99, 0, 255]]]
    assert quantise(sr, PROTOCOLS["standard"]).tolist() == [[[100, 0, 255]]]


def test_every_whole_level_survives_both_roundings():
    levels = np.arange(256, dtype=np.uint8)
    for protocol in PROTOCOLS.values():
        assert (quantise(levels.astype(np.float32) / np.float32(255), protocol) == levels).all()


def test_paper_luma_is_whole_and_standard_luma_is_not():
    picture = np.random.RandomState(0).randint(0, 256, (20, 20, 3)).astype(np.uint8)
    (whole,), (real,) = (planes(picture, 2, PROTOCOLS[name]) for name in ("paper", "standard"))
    assert (whole == np.rint(real)).all() and (whole != real).any()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_errors_inside_the_border_of_scale_pixels_do_not_count(name, scale):
    hr = np.random.RandomState(scale).randint(0, 256, (40, 30, 3)).astype(np.uint8)
    sr = hr.copy()
    sr[:scale], sr[-scale:], sr[:, :scale], sr[:, -scale:] = 0, 0, 0, 0
    assert measure(sr, hr, scale, name)["psnr"] == math.inf
    sr[scale, scale] = 255 - sr[scale, scale]
    assert measure(sr, hr, scale, name)["psnr"] < 100


def test_one_level_of_error_gives_48_13_db_in_rgb_and_more_in_luma():
    hr = np.full((30, 30, 3), 100, np.uint8)
    assert measure(hr + 1, hr, 2, "rgb")["psnr"] == pytest.approx(20 * math.log10(255))
    # In luma a step of one level of gray is 219/255 of a level.
    assert measure(hr + 1, hr, 2, "standard")["psnr"] == pytest.approx(20 * math.log10(255 * 255 / 219))


def test_gray_picture_measures_as_the_same_picture_saved_as_rgb():
    gray = np.random.RandomState(1).randint(0, 256, (24, 24)).astype(np.uint8)
    worse = np.clip(gray.astype(int) + 3, 0, 255).astype(np.uint8)
    as_rgb = [np.repeat(x[..., None], 3, axis=2) for x in (worse, gray)]
    for name in ("paper", "standard", "rgb"):
        assert measure(worse, gray, 2, name) == pytest.approx(measure(*as_rgb, 2, name))


def test_gray_as_gray_is_lower_by_219_over_255_in_decibels():
    hr = np.random.RandomState(2).randint(0, 200, (24, 24)).astype(np.uint8)
    as_gray = Protocol("gray", "round", "y", "float", "as-gray", 1, "")
    gap = measure(hr + 5, hr, 2, "standard")["psnr"] - measure(hr + 5, hr, 2, as_gray)["psnr"]
    assert gap == pytest.approx(20 * math.log10(255 / 219))


@pytest.mark.parametrize(
    ("sr", "hr", "words"),
    [
        (np.zeros((20, 20, 3), np.uint8), np.zeros((20, 22, 3), np.uint8), "must match"),
        (np.zeros((20, 20, 1), np.uint8), np.zeros((20, 20, 3), np.uint8), "channels"),
        (np.zeros((20, 20, 3), np.uint16), np.zeros((20, 20, 3), np.uint8), "uint16"),
        (np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20, 3), np.uint16), "uint16"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), "border"),
        (np.zeros((12, 12, 3), np.uint8), np.zeros((12, 12, 3), np.uint8), "too small"),
    ],
)
def test_pictures_that_cannot_be_compared_are_named(sr, hr, words):
    with pytest.raises(DataError, match=words):
        measure(sr, hr, 2, "standard")


def test_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match="paper, standard, matlab, rgb"):
        measure(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20, 3), np.uint8), 2, "y-channel")


def test_consistency_is_infinite_for_the_picture_the_small_one_was_made_from_and_finite_for_another():
    hr = np.random.RandomState(4).randint(0, 256, (36, 36, 3)).astype(np.uint8)
    lr = downscale(hr, 3)
    assert consistency(hr, lr, 3, "standard") == math.inf
    assert consistency(255 - hr, lr, 3, "standard") < 30


def test_metric_too_large_for_the_picture_is_named():
    flat = np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(DataError, match=r"161x161.*leave ms-ssim out"):
        measure(flat, flat, 2, "standard", ["psnr", "ms-ssim"])
