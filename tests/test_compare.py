"""The slider of two pictures, and how pictures show themselves in a notebook."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import superfine

SMALL = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
LARGE = np.kron(SMALL, np.ones((2, 2, 1), np.uint8))


def embedded(html: str) -> list[np.ndarray]:
    """The pictures in a page, from the top."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in found]


def test_a_comparison_holds_both_pictures_and_their_labels_for_a_notebook_and_in_a_file(tmp_path: Path) -> None:
    comparison = superfine.compare(SMALL, Image.fromarray(LARGE), ("a <small> one", "large"))
    html = comparison._repr_html_()
    after, before = embedded(html)
    assert np.array_equal(before, SMALL) and np.array_equal(after, LARGE)
    assert "a &lt;small&gt; one" in html and "max-width:12px" in html and '<input type="range"' in html
    comparison.save(tmp_path / "compare.html")
    assert html in (tmp_path / "compare.html").read_text()


def test_pictures_of_every_depth_can_be_compared() -> None:
    deep = superfine.Picture(np.full((3, 3, 1), 65535, np.uint16))
    real = superfine.Picture(np.full((3, 3, 1), 0.5, np.float32))
    assert [each.flat[0] for each in embedded(superfine.compare(deep, real)._repr_html_())] == [128, 255]


def test_a_comparison_that_cannot_be_made_or_written_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(superfine.ImageError):
        superfine.compare("missing.png", SMALL)
    with pytest.raises(superfine.ImageError, match="cannot write"):
        superfine.compare(SMALL, LARGE).save(tmp_path / "no" / "folder.html")


def test_a_picture_shows_itself_in_a_notebook() -> None:
    shown = Image.open(io.BytesIO(superfine.Picture(SMALL)._repr_png_()))
    assert np.array_equal(np.asarray(shown), SMALL)
