"""Put the interface and the page together, and serve them."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.resources import files

import uvicorn
from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from superfine.errors import EngineError
from superfine.version import __version__
from superfine.web.api import router
from superfine.web.guard import Guard
from superfine.web.limits import RateLimiter
from superfine.web.parameters import Parameters
from superfine.web.problems import Problem, parameter_problem
from superfine.web.service import Service

_log = logging.getLogger("superfine.web")

LOOPBACK = ("127.0.0.1", "localhost", "::1")

PAGE = {
    "/": ("index.html", "text/html"),
    "/login": ("login.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/app.js": ("app.js", "text/javascript"),
    "/items.js": ("items.js", "text/javascript"),
    "/viewer.js": ("viewer.js", "text/javascript"),
    "/gestures.js": ("gestures.js", "text/javascript"),
    "/words.js": ("words.js", "text/javascript"),
}
"""Path → file of the page, and its media type. Nothing else is served from the disk but results."""


def create_app(service: Service, *, hosts: frozenset[str] | None = None, token: str | None = None) -> ASGIApp:
    """Make the application of a service.

    Args:
        hosts: names by which this server may be called; None: any.
        token: what clients must know; None: nothing.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.views, app.state.examining = CapacityLimiter(1), CapacityLimiter(2)
        service.start()
        try:
            yield
        finally:
            service.close()

    # Neither of FastAPI's own pages: they load their scripts from elsewhere.
    app = FastAPI(
        title="superfine", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan,
        description="Fast, exact single-image super-resolution. Every refusal is a problem as RFC 9457 has it.",
    )  # fmt: skip
    app.state.service = service
    app.include_router(router)
    for path, (name, media_type) in PAGE.items():
        app.add_api_route(path, _page(name, media_type), methods=["GET"], include_in_schema=False)

    @app.exception_handler(Problem)
    async def refuse(_: Request, problem: Problem) -> Response:
        return problem.response()

    @app.exception_handler(OSError)
    async def refuse_storage(_: Request, error: OSError) -> Response:
        _log.error("a temporary file cannot be written or read: %s", error)
        return Problem(507, "storage", "this server cannot keep files now: try again later", retry_after=60).response()

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(_: Request, error: RequestValidationError) -> Response:
        return parameter_problem(list(error.errors()), list(Parameters.model_fields)).response()

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        code, text = "refused", str(error.detail)
        if error.status_code == 404:
            code, text = "no-page", f"there is nothing at {request.url.path[:200]}: see /openapi.json"
        elif error.status_code == 405:
            code, text = "method", f"{request.method} is not done here: see /openapi.json"
        response = Problem(error.status_code, code, text).response()
        response.headers.update(error.headers or {})
        return response

    rate = None if service.limits.rate is None else RateLimiter(service.limits.rate)
    return Guard(app, hosts, token, rate, service.metrics)


def _page(name: str, media_type: str) -> Callable[[Request], Response]:
    """Return a route that serves a file of the page from memory."""
    content = files("superfine.web").joinpath("page", name).read_bytes()
    etag = f'"{sha256(content).hexdigest()[:32]}"'

    def serve(request: Request) -> Response:
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return serve


def listen(host: str, port: int) -> socket.socket:
    """Open the socket to be served. Raises EngineError, in one line, where that is not possible."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EngineError(f"cannot serve on {host} port {port}: {reason}; choose another --port or --host") from None


def serve(app: ASGIApp, opened: socket.socket, proxy: str | None, ready: Callable[[], None]) -> None:
    """Serve until the process is told to stop.

    proxy: address of a reverse proxy that is believed about its clients' addresses; None: no one is.
    """
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=2,
        proxy_headers=proxy is not None, forwarded_allow_ips=proxy, lifespan="on",
    )  # fmt: skip

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    server = Server(config)
    # Requests that are cut off because the server is told to stop are no errors.
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    server.run(sockets=[opened])
