"""Photograph every state of the page of `superfine web`, with a real server and a real browser.

    python tools/web_shots.py FOLDER [--docs docs]

Needs the extra `dev` and Chromium. The pictures in docs/ that begin with web- come from here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import superfine.demo

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SHOWN = {"light-2-slider": "slider", "light-8-growing": "growing", "phone-2-slider": "phone"}
"""State → picture of the documentation."""


@contextmanager
def server(*options: str) -> Iterator[str]:
    """Run `superfine web` on a free port, and give its address."""
    command = [sys.executable, "-m", "superfine", "web", "--port", "0", "--no-open", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[2].rstrip("/")
        process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures of every state of the page.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", type=Path, help="where the few go that the documentation shows")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        raise SystemExit("no Chromium: install it first")
    photo = next(Path(superfine.demo.__file__).parent.glob("*.jpg"))
    with tempfile.TemporaryDirectory() as place, server() as address, sync_playwright() as playwright:
        pictures = make_pictures(Path(place), photo)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, size, dark in (("light", DESKTOP, False), ("dark", DESKTOP, True), ("phone", PHONE, False)):
            photograph(browser, address, pictures, folder, name, size, dark)
        browser.close()
    for name, shown in SHOWN.items() if options.docs else ():
        with Image.open(folder / f"{name}.png") as image:
            image.convert("RGB").save(options.docs / f"web-{shown}.webp", quality=80, method=6)


def make_pictures(place: Path, photo: Path) -> list[Path]:
    """Make a few pictures: a photograph in two sizes, one with transparency, and a file that is none."""
    with Image.open(photo) as image:
        small = image.crop((130, 40, 390, 240))
        small.save(place / "budgerigar.jpg", quality=95)
        large = image.resize((1200, 1200 * image.height // image.width))
        large.save(place / "large.jpg")
        clear = small.convert("RGBA")
        clear.putalpha(Image.radial_gradient("L").resize(small.size).point([255 - level for level in range(256)]))
        clear.save(place / "sticker.png")
    (place / "notes.png").write_text("no picture at all")
    return [place / name for name in ("budgerigar.jpg", "sticker.png", "notes.png", "large.jpg")]


def photograph(
    browser: Browser, address: str, pictures: list[Path], folder: Path, name: str, size: Any, dark: bool
) -> None:
    """Walk through all states at one size of the window."""
    context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light", has_touch=name == "phone")
    page = context.new_page()
    page.on("console", lambda message: print(f"{name}: {message.type}: {message.text}"))
    page.on("pageerror", lambda error: print(f"{name}: {error}"))
    page.goto(address)
    page.wait_for_selector("html[data-ready]")

    def shoot(state: str) -> None:
        page.screenshot(path=folder / f"{name}-{state}.png")

    shoot("1-empty")
    page.set_input_files("#files", pictures[:3])
    wait_for(page, "#items li.done", 2)
    page.wait_for_selector("#items li.failed")
    page.wait_for_selector(".layer.there >> nth=1")
    page.locator("#items .pick").first.click()
    page.wait_for_timeout(500)
    shoot("2-slider")
    page.get_by_label("Compare with").select_option("bicubic")
    page.get_by_role("button", name="Single pixels").click()
    for _ in range(3):
        page.get_by_role("button", name="Larger").click()
    page.wait_for_timeout(800)
    shoot("3-zoomed")
    page.get_by_role("button", name="Fit the whole picture").click()
    page.get_by_role("button", name="Magnifier").click()
    box = page.locator(".stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.45)
    page.wait_for_timeout(500)
    shoot("4-lens")
    page.get_by_role("button", name="Magnifier").click()
    page.get_by_role("button", name="Side by side").click()
    page.wait_for_selector(".pane >> nth=4", timeout=120_000)
    page.wait_for_timeout(1500)
    shoot("5-side")
    page.locator("#items .failed .pick").click()
    shoot("6-refused")
    page.locator("#items .pick").nth(2).click()
    page.get_by_role("button", name="Under a slider").click()
    page.wait_for_timeout(2500)
    shoot("7-transparent")
    page.get_by_text("Exact").click()
    page.get_by_label("Kind of size").select_option("size")
    page.locator("select[name=format]").select_option("webp")
    page.set_input_files("#files", pictures[3:])
    page.locator("#items .pick").nth(3).click()
    page.locator("#items li.running .state", has_text="%").wait_for(timeout=120_000)
    page.wait_for_timeout(500)
    shoot("8-growing")
    page.get_by_role("button", name="Cancel large.jpg").click()
    page.wait_for_timeout(300)
    shoot("9-cancelled")
    context.close()


def wait_for(page: Page, selector: str, count: int) -> None:
    """Wait until there are so many elements; the page's policy forbids waiting by script."""
    page.locator(selector).nth(count - 1).wait_for(timeout=120_000)


if __name__ == "__main__":
    main()
