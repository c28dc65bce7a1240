"""`superfine web`: serves the page and the HTTP interface."""

from __future__ import annotations

import sys
import webbrowser
from typing import Annotated

import typer

from superfine.cli import options as shared
from superfine.cli.messages import complain

LIMITS, ACCESS = "Limits", "Access"


def web(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="0 takes a free one.", min=0, max=65535)] = 7860,
    open_page: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page in a browser.", show_default="open on a terminal"),
    ] = None,
    token: Annotated[
        str | None, shared.option(ACCESS, "--token", "TEXT", "What clients must know.", envvar="SUPERFINE_TOKEN")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        shared.option(ACCESS, "--allow-host", "NAME", "A name by which clients call this server; several times."),
    ] = None,
    proxy: Annotated[
        str | None, shared.option(ACCESS, "--proxy", "ADDRESS", "A reverse proxy that tells its clients' addresses.")
    ] = None,
    rate: Annotated[
        int | None, shared.option(LIMITS, "--rate", "N", "Pictures a client may send in a minute.", min=1)
    ] = None,
    max_upload: Annotated[str, shared.option(LIMITS, "--max-upload", "SIZE", "Of a file.")] = "512MiB",
    max_pixels: Annotated[
        int, shared.option(LIMITS, "--max-pixels", "N", "Of a source and of a result.", min=1)
    ] = 400_000_000,
    max_seconds: Annotated[int, shared.option(LIMITS, "--max-seconds", "N", "A job may take.", min=1)] = 3600,
    max_waiting: Annotated[int, shared.option(LIMITS, "--max-waiting", "N", "Jobs in the queue.", min=1)] = 128,
    keep: Annotated[int, shared.option(LIMITS, "--keep", "MINUTES", "Results stay for so long.", min=1)] = 60,
    max_disk: Annotated[str, shared.option(LIMITS, "--max-disk", "SIZE", "Of all temporary files.")] = "16GiB",
    memory: shared.Memory = None,
    device: shared.Device = "auto",
    engine: shared.Engine = "auto",
    precision: shared.Precision = "auto",
    tile: shared.Tile = None,
) -> int:
    """Serve a page for the browser, and an HTTP interface.

    - superfine web
    - superfine web --host 0.0.0.0 --token SECRET

    Only this machine can reach it unless --host says otherwise. Nothing is sent anywhere, and temporary files go when
    they are used, when the server stops, and after a crash when it starts again.
    """
    from superfine.cli.quiet import hush_codecs
    from superfine.upscaling.memory import parse_memory
    from superfine.web.limits import Limits
    from superfine.web.server import LOOPBACK, create_app, listen, serve
    from superfine.web.service import Service

    hush_codecs()
    limits = Limits(
        upload=parse_memory(max_upload), pixels=max_pixels, seconds=float(max_seconds), waiting=max_waiting,
        waiting_each=max(1, max_waiting // 2), keep=60.0 * keep, disk=parse_memory(max_disk),
        memory=None if memory is None else parse_memory(memory), rate=rate,
    )  # fmt: skip
    private, token = host in LOOPBACK, token or None  # an empty variable of the environment is none
    opened = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{opened.getsockname()[1]}/"
    service = Service(limits, {"device": device, "engine": engine, "precision": precision, "tile": tile})
    hosts = frozenset([*LOOPBACK, "[::1]", *(allow_host or [])]) if private or allow_host else None
    if open_page is None:
        open_page = sys.stdout.isatty() and private

    def say() -> None:
        print(f"superfine web: {address} (Ctrl-C ends it)", flush=True)
        if not private:
            whoever = "with the token" if token else "without a token"
            complain(f"{host} can be reached from other machines, {whoever}")
        if open_page:
            webbrowser.open(address + (f"?token={token}" if token else ""))

    try:
        serve(create_app(service, hosts=hosts, token=token), opened, proxy, say)
    except KeyboardInterrupt:
        print("stopped; all temporary files are gone")
    return 0
