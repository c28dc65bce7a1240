"""A local stand-in of the Hugging Face Hub's HTTP: repositories made, files committed, listed and fetched.

It speaks the part of the protocol that huggingface_hub uses for models, and keeps files in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, body: bytes | object, status: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def missing(self, code: str) -> None:
        self.answer({"error": code}, 404, **{"X-Error-Code": code})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            fields = json.loads(body)
            name = f"{fields.get('organization') or 'someone'}/{fields['name']}"
            self.server.repos.setdefault(name, {})
            self.answer({"url": f"{self.server.url}/{name}", "id": name, "name": name})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            self.answer({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "/commit/" in path:
            repo = "/".join(path.split("/")[3:5])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.repos[repo][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"{self.server.url}/{repo}/commit/{COMMIT}"
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})
        else:
            self.missing("EntryNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            files = self.server.repos.get("/".join(parts[2:4]))
            if files is None:
                self.missing("RepoNotFound")
            elif "tree" in parts:
                self.answer([
                    {"type": "file", "path": name, "size": len(value), "oid": hashlib.sha1(value).hexdigest()}
                    for name, value in files.items()
                ])  # fmt: skip
            else:
                siblings = [{"rfilename": name} for name in files]
                self.answer({"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": siblings})
        elif "resolve" in parts:
            files = self.server.repos.get("/".join(parts[:2]))
            name = "/".join(parts[4:])
            if files is None or name not in files:
                self.missing("RepoNotFound" if files is None else "EntryNotFound")
            else:
                self.answer(files[name], ETag=f'"{hashlib.sha1(files[name]).hexdigest()}"')
        else:
            self.missing("EntryNotFound")


class HubServer(ThreadingHTTPServer):
    """The stand-in; `repos` is owner/name → file → content."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    """Run the stand-in on a free port of this machine."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
