"""The routes of the HTTP interface."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import shutil
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Annotated, Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask

from superfine.errors import SuperfineError
from superfine.version import __version__
from superfine.web.jobs import Job, State
from superfine.web.limits import client_of
from superfine.web.metrics import CONTENT_TYPE
from superfine.web.parameters import Health, JobView, ModelView, Parameters, ProblemView, read_parameters
from superfine.web.problems import MEDIA_TYPE, Problem, problem_of
from superfine.web.service import Service
from superfine.web.upload import Receiver
from superfine.web.views import Of, view_of
from superfine.weights import list_models

_EVENT_EVERY = 0.1
"""Seconds between two events of progress, at least."""
_ALIVE_EVERY = 10.0
"""Seconds after which a silent stream sends a sign of life."""

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused.", "content": {MEDIA_TYPE: {"schema": ProblemView.model_json_schema()}}},
    "503": {"description": "Busy.", "content": {MEDIA_TYPE: {"schema": ProblemView.model_json_schema()}}},
}
_BINARY = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "properties": {"file": _BINARY, **Parameters.model_json_schema()["properties"]},
}
_BODY = {
    "requestBody": {
        "description": "The picture: the body itself, or the field `file` of a form.",
        "content": {"multipart/form-data": {"schema": _FORM}, "application/octet-stream": {"schema": _BINARY}},
    }
}
Query_ = Annotated[Parameters, Query()]


def create_routes(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter()
    receiver = Receiver(service.limits)
    views = asyncio.Semaphore(1)

    async def accept(request: Request, *, watched: bool) -> Job:
        """Receive a picture and queue its job."""
        client = client_of(request.client.host if request.client else "")
        service.check(client)
        folder = await to_thread.run_sync(service.storage.new_folder)
        try:
            upload = folder / "upload"
            received = await receiver.receive(request, upload)
            parameters = read_parameters(dict(request.query_params), received.fields)
            name = parameters.name or received.name
            if parameters.again is not None:
                earlier = find(parameters.again)
                name = name or earlier.name
                await to_thread.run_sync(shutil.copyfile, earlier.source, upload)
            named = parameters.model_copy(update={"name": name})
            return await to_thread.run_sync(lambda: service.order(named, client, folder, upload, watched=watched))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def find(id: str) -> Job:
        """Return a job that is known. Raises Problem."""
        job = service.jobs.get(id)
        if job is None:
            raise Problem(404, "no-job", "there is no such job; finished ones are kept for a while only")
        return job

    def finished(id: str) -> Job:
        """Return a job whose result is there. Raises Problem."""
        job = find(id)
        if job.problem is not None:
            raise job.problem
        if job.state != State.DONE:
            raise Problem(409, "not-done", f"this job is {job.state}: its result is not there")
        return job

    def show(job: Job) -> JobView:
        return JobView.of(job, service.queue.ahead(job))

    @router.post(
        "/v1/upscale", response_class=Response, openapi_extra=_BODY, responses={
            200: {"description": "The picture.", "content": {"image/*": {"schema": _BINARY}}}, **_PROBLEMS,
        },
    )  # fmt: skip
    async def upscale(request: Request, parameters: Query_) -> Response:
        """Make one picture larger, and answer with it. Who hangs up cancels."""
        job = await accept(request, watched=False)
        try:
            await _end_of(job, request)
            if job.problem is not None:
                raise job.problem
            if job.state != State.DONE:
                raise Problem(503, "cancelled", "this server is being stopped", retry_after=30)
        except BaseException:
            service.remove(job)
            raise
        return _file(job, BackgroundTask(service.remove, job), attachment=True)

    @router.post("/v1/jobs", status_code=202, openapi_extra=_BODY, responses=_PROBLEMS)
    async def create_job(request: Request, response: Response, parameters: Query_) -> JobView:
        """Take a picture or video, and answer at once: look at the job for how far it is."""
        job = await accept(request, watched=True)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return show(job)

    @router.get("/v1/jobs/{id}", responses=_PROBLEMS)
    async def get_job(id: str) -> JobView:
        """Say how far a job is."""
        return show(find(id))

    @router.get(
        "/v1/jobs/{id}/events", response_class=StreamingResponse, responses={
            200: {"description": "Events `job` and `tile`.", "content": {"text/event-stream": {}}}, **_PROBLEMS,
        },
    )  # fmt: skip
    async def get_events(id: str) -> StreamingResponse:
        """Send the job after each change, and each tile of the result as it comes; ends when the job is over."""
        job = find(id)
        return StreamingResponse(
            _events(job, lambda: show(job).model_dump_json()),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    @router.get(
        "/v1/jobs/{id}/result", response_class=FileResponse, responses={
            200: {"description": "The file.", "content": {"*/*": {"schema": _BINARY}}}, **_PROBLEMS,
        },
    )  # fmt: skip
    async def get_result(id: str, inline: bool = False) -> Response:
        """Send the result's file; it stays until the job is deleted or its time is over."""
        return _file(finished(id), None, attachment=not inline)

    @router.get(
        "/v1/jobs/{id}/view", response_class=FileResponse, responses={
            200: {"description": "A picture.", "content": {"image/*": {"schema": _BINARY}}}, **_PROBLEMS,
        },
    )  # fmt: skip
    async def get_view(id: str, of: Of = "result") -> Response:
        """Send the result, the source or bicubic's result as a browser shows it: 8 bits, sRGB, lossless."""
        job = find(id) if of != "result" else finished(id)
        if job.subject.kind != "picture":
            raise Problem(409, "video", "views are of pictures")
        most = service.limits.pixels
        async with views:
            try:
                path, media_type = await to_thread.run_sync(lambda: view_of(of, job.source, job.target, job.plan, most))
            except (SuperfineError, OSError) as error:
                raise problem_of(error, {str(job.source): job.name}) from None
        return FileResponse(path, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})

    @router.delete("/v1/jobs/{id}", status_code=204, responses=_PROBLEMS)
    async def delete_job(id: str) -> None:
        """Cancel a job within a tile, and forget it with its files."""
        await to_thread.run_sync(service.remove, find(id))

    @router.get(
        "/v1/archive", response_class=StreamingResponse, responses={
            200: {"description": "A ZIP.", "content": {"application/zip": {"schema": _BINARY}}}, **_PROBLEMS,
        },
    )  # fmt: skip
    async def get_archive(id: Annotated[list[str], Query(min_length=1, max_length=2000)]) -> StreamingResponse:
        """Send the results of several jobs in one ZIP."""
        jobs = [finished(each) for each in dict.fromkeys(id)]
        headers = {"Content-Disposition": 'attachment; filename="superfine.zip"'}
        return StreamingResponse(_archive(jobs), media_type="application/zip", headers=headers)

    @router.get("/v1/models")
    async def get_models() -> list[ModelView]:
        """List the models; the first is taken where none is named."""
        return [
            ModelView(
                name=entry.name, title=entry.title, scales=list(entry.scales), parameters=entry.parameters,
                licence=entry.licence,
                psnr={str(s): p for s in entry.scales if (p := entry.psnr("Set5", s, "standard")) is not None},
            )
            for entry in list_models()
        ]  # fmt: skip

    @router.get("/healthz")
    async def get_health() -> Health:
        """Say that the server is alive."""
        running = len(service.workers.running)
        return Health(status="ok", version=__version__, waiting=len(service.queue), running=running)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def get_metrics() -> Response:
        """Send what was counted, for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    return router


@asynccontextmanager
async def _listening(job: Job) -> AsyncIterator[asyncio.Event]:
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


async def _end_of(job: Job, request: Request) -> None:
    """Wait until a job is over. Raises Problem when the client has hung up."""
    async with _listening(job) as changed:
        while not job.is_over:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 0.5)
            changed.clear()
            if await request.is_disconnected():
                raise Problem(400, "disconnected", "the client has hung up")


async def _events(job: Job, show: Any) -> AsyncGenerator[str]:
    """Yield server-sent events until the job is over."""
    sent = 0
    async with _listening(job) as changed:
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


def _file(job: Job, background: BackgroundTask | None, *, attachment: bool) -> FileResponse:
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


def _archive(jobs: list[Job]) -> Iterator[bytes]:
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
