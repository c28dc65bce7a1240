"""Send `superfine web` five hundred requests that nobody should send, and see that it only ever refuses.

    pip install schemathesis
    python benchmarks/web_hostile.py [--requests 500]

Requests are made by hand (forms cut anywhere, bodies that come byte by byte or never, headers that lie, bombs), then
by schemathesis out of the server's OpenAPI, wrong ones on purpose. Exit code 1 if an answer is a 5xx (but for 503,
which says when to come again), or if the server does not answer in the end.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path

import httpx2
from PIL import Image


def main() -> int:
    parser = argparse.ArgumentParser(description="Hostile requests.")
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "superfine", "web", "--port", "0", "--no-open", "--engine", "nearest"]
        environment = {**os.environ, "TMPDIR": folder}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
            assert server.stdout is not None
            address = server.stdout.readline().split()[2].rstrip("/")
            try:
                return attack(address, options.requests, Path(folder))
            finally:
                server.terminate()


def attack(address: str, count: int, folder: Path) -> int:
    """Run all parts; return the exit code."""
    answers: Counter[int] = Counter()
    host, port = address.removeprefix("http://").split(":")
    by_hand = [*forms(60), *bodies(), *lies()]
    for request in by_hand:
        answers[send(host, int(port), request)] += 1
    slow(host, int(port))
    failed = by_schema(address, count - len(by_hand))
    with httpx2.Client(base_url=address, timeout=30) as client:
        assert client.get("/healthz").status_code == 200
        text = client.get("/metrics").text
        good = client.post("/v1/upscale", params={"scale": 2}, content=png())
    served = Counter({int(s): 0 for s in re.findall(r'superfine_requests_total{.*?status="(\d+)"}', text)})
    for status, number in re.findall(r'superfine_requests_total{.*?status="(\d+)"} (\S+)', text):
        served[int(status)] += int(float(number))
    left = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    print(f"by hand: {dict(answers)}")
    print(f"all together, as the server counts: {dict(sorted(served.items()))}; {sum(served.values())} requests")
    print(f"a picture afterwards: {good.status_code}; files of finished jobs: {len(left)}")
    errors = sum(number for status, number in served.items() if status >= 500 and status != 503)
    return int(failed or errors or good.status_code != 200)


def png(side: int = 16) -> bytes:
    file = BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(file, "PNG")
    return file.getvalue()


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST /v1/upscale?scale=2 HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def forms(count: int) -> list[bytes]:
    """Forms cut off, doubled or changed anywhere."""
    chance = random.Random(5)
    whole = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../etc/passwd"\r\n\r\n'
        + png() + b'\r\n--b\r\nContent-Disposition: form-data; name="width"\r\n\r\n20\r\n--b--\r\n'
    )  # fmt: skip
    made = []
    for number in range(count):
        body = bytearray(whole)
        if number % 3 == 0:
            del body[chance.randrange(len(body)) :]
        elif number % 3 == 1:
            for _ in range(8):
                body[chance.randrange(len(body))] = chance.randrange(256)
        else:
            at = chance.randrange(len(body))
            body[at:at] = body[: chance.randrange(len(body))]
        kind = chance.choice(
            ["multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary="]
        )
        made.append(post(bytes(body), f"Content-Type: {kind}", f"Content-Length: {len(body)}"))
    fields = b"".join(b'--b\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n1\r\n' % n for n in range(5000))
    made.append(post(fields, "Content-Type: multipart/form-data; boundary=b", f"Content-Length: {len(fields)}"))
    return made


def bodies() -> list[bytes]:
    """Bombs and files that are cut or lie."""
    header = b"IHDR" + (50_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    data = zlib.compress(bytes(50_000_000), 9)
    packed = len(data).to_bytes(4, "big") + b"IDAT" + data + zlib.crc32(b"IDAT" + data).to_bytes(4, "big")
    bomb = b"\x89PNG\r\n\x1a\n" + chunk + packed
    good = png()
    text = b"zTXtkey\0\0" + zlib.compress(bytes(400_000_000), 9)
    texts = good[:33] + (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big") + good[33:]
    gif = BytesIO()
    frames = [Image.new("P", (500, 500), number) for number in range(200)]
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    found = [
        bomb,
        texts,
        good[:60],
        good[:-20],
        gif.getvalue()[:4000],
        b"\xff\xd8\xff\xe0" + bytes(5000),
        b"II*\0" + b"\xff" * 500,
    ]
    found += [b"\0\0\0\x18ftypisom" + os.urandom(3000), b"\x1a\x45\xdf\xa3webm" + os.urandom(3000), os.urandom(2000)]
    return [post(body, f"Content-Length: {len(body)}") for body in found]


def lies() -> list[bytes]:
    """Headers that lie, and requests that are none."""
    return [
        post(b"", "Content-Length: 99999999999999"), post(b"abc", "Content-Length: -1"),
        post(b"5\r\nhello\r\nzz\r\n", "Transfer-Encoding: chunked"), b"GET / HTTP/9.9\r\n\r\n", b"\0" * 500,
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        post(b"", "Content-Length: 0", "X-A: " + "b" * 60_000),
        post(b"", "Content-Length: 0", "Cookie: \"=;;=" + "x" * 100),
        b"GET /v1/jobs/%00%ff%2e%2e HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    ]  # fmt: skip


def send(host: str, port: int, request: bytes) -> int:
    """Send bytes and return the status of the answer; 0 if the server hung up without one."""
    try:
        with socket.create_connection((host, port), timeout=20) as connection:
            connection.sendall(request)
            answer = connection.recv(4096)
    except OSError:
        return 0
    found = re.match(rb"HTTP/1.1 (\d+)", answer)
    return int(found[1]) if found else 0


def slow(host: str, port: int) -> None:
    """Open two hundred connections that send a byte now and then, and see that others are still served."""
    open_ones = [socket.create_connection((host, port)) for _ in range(200)]
    for connection in open_ones:
        connection.sendall(post(b"", "Content-Length: 1000"))
    for _ in range(5):
        time.sleep(0.2)
        for connection in open_ones:
            try:
                connection.sendall(b"x")
            except OSError:
                continue
    assert httpx2.get(f"http://{host}:{port}/healthz", timeout=10).status_code == 200
    for connection in open_ones:
        connection.close()


def by_schema(address: str, count: int) -> bool:
    """Let schemathesis make requests; return True if one was answered with a server's error."""
    program = shutil.which("schemathesis") or shutil.which("st")
    if program is None:
        raise SystemExit("schemathesis is not installed: pip install schemathesis")
    operations = 13
    done = subprocess.run(
        [program, "run", f"{address}/openapi.json", "--checks", "not_a_server_error", "--max-examples",
         str(-(-count // operations)), "--phases", "fuzzing", "--mode", "all", "--request-timeout", "60"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print("\n".join(done.stdout.splitlines()[-25:]))
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
