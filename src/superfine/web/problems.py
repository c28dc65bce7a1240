"""Refusals as RFC 9457 problems: what came, what was wanted, what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from superfine.errors import EngineError, ImageError, ModelError, PlanError, SuperfineError, VideoError

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal with a status, a code for programs and a line for people.

    Args:
        status: HTTP status, 400 and above.
        code: a short word that does not change, such as "too-large".
        detail: one line.
        retry_after: whole seconds after which another try makes sense.
    """

    def __init__(self, status: int, code: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.retry_after = status, code, detail, retry_after

    def fields(self) -> dict[str, Any]:
        """Return the members of the JSON object."""
        title = HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, "code": self.code}

    def response(self) -> JSONResponse:
        """Return the answer that carries the problem."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.fields(), self.status, headers, media_type=MEDIA_TYPE)


_OPTION_HINT = re.compile(r"; raise (?:it|the limit) with --max-pixels")


def plain(text: str, names: Mapping[str, str]) -> str:
    """Say an error of the library in words for a client: paths become names, options of the command line parameters."""
    for path, name in names.items():
        text = text.replace(path, name)
    text = _OPTION_HINT.sub("", text).replace("--no-deinterlace", "deinterlace=false")
    return " ".join(re.sub(r"--(?=[a-z])", "", text).split())


def problem_of(error: BaseException, names: Mapping[str, str]) -> Problem:
    """Turn an error into a problem. names: path on this machine → the name that the client knows."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, MemoryError) or (isinstance(error, EngineError) and "memory" in str(error)):
        return Problem(503, "no-memory", "not enough memory for this now: take a smaller size", retry_after=60)
    if not isinstance(error, SuperfineError):
        return Problem(500, "failed", "this server made a mistake; its log says more")
    text = plain(str(error), names)
    codes: dict[type[SuperfineError], str] = {
        VideoError: "video", ImageError: "picture", ModelError: "model", PlanError: "size", EngineError: "engine",
    }  # fmt: skip
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), "refused")
    return Problem(413 if "over the limit of" in text else 422, code, text)


def parameter_problem(errors: list[Any], known: list[str]) -> Problem:
    """Turn pydantic's list of errors into one problem. known: the names of all parameters."""
    lines = []
    for error in errors:
        name = ".".join(str(part) for part in error["loc"] if part not in ("query", "body")) or "parameters"
        if error["type"] == "extra_forbidden":
            near = get_close_matches(name, known, n=1)
            lines.append(f"there is no parameter {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        else:
            message = error["msg"][:1].lower() + error["msg"][1:]
            lines.append(f"{name} {str(error.get('input'))[:80]!r}: {message}")
    return Problem(422, "parameter", "; ".join(lines))
