"""The page of `superfine web` in a real browser: from drop to download, with every door, key and width."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
axe_core = pytest.importorskip("axe_playwright_python.sync_playwright")
playwright_api = pytest.importorskip("playwright.sync_api")

from browser import chromium  # noqa: E402
from superfine.weights import list_models  # noqa: E402
from web_server import web_server  # noqa: E402

Page = Any
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    channels = {"RGB": (3,), "RGBA": (4,)}[mode]
    values = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    picture(folder / "small.png", (40, 30))
    picture(folder / "clear.png", (36, 28), "RGBA")
    picture(folder / "deep/one.png", (20, 20))
    picture(folder / "deep/inside/two.png", (24, 20))
    (folder / "deep/readme.txt").write_text("no picture, and left out")
    picture(folder / "slow.png", (990, 990))  # minutes, so that it surely runs while it is looked at
    Image.new("RGB", (4100, 4000)).save(folder / "huge.png")
    (folder / "fake.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the real engine on small tiles, so that large pictures are slow."""
    with web_server(tmp_path_factory.mktemp("temporary"), "--tile", "24", "--max-pixels", "16000000") as (client, _):
        yield str(client.base_url)


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    """A browser without a window, which draws without a GPU: Debian's Chromium would emulate one on busy cores."""
    program = chromium()
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(opened: Any, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page; afterwards no script may have failed and no other server been asked."""
    contexts, troubles, requests = [], list[str](), list[str]()

    def open_one(**settings: Any) -> Page:
        context = opened.new_context(**{"viewport": DESKTOP, "accept_downloads": True, **settings})
        context.set_default_timeout(30_000)
        contexts.append(context)
        return watched(context.new_page())

    def watched(page: Page) -> Page:
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: troubles.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        page.bring_to_front()
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert troubles == []
    assert [url for url in requests if not url.startswith((address, "blob:", "data:"))] == []


def choose(page: Page, *paths: Path) -> None:
    page.set_input_files("#files", list(paths))


def wait_done(page: Page, count: int) -> None:
    page.locator("#items li.done").nth(count - 1).wait_for()


def assert_accessible(page: Page) -> None:
    found = axe_core.Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not serious, [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious]


def drop(page: Page, files: list[tuple[str, bytes]]) -> None:
    """Drop files from outside onto the page."""
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, data] of files) {
                transfer.items.add(new File([new Uint8Array(data)], name, { type: "image/png" }));
            }
            return transfer;
        }""",
        [[name, list(data)] for name, data in files],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#place", event, {"dataTransfer": transfer})


def test_from_drop_to_download(open_page: Callable[..., Page], files: Path, tmp_path: Path) -> None:
    page = open_page()
    assert page.locator("#empty").is_visible()
    assert_accessible(page)
    page.get_by_text("2×", exact=True).click()
    drop(page, [("small.png", (files / "small.png").read_bytes())])
    wait_done(page, 1)
    assert not page.locator("#empty").is_visible() and not page.locator("#dropping").is_visible()
    assert "40×30 → 80×60" in page.locator("#items .state").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "small-x2.png"
    download.value.save_as(tmp_path / "result.png")
    with Image.open(tmp_path / "result.png") as image:
        assert image.size == (80, 60)
    assert_accessible(page)


def test_slider_zoom_lens_and_the_other_network(open_page: Callable[..., Page], files: Path) -> None:
    page = open_page()
    choose(page, files / "clear.png")
    wait_done(page, 1)
    page.locator(".pane .layer.there").nth(1).wait_for()
    assert "kept: transparency" in page.locator(".words").inner_text()
    slider = page.get_by_role("slider", name="How much")
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert slider.get_attribute("aria-valuenow") == "25"
    page.get_by_role("button", name="Single pixels").click()
    assert page.locator(".percent").inner_text() == "100 %"
    transforms = [each.evaluate("e => e.style.transform") for each in page.locator(".pane .layer > img").all()]
    assert len(transforms) == 2 and len(set(transforms)) == 1  # both in step
    sizes = [each.evaluate("e => e.style.width") for each in page.locator(".pane .layer > img").all()]
    assert sizes == ["144px", "144px"]
    page.get_by_role("button", name="Magnifier").click()
    assert page.locator(".lens .layer > img").count() == 2 and page.locator(".lens").is_visible()
    page.get_by_role("button", name="Side by side").click()
    page.locator(".pane .layer.there").nth(4).wait_for()
    titles = [entry.title.partition(" (")[0] for entry in list_models()]
    captions = page.locator(".pane .caption").all_inner_texts()
    assert captions[:2] == ["Original", "Bicubic"] and sorted(captions[2:]) == sorted(titles)
    assert "network chosen for" in page.locator(".words").inner_text()
    assert_accessible(page)
    page.get_by_role("button", name="Under a slider").click()
    page.get_by_label("Compare with").select_option(label="CFSRCNN")
    page.locator(".pane .layer[data-kind=cfsrcnn].there").wait_for()


def test_by_keyboard_alone(open_page: Callable[..., Page], files: Path) -> None:
    page = open_page()
    page.on("filechooser", lambda chooser: chooser.set_files(files / "small.png"))
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose":
            break
    page.keyboard.press("Enter")
    wait_done(page, 1)
    reached = set[str]()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.className + document.activeElement.getAttribute('aria-label')")
        )
        if page.evaluate("document.activeElement.className") == "handle":
            break
    assert {"pick", "stage"} <= {name.removesuffix("null").split("The pict")[0] for name in reached}, reached
    handle = page.locator(".handle")
    for key, value in (("ArrowRight", "52"), ("End", "100"), ("Home", "0"), ("PageUp", "10")):
        page.keyboard.press(key)
        assert handle.get_attribute("aria-valuenow") == value
    page.keyboard.press("Shift+Tab")
    percent = page.locator(".percent")
    page.keyboard.press("1")
    assert percent.inner_text() == "100 %"
    page.keyboard.press("+")
    assert percent.inner_text() == "150 %"
    page.keyboard.press("m")
    assert page.locator(".lens").is_visible()


def test_pasted_pictures_and_dropped_folders_keep_their_names(open_page: Callable[..., Page], files: Path) -> None:
    page = open_page()
    page.evaluate(
        """data => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(data)], "image.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        list((files / "small.png").read_bytes()),
    )
    wait_done(page, 1)
    page.set_input_files("#folder", files / "deep")
    wait_done(page, 3)
    assert page.locator("#items .name").all_inner_texts() == ["image.png", "deep/inside/two.png", "deep/one.png"]
    with page.expect_download() as download:
        page.get_by_role("link", name="Download 3 as ZIP").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert sorted(archive.namelist()) == ["deep/inside/two-x4.png", "deep/one-x4.png", "image-x4.png"]


def test_a_refusal_is_shown_in_the_servers_words(open_page: Callable[..., Page], files: Path, address: str) -> None:
    import httpx2

    page = open_page()
    for name in ("fake.png", "huge.png"):
        choose(page, files / name)
        page.locator("#items li.failed", has_text=name).wait_for()
        words = httpx2.post(f"{address}v1/jobs", content=(files / name).read_bytes()).json()["detail"]
        page.locator("#items li.failed .pick", has_text=name).click()
        assert page.locator(".trouble").inner_text() == words
        assert page.locator("#items li.failed .state", has_text=words[:20]).count()
    choose(page, files / "small.png")  # and the page goes on
    wait_done(page, 1)
    page.locator("#items li.failed .pick").first.click()
    assert_accessible(page)


def test_progress_by_tiles_cancel_reload_and_archive_meanwhile(open_page: Callable[..., Page], files: Path) -> None:
    page = open_page()
    choose(page, files / "small.png", files / "clear.png")
    wait_done(page, 2)
    choose(page, files / "slow.png")
    page.locator("#items .pick", has_text="slow.png").click()
    page.locator("#items li.running .state", has_text="left").wait_for()
    canvas = page.locator(".pane canvas")
    seen = {canvas.evaluate("e => e.toDataURL('image/jpeg', 0.1)")}
    for _ in range(50):  # it grows
        page.wait_for_timeout(100)
        seen.add(canvas.evaluate("e => e.toDataURL('image/jpeg', 0.1)"))
        if len(seen) > 2:
            break
    assert len(seen) > 2
    with page.expect_download() as download:
        page.get_by_role("link", name="Download 2 as ZIP").click()
    assert zipfile.is_zipfile(download.value.path())
    assert page.locator("#items li.running").count() == 1
    page.reload()
    page.locator("#items li.running").wait_for()
    assert page.locator("#items .name").all_inner_texts() == ["clear.png", "small.png", "slow.png"]
    page.locator("#items .pick", has_text="slow.png").click()
    page.locator(".pane canvas").wait_for()
    assert_accessible(page)
    page.get_by_role("button", name="Cancel slow.png").click()
    page.locator("#items li.cancelled").wait_for()
    page.get_by_role("button", name="Remove slow.png").click()
    assert page.locator("#items li").count() == 2


def test_two_tabs_do_not_mix(open_page: Callable[..., Page], files: Path) -> None:
    first, second = open_page(), open_page()
    choose(first, files / "small.png")
    choose(second, files / "clear.png")
    wait_done(first, 1)
    wait_done(second, 1)
    assert first.locator("#items .name").all_inner_texts() == ["small.png"]
    assert second.locator("#items .name").all_inner_texts() == ["clear.png"]


def test_exact_sizes_and_formats_and_making_it_again(open_page: Callable[..., Page], files: Path) -> None:
    page = open_page()
    choose(page, files / "small.png")
    wait_done(page, 1)
    page.get_by_text("Exact", exact=True).click()
    page.get_by_label("Kind of size").select_option("size")
    page.get_by_label("Its value").fill("50x50")
    page.get_by_label("How the box is filled").select_option("cover")
    page.get_by_label("File format").select_option("jpg")
    page.get_by_role("button", name="Make it again with these settings").click()
    wait_done(page, 2)
    assert "40×30 → 50×50" in page.locator("#items .state").nth(1).inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download small-50x50.jpg").click()
    assert download.value.suggested_filename == "small-50x50.jpg"
    page.reload()  # settings stay
    page.wait_for_selector("html[data-ready]")
    assert page.get_by_label("Its value").input_value() == "50x50"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone(open_page: Callable[..., Page], files: Path, dark: bool) -> None:
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True, color_scheme="dark" if dark else "light")
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (ground == "rgb(15, 21, 20)") == dark
    assert_accessible(page)
    choose(page, files / "small.png", files / "fake.png")
    wait_done(page, 1)
    page.locator("#items li.done .pick").tap()
    page.locator(".pane .layer.there").nth(1).wait_for()
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is None or min(box["width"], box["height"]) >= 24  # WCAG 2.2, target size
    assert_accessible(page)


def test_a_clip_goes_in_and_plays(open_page: Callable[..., Page], tmp_path: Path) -> None:
    pytest.importorskip("av")
    from video_files import write_video

    clip = write_video(tmp_path / "clip.mp4", 3, codec="libx264", pixel_format="yuv420p")
    page = open_page()
    choose(page, clip)
    wait_done(page, 1)
    player = page.locator("video")
    player.wait_for()
    assert player.get_attribute("aria-label") == "clip-x4.mp4"
    assert "3 frames" in page.locator(".words").inner_text()
    assert_accessible(page)
