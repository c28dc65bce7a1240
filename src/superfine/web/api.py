"""The routes of the HTTP interface. What they do is in service.py, what they answer with in answers.py."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask

from superfine.errors import SuperfineError
from superfine.version import __version__
from superfine.web.answers import archive_of, end_of, events, result_file
from superfine.web.jobs import Job, State
from superfine.web.limits import client_of
from superfine.web.metrics import CONTENT_TYPE
from superfine.web.parameters import (
    Health,
    JobView,
    LimitsView,
    ModelView,
    Parameters,
    ProblemView,
    list_model_views,
    read_parameters,
)
from superfine.web.problems import MEDIA_TYPE, Problem, problem_of
from superfine.web.service import Service
from superfine.web.views import Of, view_of

_BINARY = {"type": "string", "format": "binary"}
_REFUSED = {"content": {MEDIA_TYPE: {"schema": ProblemView.model_json_schema()}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused.", **_REFUSED}, "503": {"description": "Busy.", **_REFUSED},
}  # fmt: skip
_FORM = {"type": "object", "properties": {"file": _BINARY, **Parameters.model_json_schema()["properties"]}}
_BODY = {
    "requestBody": {
        "description": "The picture: the body itself, or the field `file` of a form.",
        "content": {"multipart/form-data": {"schema": _FORM}, "application/octet-stream": {"schema": _BINARY}},
    }
}


def _sends(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that is a file, for OpenAPI."""
    return {200: {"description": description, "content": {media_type: {"schema": _BINARY}}}, **_PROBLEMS}


router = APIRouter()


def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Given = Annotated[Service, Depends(_service)]


def _unknown_job() -> Problem:
    return Problem(404, "no-job", "there is no such job; finished ones are kept for a while only")


def _find(service: Service, id: str) -> Job:
    """Return a job that is known. Raises Problem."""
    job = service.jobs.get(id)
    if job is None:
        raise _unknown_job()
    return job


def _finished(service: Service, id: str) -> Job:
    """Return a job whose result is there. Raises Problem."""
    job = _find(service, id)
    if job.problem is not None:
        raise job.problem
    if job.state != State.DONE:
        raise Problem(409, "not-done", f"this job is {job.state}: its result is not there")
    return job


def _show(service: Service, job: Job) -> JobView:
    return JobView.of(job, service.queue.ahead(job))


async def _accept(request: Request, service: Service, *, watched: bool) -> Job:
    """Receive a picture and queue its job. Raises Problem."""
    client = client_of(request.client.host if request.client else "")
    service.check(client)
    folder = await to_thread.run_sync(service.storage.new_folder)
    try:
        upload = folder / "upload"
        received = await service.receiver.receive(request, upload)
        parameters = read_parameters(dict(request.query_params), received.fields)
        name = parameters.name or received.name
        if parameters.again is not None:
            earlier = _find(service, parameters.again)
            name = name or earlier.name
            try:
                await to_thread.run_sync(shutil.copyfile, earlier.source, upload)
            except FileNotFoundError:  # it was removed meanwhile
                raise _unknown_job() from None
        named = parameters.model_copy(update={"name": name})
        order = partial(service.order, named, client, folder, upload, watched=watched)
        return await to_thread.run_sync(order, limiter=request.app.state.examining)  # some are unpacked for their size
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@router.post("/v1/upscale", response_class=Response, openapi_extra=_BODY, responses=_sends("image/*", "The picture."))
async def upscale(request: Request, service: Given, parameters: Annotated[Parameters, Query()]) -> Response:
    """Make one picture larger, and answer with it. Who hangs up cancels."""
    job = await _accept(request, service, watched=False)
    try:
        await end_of(job, request)
        if job.problem is not None:
            raise job.problem
        if job.state != State.DONE:
            raise Problem(503, "cancelled", "this server is being stopped", retry_after=30)
    except BaseException:
        service.remove(job)
        raise
    return result_file(job, BackgroundTask(service.remove, job), attachment=True)


@router.post("/v1/jobs", status_code=202, openapi_extra=_BODY, responses=_PROBLEMS)
async def create_job(
    request: Request, response: Response, service: Given, parameters: Annotated[Parameters, Query()]
) -> JobView:
    """Take a picture or video, and answer at once: look at the job for how far it is."""
    job = await _accept(request, service, watched=True)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return _show(service, job)


@router.get("/v1/jobs/{id}", responses=_PROBLEMS)
async def get_job(service: Given, id: str) -> JobView:
    """Say how far a job is."""
    return _show(service, _find(service, id))


@router.get(
    "/v1/jobs/{id}/events", response_class=StreamingResponse, responses={
        200: {"description": "Events `job` and `tile`.", "content": {"text/event-stream": {}}}, **_PROBLEMS,
    },
)  # fmt: skip
async def get_events(service: Given, id: str) -> StreamingResponse:
    """Send the job after each change, and each tile of the result as it comes; ends when the job is over."""
    job = _find(service, id)
    return StreamingResponse(
        events(job, lambda: _show(service, job).model_dump_json()),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


@router.get("/v1/jobs/{id}/result", response_class=FileResponse, responses=_sends("*/*", "The file."))
async def get_result(service: Given, id: str, inline: bool = False) -> Response:
    """Send the result's file; it stays until the job is deleted or its time is over."""
    return result_file(_finished(service, id), None, attachment=not inline)


@router.get("/v1/jobs/{id}/view", response_class=FileResponse, responses=_sends("image/*", "A picture."))
async def get_view(request: Request, service: Given, id: str, of: Of = "result") -> Response:
    """Send the result, the source or bicubic's result as a browser shows it: 8 bits, sRGB, lossless."""
    job = _find(service, id) if of != "result" else _finished(service, id)
    if job.subject.kind != "picture":
        raise Problem(409, "video", "views are of pictures")
    work = partial(view_of, of, job.source, job.target, job.plan, service.limits.pixels)
    try:  # one at a time: each holds whole pictures
        path, media_type = await to_thread.run_sync(work, limiter=request.app.state.views)
    except (SuperfineError, OSError) as error:
        raise problem_of(error, {str(job.source): job.name}) from None
    return FileResponse(path, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})


@router.delete("/v1/jobs/{id}", status_code=204, responses=_PROBLEMS)
async def delete_job(service: Given, id: str) -> None:
    """Cancel a job within a tile, and forget it with its files."""
    await to_thread.run_sync(service.remove, _find(service, id))


@router.get("/v1/archive", response_class=StreamingResponse, responses=_sends("application/zip", "A ZIP."))
async def get_archive(
    service: Given, id: Annotated[list[str], Query(min_length=1, max_length=2000)]
) -> StreamingResponse:
    """Send the results of several jobs in one ZIP."""
    jobs = [_finished(service, each) for each in dict.fromkeys(id)]
    headers = {"Content-Disposition": 'attachment; filename="superfine.zip"'}
    return StreamingResponse(archive_of(jobs), media_type="application/zip", headers=headers)


@router.get("/v1/models")
async def get_models() -> list[ModelView]:
    """List the models; the first is taken where none is named."""
    return list_model_views()


@router.get("/v1/limits")
async def get_limits(service: Given) -> LimitsView:
    """Say how large files, pictures and results may be."""
    return LimitsView(upload=service.limits.upload, pixels=service.limits.pixels)


@router.get("/healthz")
async def get_health(service: Given) -> Health:
    """Say that the server is alive."""
    running = len(service.workers.running)
    return Health(status="ok", version=__version__, waiting=len(service.queue), running=running)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def get_metrics(service: Given) -> Response:
    """Send what was counted, for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
