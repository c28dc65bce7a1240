"""What every request passes first: whose page sent it, who asks, how often; and the headers of every answer."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from superfine.web.limits import RateLimiter, client_of
from superfine.web.metrics import Metrics
from superfine.web.problems import Problem

COOKIE = "superfine"
OPEN_PATHS = ("/healthz", "/style.css", "/icon.svg")
"""Need no token: a health check, and what the page that asks for the token looks like."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer."""


class Guard:
    """Refuses requests from foreign pages, without the token, or too many of them, before their body is read.

    Args:
        hosts: names by which this server may be called; None: any. A page of another site that had its name point
            here (DNS rebinding) is recognised by it.
        token: what clients must know; None: nothing.
        rate: limit of requests that start work; None: no limit.
    """

    def __init__(
        self, app: ASGIApp, hosts: frozenset[str] | None, token: str | None, rate: RateLimiter | None, metrics: Metrics
    ) -> None:
        self.app, self.hosts, self.token, self.rate, self.metrics = app, hosts, token, rate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                route = getattr(scope.get("route"), "path", "other")
                self.metrics.requests.labels(route, message["status"]).inc()
            await send(message)

        try:
            entry = self._check(scope)
        except Problem as problem:
            if problem.status == 401 and "text/html" in Headers(scope=scope).get("accept", ""):
                scope = {**scope, "path": "/login", "raw_path": b"/login", "method": "GET"}
                await self.app(scope, receive, answer)
                return
            await problem.response()(scope, receive, answer)
            return
        await (entry or self.app)(scope, receive, answer)

    def _check(self, scope: Scope) -> ASGIApp | None:
        """Return None to let a request in, or the answer that turns a token in the address into a cookie."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if self.hosts is not None and host.rsplit(":", 1)[0] not in self.hosts:
            raise Problem(403, "host", f"this server is not called {host[:80]!r}: name it with --allow-host")
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host
        if foreign or (headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in ("GET", "HEAD")):
            raise Problem(403, "origin", "the page of another site may not use this server")
        if self.token is not None and scope["path"] not in OPEN_PATHS:
            entry = self._check_token(scope, headers, self.token)
            if entry is not None:
                return entry
        if self.rate is not None and scope["method"] == "POST":
            wait = self.rate.take(client_of(scope["client"][0] if scope.get("client") else ""))
            if wait:
                text = f"more than {self.rate.rate} requests in a minute: wait {wait} seconds"
                raise Problem(429, "rate", text, retry_after=wait)
        return None

    def _check_token(self, scope: Scope, headers: Headers, token: str) -> ASGIApp | None:
        """Raise Problem without the token in a header or cookie; take one in the page's address."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), token):
            return None
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            found = None
        if found is not None and _same(found.value, token):
            return None
        named = parse_qs(scope["query_string"].decode("latin-1")).get("token", []) if scope["path"] == "/" else []
        if named and _same(named[0], token):
            response = RedirectResponse("/", 303)
            secure = scope["scheme"] == "https"
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)
            return response
        raise Problem(401, "token", "this server wants its token, as 'Authorization: Bearer TOKEN'")


def _same(given: str, token: str) -> bool:
    """Compare in a time that says nothing of the token."""
    return hmac.compare_digest(given.encode(), token.encode())
