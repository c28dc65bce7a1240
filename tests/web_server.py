"""A real server of `superfine web`, in a process of its own, and requests to it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from processes import SUPERFINE


@contextmanager
def web_server(parent: Path, *options: str) -> Iterator[tuple[httpx2.Client, subprocess.Popen[str]]]:
    """Run a server whose temporary files lie in `parent`; give a client of it, and its process."""
    command = [*SUPERFINE, "web", "--port", "0", "--no-open", *options]
    environment = {**os.environ, "TMPDIR": str(parent)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line.startswith("superfine web: http"), process.stderr.read()
            with httpx2.Client(base_url=line.split()[2], timeout=60) as client:
                yield client, process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
