"""`superfine` as a user runs it: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

SUPERFINE = (sys.executable, "-m", "superfine")
"""The program, for tests that need more than its end: to kill it, or to feed it."""

_SLOW = """
import sys, time
from superfine.__main__ import main
from superfine.engines.nearest import NearestEngine
fast, pause = NearestEngine.run_uint8, float(sys.argv.pop(1))
def slow(engine, tile):
    time.sleep(pause)
    return fast(engine, tile)
NearestEngine.run_uint8 = slow
sys.exit(main())
"""


def slow_superfine(seconds: float) -> list[str]:
    """Return a command of the program whose engine without weights takes so long for each tile.

    For a test that interrupts it: on a busy machine the test may not run for a while, and must find work left.
    """
    return [sys.executable, "-c", _SLOW, str(seconds)]


def superfine(*arguments: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, at most two minutes; `settings` are subprocess.run's and come before ours."""
    ours = {"capture_output": True, "text": True, "errors": "surrogateescape", "timeout": 120}
    return subprocess.run([*SUPERFINE, *map(str, arguments)], check=False, **(ours | settings))


def upscale_nearest(source: object, target: object, *more: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """`superfine upscale` to x2 with the engine that needs no weights and no time."""
    return superfine("upscale", source, "-o", target, "-s", "2", "--engine", "nearest", *more, **settings)


def one_clear_line(stderr: str) -> str:
    """The only line of what a refusal printed."""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("superfine: ")
    assert "Traceback" not in stderr
    return lines[0]


def assert_refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    """Exit code 2 and one line with `words` in it: no traceback, and nothing on standard output."""
    assert done.returncode == 2 and not done.stdout, done.stderr
    assert words in one_clear_line(done.stderr)
