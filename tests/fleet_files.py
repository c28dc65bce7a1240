"""Servers for the fleet's tests, on this machine: an S3 store, and Ray's own cluster of several nodes."""

from __future__ import annotations

import importlib.util
import logging
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from superfine.upscaling import Upscaler
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target

NEEDED = ("ray", "pyarrow", "s3fs", "moto")
HERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the loopback interface
    "AWS_ACCESS_KEY_ID": "me",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def skip_without_fleet() -> None:
    """Skip a whole file where the extra is not installed. Nothing is imported: Ray reads its variables only once."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}", allow_module_level=True)


@contextmanager
def s3_server() -> Iterator[str]:
    """A real S3 server; the variables of this process and of all it starts lead there. Yields its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    before = dict(os.environ)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ.update(HERE, AWS_ENDPOINT_URL=f"http://{host}:{port}")
    try:
        yield os.environ["AWS_ENDPOINT_URL"]
    finally:
        server.stop()
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def keys_are_checked(server: str) -> Iterator[None]:
    """Have the server refuse keys it has not given out, and those here are such."""

    def free_requests(count: int) -> None:
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{server}/moto-api/reset-auth", str(count).encode(), headers)
        urllib.request.urlopen(request).close()

    free_requests(0)
    try:
        yield
    finally:
        free_requests(10**9)


@contextmanager
def ray_cluster(nodes: int = 2) -> Iterator[Any]:
    """Ray's own cluster for tests: each node has processes of its own and one core."""
    os.environ.update(HERE)
    from ray.cluster_utils import Cluster

    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "no_monitor": True, "include_log_monitor": False})
    for _ in range(nodes - 1):
        cluster.add_node(**small)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def write_picture(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
    """Noise, width x height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def run_nearest(source: object, output: str, upscaler: Upscaler | None = None, **more: Any) -> Any:
    """Run the fleet in this process, which is connected, at x2 by the engine without weights."""
    from superfine.fleet.run import run_fleet
    from superfine.fleet.store import Store
    from superfine.fleet.tasks import find_tasks

    store = Store(output)
    tasks, complaints = find_tasks(str(source), store, format=more.pop("format", None))
    assert complaints == []
    settings = Settings(overwrite=more.pop("overwrite", False))
    upscaler = upscaler or Upscaler(engine="nearest")
    return run_fleet(tasks, store, upscaler, Target(scale=Fraction(2)), settings, {"scale": "2"}, **more)
