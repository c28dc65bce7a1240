"""Start Ray on this machine, or join a cluster. Nothing in `superfine.fleet` may import ray before this has run.

Ray reports no usage, and on this machine alone it listens on the loopback interface only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator

from superfine.cores import cores
from superfine.errors import FleetError

_PATIENCE = 5.0
"""Seconds to wait for a cluster's port to answer."""
_LONGEST = 25
"""Letters of a folder for Ray's sockets, whose whole names may have 107."""
_OBJECTS = 80 * 2**20
"""Bytes of Ray's shared memory: pictures do not travel through it."""


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect this process to Ray while the block runs.

    address: None starts Ray on this machine, with all cores this process may use; "auto" joins the cluster that runs
    here; HOST:PORT or ray://HOST:PORT joins another one.

    Raises FleetError if there is none, or it lets nobody in.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "."  # its lines about dead workers: the fleet has its own
    folder = None
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's only switch for the loopback interface
        place = tempfile.gettempdir()
        folder = tempfile.mkdtemp(prefix="superfine-", dir=place if len(place) <= _LONGEST else "/tmp")
    else:
        _check_form(address)
    import ray

    if address is not None:
        _knock(address)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": False}
    try:
        if folder is not None:
            ray.init(
                address="local",
                num_cpus=cores(),
                include_dashboard=False,
                object_store_memory=_OBJECTS,
                _temp_dir=folder,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError and its own
        _remove(folder)
        words = " ".join(str(error).split())
        raise FleetError(f"cannot join the cluster at {address or 'this machine'}: {words[:200]}") from error
    try:
        yield
    finally:
        ray.shutdown()
        _remove(folder)


def _check_form(address: str) -> None:
    """Raise FleetError unless an address is one."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address != "auto" and not (host and port.isdigit() and int(port) < 65536):
        raise FleetError(f"{address!r} is no address of a cluster: want auto, HOST:PORT or ray://HOST:PORT")


def _knock(address: str) -> None:
    """Raise FleetError if nobody answers where Ray will look: Ray itself tries for minutes, and ends the process."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        place = address if "://" in address else canonicalize_bootstrap_address(address, None)
        host, _, port = str(place).removeprefix("ray://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except OSError as error:  # ConnectionError: there is none here
        raise FleetError(
            f"no cluster answers at {address} ({str(error).partition('. ')[0]}): start one with `ray start --head`, or "
            "leave out --address to work on this machine"
        ) from None


def _remove(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
