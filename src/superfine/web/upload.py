"""Receive a request's body into a file: raw, or the one file of a form, within the limits of bytes and time."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from superfine.web.limits import Limits
from superfine.web.problems import Problem

_MOST_FIELDS = 40
_FIELD_BYTES = 4096
_FLUSH = 1 << 20
"""Bytes that are collected before they are written: a thread is asked for each write."""


@dataclass
class Upload:
    """The parts of a body beside the file."""

    name: str | None = None
    fields: dict[str, str] = field(default_factory=dict)


class Receiver:
    """Takes bodies, a bounded number at once."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.receiving = 0

    async def receive(self, request: Request, path: Path) -> Upload:
        """Write the picture of a request's body to `path`.

        Raises Problem: too many at once (503), too many bytes (413), too slow (408), or no form (400).
        """
        limits = self._limits
        if self.receiving >= limits.uploads:
            raise Problem(503, "busy", f"{limits.uploads} uploads are under way: try again in a moment", retry_after=2)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and len(declared) < 20 and int(declared) > limits.upload:
            raise self._too_many(f"{int(declared):,} bytes")
        self.receiving += 1
        try:
            async with asyncio.timeout(limits.upload_seconds):
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if kind == "multipart/form-data":
                    return await self._receive_form(request, path)
                # Whatever else it is called: curl --data-binary sends pictures as application/x-www-form-urlencoded.
                await self._receive_raw(request, path)
                return Upload()
        except TimeoutError:
            text = f"the body did not arrive within {limits.upload_seconds:g} seconds"
            raise Problem(408, "too-slow", text) from None
        except ClientDisconnect:
            raise Problem(400, "disconnected", "the body broke off") from None
        finally:
            self.receiving -= 1

    def _too_many(self, what: str) -> Problem:
        limit = f"{self._limits.upload:,} bytes"
        return Problem(413, "too-many-bytes", f"{what} came, and {limit} is this server's limit: send a smaller file")

    async def _stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield the body's pieces; raise Problem when there are too many bytes."""
        count = 0
        async for piece in request.stream():
            count += len(piece)
            if count > self._limits.upload:
                raise self._too_many("more")
            yield piece

    async def _receive_raw(self, request: Request, path: Path) -> None:
        held = bytearray()
        with path.open("wb") as file:
            async for piece in self._stream(request):
                held += piece
                if len(held) >= _FLUSH:
                    await to_thread.run_sync(file.write, bytes(held))
                    held.clear()
            file.write(held)

    async def _receive_form(self, request: Request, path: Path) -> Upload:
        # Files wait in temporary files without a name, which the system removes whatever happens to this process.
        parser = MultiPartParser(
            request.headers, self._stream(request), max_files=1, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES
        )
        try:
            form = await parser.parse()
        except (MultiPartException, ValueError, AssertionError) as error:
            message = getattr(error, "message", "") or "it is not well-formed"
            raise Problem(400, "form", f"this form cannot be read: {message.rstrip('.').lower()}") from None
        try:
            found = Upload()
            picture: UploadFile | None = None
            for key, value in form.multi_items():
                if isinstance(value, UploadFile):
                    if key != "file":
                        raise Problem(400, "form", f"the form's field {key[:80]!r} holds a file: call it 'file'")
                    picture, found.name = value, value.filename
                elif key in found.fields:
                    raise Problem(400, "form", f"the form has two fields {key[:80]!r}")
                else:
                    found.fields[key] = value
            if picture is not None:
                with path.open("wb") as file:
                    await to_thread.run_sync(shutil.copyfileobj, picture.file, file, _FLUSH)
            elif "again" not in found.fields:
                raise Problem(400, "form", "the form has no file: send the picture in its field 'file'")
            return found
        finally:
            await form.close()
