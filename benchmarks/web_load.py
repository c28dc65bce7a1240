"""Measure `superfine web` under load: 50 clients that send small pictures for two minutes, beside the batch command.

    python benchmarks/web_load.py [--seconds 120] [--clients 50] [--size 256] [--scale 2]

First `superfine upscale` does a folder of the same pictures; then the clients each send one picture after the other,
and come again when the server says so. Prints the rates of both, how long an answer took, and the server's memory
from the first quarter to the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from statistics import quantiles

import httpx2
import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description="The server's rate under load, beside the batch command's.")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--scale", type=int, default=2)
    options = parser.parse_args()
    pictures = [make_picture(options.size, seed) for seed in range(8)]
    batch = batch_rate(pictures, options.scale)
    print(f"batch command: {batch:.2f} pictures a second", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "superfine", "web", "--port", "0", "--no-open"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as server:
            assert server.stdout is not None
            address = server.stdout.readline().split()[2]
            try:
                load(address, server.pid, pictures, options, batch)
            finally:
                server.terminate()


def make_picture(size: int, seed: int) -> bytes:
    """Encode a picture with the spectrum of a photograph, about: noise in several sizes, one over the other."""
    generator = np.random.default_rng(seed)
    total = np.zeros((size, size, 3))
    for side in (4, 16, 64, size):
        noise = Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC), np.float64) * (16 / side) ** 0.5
    file = BytesIO()
    Image.fromarray((total / total.max() * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def batch_rate(pictures: list[bytes], scale: int) -> float:
    """Measure pictures a second of `superfine upscale`, its start left out: the difference of two runs."""
    few, many = 4, 20
    with tempfile.TemporaryDirectory() as place:
        spent = [run_batch(Path(place), pictures, count, scale) for count in (few, many)]
    return (many - few) / (spent[1] - spent[0])


def run_batch(place: Path, pictures: list[bytes], count: int, scale: int) -> float:
    """Time one run of the command over `count` pictures."""
    source = place / f"in-{count}"
    source.mkdir()
    for number in range(count):
        (source / f"{number:04}.png").write_bytes(pictures[number % len(pictures)])
    command = [sys.executable, "-m", "superfine", "upscale", str(source), "-o", str(place / f"out-{count}")]
    started = time.perf_counter()
    subprocess.run([*command, "-s", str(scale), "--quiet"], check=True)
    return time.perf_counter() - started


def load(address: str, pid: int, pictures: list[bytes], options: argparse.Namespace, batch: float) -> None:
    """Send pictures with all clients at once, and print what came of it."""
    found: Counter[int] = Counter()
    times: list[float] = []
    lock = threading.Lock()
    begun = time.monotonic()
    end = begun + options.seconds

    def client(number: int) -> None:
        with httpx2.Client(base_url=address, timeout=options.seconds + 60) as http:
            while time.monotonic() < end:
                body = pictures[number % len(pictures)]
                sent = time.monotonic()
                answer = http.post("/v1/upscale", params={"scale": options.scale, "name": "a.png"}, content=body)
                with lock:
                    found[answer.status_code] += 1
                    if answer.status_code == 200 and time.monotonic() < end:
                        times.append(time.monotonic() - sent)
                if answer.status_code != 200:
                    time.sleep(min(float(answer.headers.get("retry-after", "nan")), max(0.0, end - time.monotonic())))

    # Daemons: what is under way at the end does not count, and is not waited for.
    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(options.clients)]
    for thread in threads:
        thread.start()
    memory = {}
    for part in (0.25, 0.5, 0.75, 1.0):
        time.sleep(max(0.0, begun + options.seconds * part - time.monotonic()))
        memory[part] = resident(pid)
    with lock:
        answers, seconds = found.copy(), times.copy()
    rate = len(seconds) / options.seconds
    cuts = quantiles(seconds, n=20)
    print(f"server: {rate:.2f} pictures a second, {rate / batch:.0%} of the batch command's")
    print(f"answers: {dict(answers)}; of 200, half within {cuts[9]:.2f} s, p95 {cuts[18]:.2f} s")
    print("memory: " + ", ".join(f"{part:.0%} {size / 2**20:.0f} MiB" for part, size in memory.items()))


def resident(pid: int) -> int:
    """Read the bytes of memory a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    main()
