"""Write files whole or not at all: a crash, a full disk or a Ctrl-C leaves the old one.

Results of `superfine upscale` go through `images.files`, which also follows links and guards against odd targets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path, *, flush: bool = False) -> Iterator[IO[bytes]]:
    """Open a binary file beside `path` that takes its name when the block ends well, and vanishes when it does not.

    Args:
        path: its folder must be there.
        flush: wait until the disk has it, so that a power cut cannot leave the name on an empty file.

    Raises:
        OSError: what the system says about writing there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w+b") as file:
            yield file
            if flush:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Write `data` beside `path`, flush it to the disk, then take the name. A failure leaves nothing: OSError."""
    with whole_file(path, flush=True) as file:
        file.write(data)


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal: under a millisecond a megabyte. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
