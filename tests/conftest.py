"""Fixtures for every test file."""

import os
from pathlib import Path

import pytest


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
