"""Debian's Chromium, without a window, driven through its own debugging pipe: no driver program and no package."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--window-size=1200,900",
)


def chromium() -> str:
    """The path of the browser; the test skips where there is none."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium: install Debian's package chromium")
    return program


class Browser:
    """One page of one browser: open it, click, look. `troubles` and `requests` are those since.

    Args:
        profile: an empty folder for what the browser keeps.
    """

    def __init__(self, profile: Path) -> None:
        program = chromium()
        self.troubles: list[str] = []  # uncaught errors, and whatever the console calls an error or a warning
        self.requests: list[str] = []  # addresses asked for, data: left out
        self._events: list[str] = []
        self._last, self._kept, self._session = 0, b"", None
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The browser reads from descriptor 3 and writes to 4; these two must not lie there when they are put in place.
        ends = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in (to_browser, from_browser)]

        def put_in_place() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = [program, *_QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, close_fds=False, preexec_fn=put_in_place, **quiet)
        for each in (to_browser, from_browser, *ends):
            os.close(each)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        try:
            self._session = None
            self.ask("Browser.close", seconds=10)
        except (OSError, TimeoutError):
            self._process.kill()
        self._process.wait(timeout=20)
        os.close(self._write)
        os.close(self._read)

    def open(self, page: Path) -> None:
        """Load a file, and wait until it is there with all its pictures."""
        for book in (self._events, self.troubles, self.requests):
            book.clear()
        self.ask("Page.navigate", url=page.as_uri())
        end = time.monotonic() + 60
        while "Page.loadEventFired" not in self._events:
            self._take(end)

    def value(self, expression: str) -> object:
        """Evaluate a JavaScript expression in the page; give its value as Python sees its JSON."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def click(self, element: str, *, across: float = 0.5) -> None:
        """Press and release the mouse on an element, given as a JavaScript expression, `across` of its width in."""
        self.value(f"({element}).scrollIntoView({{block: 'center'}})")
        box = self.value(f"(b => [b.left, b.top, b.width, b.height])(({element}).getBoundingClientRect())")
        x, y = box[0] + box[2] * across, box[1] + box[3] / 2
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {"button": "none"} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def press(self, key: str) -> None:
        """Press and release a key, by its name, where the focus is."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, **text)

    def ask(self, method: str, *, seconds: float = 60, **parameters: object) -> dict:
        """One command of the DevTools protocol, and its answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + seconds
        while True:
            came = self._take(end)
            if came.get("id") == self._last:
                assert "error" not in came, came
                return came["result"]

    def _take(self, end: float) -> dict:
        """The next message; an event is written down."""
        while b"\0" not in self._kept:
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            more = os.read(self._read, 1 << 16)
            if not more:
                raise BrokenPipeError("the browser has ended")
            self._kept += more
        text, _, self._kept = self._kept.partition(b"\0")
        came = json.loads(text)
        method, told = came.get("method"), came.get("params", {})
        if method:
            self._events.append(method)
        if method == "Runtime.exceptionThrown":
            self.troubles.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.troubles.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.troubles.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith("data:"):
            self.requests.append(told["request"]["url"])
        return came
