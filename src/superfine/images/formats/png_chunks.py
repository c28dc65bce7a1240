"""Find the chunks of a PNG."""

import io
import struct
from pathlib import Path
from typing import IO, Final

_SIGNATURE_BYTES: Final = 8
_LARGEST: Final = 1 << 20


def header_chunk(source: Path | IO[bytes], wanted: bytes) -> bytes | None:
    """Return the content of a chunk before the pixels (at most 1 MiB); None if there is none."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return header_chunk(file, wanted)
    before = source.tell()
    try:
        source.seek(_SIGNATURE_BYTES)
        while len(start := source.read(8)) == 8:
            length, kind = struct.unpack(">I4s", start)
            if kind == wanted:
                return source.read(min(length, _LARGEST))
            if kind in (b"IDAT", b"IEND"):
                return None
            source.seek(length + 4, io.SEEK_CUR)
        return None
    finally:
        source.seek(before)
