"""Answers that are more than JSON: events as they happen, a result's file, an archive of many."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from superfine.web.jobs import Job
from superfine.web.problems import Problem

_EVENT_EVERY = 0.1
"""Seconds between two events of progress, at least."""
_ALIVE_EVERY = 10.0
"""Seconds after which a silent stream sends a sign of life."""


@asynccontextmanager
async def listening(job: Job) -> AsyncIterator[asyncio.Event]:
    """Give an event that is set whenever the job changes, in whichever thread."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def ring() -> None:
        with suppress(RuntimeError):  # the server has stopped
            loop.call_soon_threadsafe(changed.set)

    job.listeners.add(ring)
    try:
        yield changed
    finally:
        job.listeners.discard(ring)


async def end_of(job: Job, request: Request) -> None:
    """Wait until a job is over. Raises Problem when the client has hung up."""
    async with listening(job) as changed:
        while not job.is_over:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 0.5)
            changed.clear()
            if await request.is_disconnected():
                raise Problem(400, "disconnected", "the client has hung up")


async def events(job: Job, show: Callable[[], str]) -> AsyncGenerator[str]:
    """Yield server-sent events until the job is over."""
    sent = 0
    async with listening(job) as changed:
        while True:
            changed.clear()
            tiles, over = job.tiles, job.is_over
            for tile in tiles[sent:]:
                yield f"event: tile\ndata: {json.dumps(asdict(tile))}\n\n"
            sent = max(sent, len(tiles))
            yield f"event: job\ndata: {show()}\n\n"
            if over:
                return
            last = monotonic()
            while not changed.is_set():
                try:
                    await asyncio.wait_for(changed.wait(), _ALIVE_EVERY)
                except TimeoutError:
                    yield ": alive\n\n"
            await asyncio.sleep(max(0.0, _EVENT_EVERY - (monotonic() - last)))


def result_file(job: Job, background: BackgroundTask | None, *, attachment: bool) -> FileResponse:
    """Answer with a result's file."""
    name = Path(job.result_name).name
    plain = name.encode("ascii", "replace").decode().translate(dict.fromkeys(map(ord, '"\\?'), "_"))
    kind = "attachment" if attachment else "inline"
    headers = {
        "Content-Disposition": f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
        "Superfine-Model": job.order.model,
        "Superfine-Size": "{}x{}".format(*job.plan.output),
    }
    if job.converted:
        headers["Superfine-Converted"] = quote("; ".join(job.converted), safe=" ;,:()%-.")
    media_type = mimetypes.guess_type(f"x{job.target.suffix}")[0] or _MEDIA_TYPES.get(job.target.suffix)
    return FileResponse(
        job.target, media_type=media_type or "application/octet-stream", headers=headers, background=background
    )


_MEDIA_TYPES = {
    ".webp": "image/webp", ".avif": "image/avif", ".heic": "image/heic", ".heif": "image/heif", ".jxl": "image/jxl",
    ".apng": "image/apng", ".mkv": "video/x-matroska", ".m4v": "video/x-m4v", ".ts": "video/mp2t",
}  # fmt: skip
"""Media types that not every system knows."""


class _Pieces:
    """A file to write to, whose bytes are taken away again; it cannot go back."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held


def archive_of(jobs: list[Job]) -> Iterator[bytes]:
    """Yield a ZIP of results piece by piece; they are packed already, so they are only stored."""
    pieces, taken = _Pieces(), set[str]()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for job in jobs:
            path, number = Path(job.result_name), 1
            while str(path).lower() in taken:
                number += 1
                path = Path(job.result_name).with_stem(f"{Path(job.result_name).stem} ({number})")
            taken.add(str(path).lower())
            with archive.open(path.as_posix(), "w", force_zip64=True) as entry, job.target.open("rb") as file:
                while data := file.read(1 << 20):
                    entry.write(data)
                    yield pieces.take()
    yield pieces.take()
