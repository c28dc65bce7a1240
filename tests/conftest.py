"""Fixtures for every test file."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser

# A shell that puts a command in the background has it ignore Ctrl-C, and so do all processes started from there.
# The tests that interrupt processes must hold there too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Under pytest-xdist several processes compute on the same cores: their threads must sleep while they wait, not spin.
# Here, because OpenMP reads it once, when PyTorch is first imported; processes that tests start inherit it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests learn about the machine out of the user's cache folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the reference material and the benchmark pictures, which the repository does not hold.

    Named by the environment variable SUPERFINE_SHARED, otherwise `shared` beside the repository; the test skips
    without it.
    """
    named = os.environ.get("SUPERFINE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no shared pictures: set SUPERFINE_SHARED to their folder")
    return folder


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Run PyTorch in one thread: on a busy machine threads wait for each other longer than they work."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real browser without a window; the test skips where there is no Chromium."""
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
