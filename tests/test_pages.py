"""The report of `superfine benchmark --html` in a real browser: what is clicked happens, nothing is fetched."""

import numpy as np
import pytest
from PIL import Image

from superfine.__main__ import main

SORTED = "document.querySelectorAll('table.sortable')[%d]"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of three methods on two pictures, three scales in one run: mixed, missing and infinite figures."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "Set5").mkdir()
    y, x = np.mgrid[:72, :96] / 6.0
    for number in (2, 10):
        waves = np.stack([127 + 60 * np.sin(number * x + c) + 60 * np.cos(y * (c + 1)) for c in range(3)], axis=-1)
        Image.fromarray(waves.astype(np.uint8)).save(folder / "Set5" / f"img_{number}.png")
    Image.fromarray(np.full((72, 96, 3), 90, np.uint8)).save(folder / "Set5" / "flat <i>&.png")
    asked = ["-m", "nearest,bicubic,lanczos", "-s", "2,3", "-p", "paper,standard", "--all-printed"]
    written = folder / "report.html"
    assert main(["benchmark", str(folder / "Set5"), *asked, "--html", str(written)]) == 0
    return written


def column(browser, table, number):
    rows = f"[...{SORTED % table}.tBodies[0].rows]"
    return browser.value(f"{rows}.map(row => row.cells[{number}].textContent)")


def numbers(cells):
    return [float("inf") if cell.startswith("inf") else float(cell.split(" ")[0]) for cell in cells if cell != "–"]


def test_a_click_on_a_header_sorts_and_another_turns_round(browser, page):
    browser.open(page)
    before = column(browser, 0, 1)
    assert len(before) > 10  # ours, and what the papers print
    for wanted, word in ((True, "descending"), (False, "ascending")):
        browser.click(f"{SORTED % 0}.querySelectorAll('th')[1]")
        cells = column(browser, 0, 1)
        assert sorted(cells) == sorted(before)
        assert numbers(cells) == sorted(numbers(before), reverse=wanted)
        assert browser.value(f"{SORTED % 0}.querySelectorAll('th')[1].ariaSort") == word
    last = browser.value("document.querySelectorAll('table.sortable').length") - 1
    browser.click(f"{SORTED % last}.querySelectorAll('th')[0]")
    browser.click(f"{SORTED % last}.querySelectorAll('th')[0]")
    # Names in the order a person counts in: 2 before 10.
    assert list(dict.fromkeys(column(browser, last, 0))) == ["flat <i>&", "img_2", "img_10"]
    browser.click(f"{SORTED % last}.querySelectorAll('th')[4]")
    values = numbers(column(browser, last, 4))
    assert values == sorted(values, reverse=True) and values[0] == float("inf")


def test_a_header_is_sorted_from_the_keyboard_too(browser, page):
    browser.open(page)
    browser.value(f"{SORTED % 0}.querySelectorAll('th')[1].focus()")
    browser.press("Enter")
    assert numbers(column(browser, 0, 1)) == sorted(numbers(column(browser, 0, 1)), reverse=True)


def test_the_slider_uncovers_one_picture_over_the_other(browser, page):
    browser.open(page)
    figure = "document.querySelector('figure.compare')"
    share = (
        f"{figure}.querySelector('.over').getBoundingClientRect().width"
        f" / {figure}.querySelector('.slider').getBoundingClientRect().width"
    )
    assert browser.value(share) == pytest.approx(0.5, abs=0.02)
    for across in (0.2, 0.9):
        browser.click(f"{figure}.querySelector('input')", across=across)
        # The handle's own width is taken off the way it can go.
        assert browser.value(share) == pytest.approx(across, abs=0.1)
    images = f"[...{figure}.querySelectorAll('.slider img')]"
    # Both pictures lie one on the other, pixel on pixel, whatever the clip.
    assert browser.value(f"{images}.map(each => [each.naturalWidth, each.naturalHeight])") == [[96, 72]] * 2
    boxes = browser.value(f"{images}.map(i => (b => [b.left, b.top, b.width, b.height])(i.getBoundingClientRect()))")
    assert boxes[0] == pytest.approx(boxes[1], abs=0.5) and boxes[0][2] > 90


def test_another_method_can_be_chosen_on_either_side(browser, page):
    browser.open(page)
    figure = "document.querySelector('figure.compare')"
    source = f"{figure}.querySelector('.slider > img').src"
    before = browser.value(source)
    name = browser.value(
        f"""(select => {{ select.value = [...select.options].map(o => o.value).find(v => v !== select.value);
        select.dispatchEvent(new Event('change')); return select.value; }})({figure}.querySelectorAll('select')[1])"""
    )
    stored = f"{figure}.querySelector('template').content.querySelector('[data-name=\"{name}\"]').src"
    assert browser.value(source) == browser.value(stored) != before


def test_the_page_fetches_nothing_and_complains_of_nothing(browser, page):
    browser.open(page)
    browser.click(f"{SORTED % 0}.querySelectorAll('th')[0]")
    browser.click("document.querySelector('figure.compare input')")
    assert browser.value("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    assert browser.requests == [page.as_uri()] and browser.troubles == []


def test_a_page_of_several_scales_and_methods_does_not_run_out_of_the_window(browser, page):
    browser.open(page)
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
