"""Crop sheets, error maps, the gallery and the page: what is shown is where it should be."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from superfine.benchmark import Request, run
from superfine.benchmark.page import html
from superfine.benchmark.pictures import (
    Box,
    ComparedPicture,
    Gallery,
    crop_sheet,
    error_map,
    parse_box,
    stacked_sheet,
    where_methods_differ,
)
from superfine.errors import DataError
from superfine.quality.protocols import PROTOCOLS


def compared():
    hr = np.random.RandomState(0).randint(0, 256, (90, 120, 3)).astype(np.uint8)
    bad = hr.copy()
    bad[50:66, 70:86] = 255 - bad[50:66, 70:86]
    return ComparedPicture("Set", 2, "one", hr, {"good": hr.copy(), "bad": bad}, {"good": "inf / 1", "bad": "20 / 0.5"})


def test_box_is_put_where_the_methods_differ():
    assert where_methods_differ(compared(), 16) == Box(70, 50, 16, 16)


def test_window_larger_than_the_picture_is_the_picture():
    assert where_methods_differ(compared(), 500) == Box(0, 0, 120, 90)


def test_error_map_is_black_where_equal_and_white_where_far_off():
    hr = np.full((8, 8, 3), 100, np.uint8)
    sr = hr.copy()
    sr[2, 3] = 200
    shown = error_map(sr, hr)
    assert (shown[2, 3] == 255).all() and shown.sum() == 3 * 255


def test_sheet_holds_the_crop_of_every_method_pixel_for_pixel():
    picture, box = compared(), Box(70, 50, 16, 12)
    sheet = np.asarray(crop_sheet(picture, box, zoom=3))
    for name in ("good", "bad"):
        crop = np.repeat(np.repeat(box.of(picture.enlarged[name]), 3, axis=0), 3, axis=1)
        height, width = crop.shape[:2]
        starts = np.argwhere((sheet == crop[0, 0]).all(axis=-1))
        assert any(np.array_equal(sheet[y : y + height, x : x + width], crop) for y, x in starts)


def test_sheet_marks_the_box_in_red():
    sheet = np.asarray(crop_sheet(compared(), Box(20, 20, 30, 30)))
    assert ((sheet[..., 0] > 200) & (sheet[..., 1] < 90) & (sheet[..., 2] < 90)).sum() > 50


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "-1,2,3,4"])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(DataError, match="no box"):
        parse_box(text)


@pytest.mark.parametrize("box", [Box(110, 0, 16, 16), Box(0, 80, 8, 16), Box(0, 0, 0, 5)])
def test_box_outside_the_picture_is_refused(box):
    with pytest.raises(DataError, match="does not lie inside"):
        crop_sheet(compared(), box)


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        hr = np.random.RandomState(number).randint(0, 256, (40, 40, 3)).astype(np.uint8)
        hr[: 10 * number] = 128
        (tmp_path / "Set").mkdir(exist_ok=True)
        Image.fromarray(hr).save(tmp_path / "Set" / f"p{number}.png")
    return tmp_path / "Set"


def test_gallery_keeps_the_pictures_asked_for_and_writes_every_one(folder, tmp_path):
    gallery = Gallery(PROTOCOLS["standard"], ["p2"], folder=tmp_path / "out")
    run(Request([folder], ["bicubic", "nearest"], [2], keep=gallery.keep))
    assert [each.name for each in gallery.pictures()] == ["p2"]
    written = sorted(path.name for path in (tmp_path / "out" / "Set" / "x2").iterdir())
    assert len(written) == 8 and written[0] == "p0_bicubic.png"
    saved = np.asarray(Image.open(tmp_path / "out" / "Set" / "x2" / "p2_nearest.png"))
    np.testing.assert_array_equal(saved, gallery.pictures()[0].enlarged["nearest"])


def test_gallery_keeps_the_few_where_methods_differ_most(folder):
    gallery = Gallery(PROTOCOLS["standard"], most=2)
    result = run(Request([folder], ["bicubic", "nearest"], [2], keep=gallery.keep))
    bicubic, nearest = result.rows
    gaps = {
        a.name: abs(a.figures["psnr"] - b.figures["psnr"])
        for a, b in zip(bicubic.pictures, nearest.pictures, strict=True)
    }
    assert [each.name for each in gallery.pictures()] == sorted(gaps, key=gaps.get, reverse=True)[:2]


def test_picture_that_no_set_holds_is_refused(folder):
    gallery = Gallery(PROTOCOLS["standard"], ["p9"])
    run(Request([folder], ["bicubic"], [2], keep=gallery.keep))
    with pytest.raises(DataError, match="p9"):
        gallery.pictures()


def test_page_needs_no_other_file_and_holds_the_pictures_losslessly(folder):
    gallery = Gallery(PROTOCOLS["paper"], ["p1"])
    result = run(Request([folder], ["bicubic", "nearest"], [2], ["paper", "standard"], keep=gallery.keep))
    text = html(result, gallery.pictures())
    assert not re.search(r"""(?:src|href)=["']?(?!data:)[^"'\s>]*[/.]""", text) and "http" not in text
    (code,) = re.findall(r'data-name="nearest" src="data:image/png;base64,([^"]+)"', text)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))
    np.testing.assert_array_equal(shown, gallery.pictures()[0].enlarged["nearest"])
    assert f"{result.rows[0].figures['psnr']:.2f}" in text and result.sets[0].sha256[:16] in text


def test_page_escapes_names(folder):
    (folder / "p0.png").rename(folder / "p<b>&.png")
    text = html(run(Request([folder], ["bicubic"], [2])))
    assert "p&lt;b&gt;&amp;" in text and "p<b>" not in text


def test_sheets_are_stacked_into_one_file(tmp_path):
    stacked_sheet([compared(), compared()], None, tmp_path / "sheet.png")
    one = crop_sheet(compared(), where_methods_differ(compared()), errors=True)
    assert Image.open(tmp_path / "sheet.png").size == (one.width, 2 * one.height)
