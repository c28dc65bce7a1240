"""Store encoded frames in pieces of a fixed number of frames, each whole or not there.

Each piece has its own encoder and begins with a key frame. So a run that was killed continues at the first missing
piece, and the output is the same as without the interruption.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from superfine.atomic import replace_file
from superfine.errors import VideoError

FRAMES = 48
"""Frames of a piece: the most a kill can cost, and the distance of key frames."""

BESIDE: Literal["matroska_block_additional"] = "matroska_block_additional"
"""FFmpeg's name for what a packet carries beside its data."""


@dataclass(frozen=True)
class Chunk:
    """One packet of encoded video, its time stamps in the stream's time base."""

    pts: int
    key: bool
    data: bytes
    alpha: bytes = b""
    """The packet of alpha that VP9 stores beside that of colour."""


@dataclass(frozen=True)
class Index:
    """The table of contents at the end of a piece."""

    packets: list[tuple[int, bool, int, int]]
    """(pts, is a key frame, bytes, bytes of alpha) in decoding order."""
    frames: int
    repeated: int
    """Frames that equal the one before."""
    last_pts: int
    last_duration: int


class Pieces:
    """A hidden folder beside the output with the pieces of one job."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """identity: everything that decides the bytes of a piece; pieces with another identity are deleted."""
        self.folder = folder
        text = json.dumps(identity, sort_keys=True, default=str)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            job = folder / "job.json"
            if not job.is_file() or job.read_text(encoding="utf-8") != text:
                for old in folder.iterdir():
                    old.unlink()
                replace_file(job, text.encode())
        except OSError as error:
            raise VideoError(f"cannot work in {folder}: {error.strerror or error}") from error
        self.done = self._whole_pieces()

    def add(self, chunks: list[Chunk], index: Index) -> None:
        """Store the next piece."""
        footer = json.dumps(asdict(index)).encode()
        content = b"".join(chunk.data + chunk.alpha for chunk in chunks) + footer + len(footer).to_bytes(8, "little")
        try:
            replace_file(self._path(len(self.done)), content)
        except OSError as error:
            raise VideoError(
                f"cannot write into {self.folder}: {error.strerror or error}; what is done is kept"
            ) from error
        self.done.append(index)

    def chunks(self) -> Iterator[Chunk]:
        """Yield every packet of every piece in decoding order."""
        for number, index in enumerate(self.done):
            with self._path(number).open("rb") as file:
                for pts, key, size, alpha in index.packets:
                    yield Chunk(pts, key, file.read(size), file.read(alpha))

    def remove(self) -> None:
        """Delete the folder: the output is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def frames(self) -> int:
        """Frames in all pieces."""
        return sum(index.frames for index in self.done)

    @property
    def repeated(self) -> int:
        """Frames in all pieces that equal the one before."""
        return sum(index.repeated for index in self.done)

    @property
    def last_pts(self) -> int | None:
        """Time stamp of the last frame that is stored."""
        return self.done[-1].last_pts if self.done else None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.piece"

    def _whole_pieces(self) -> list[Index]:
        found: list[Index] = []
        while (index := _read_index(self._path(len(found)))) is not None:
            found.append(index)
        return found


def work_folder(out: Path) -> Path:
    """Return the folder for the pieces of an output: .NAME.superfine beside it."""
    return out.with_name(f".{out.name}.superfine")


def file_identity(path: Path) -> dict[str, Any]:
    """Identify a version of a file without reading all of it."""
    status = path.stat()
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(1 << 20)).hexdigest()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns, "head": head}


def _read_index(path: Path) -> Index | None:
    """Read the index of a piece; None if the piece is missing or incomplete."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8))
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                return None
            file.seek(size - 8 - length)
            fields = json.loads(file.read(length))
            index = Index(
                **fields | {"packets": [(int(p), bool(k), int(n), int(a)) for p, k, n, a in fields["packets"]]}
            )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return index if sum(n + a for _, _, n, a in index.packets) + length + 8 == size else None
