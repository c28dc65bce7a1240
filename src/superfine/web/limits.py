"""Bounds of what a client may ask of this machine, and a limit on how often."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from time import monotonic

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of a server; `superfine web --help` names the options that set them."""

    upload: int = 512 * MIB
    """Bytes of a request's body."""
    upload_seconds: float = 120.0
    """Seconds in which a body has to arrive."""
    uploads: int = 64
    """Bodies that arrive at once."""
    pixels: int = 400_000_000
    """Pixels of a source and of a result, all frames together; of a video, those of one frame."""
    seconds: float = 3600.0
    """Seconds a job may run."""
    waiting: int = 128
    """Jobs that wait, of all clients."""
    waiting_each: int = 64
    """Jobs that wait, of one client."""
    keep: float = 3600.0
    """Seconds that a finished job and its files are kept."""
    disk: int = 16 * 1024 * MIB
    """Bytes of all temporary files; beyond that the oldest finished jobs go first."""
    memory: int | None = None
    """Bytes that the process keeps below, as `superfine upscale --memory` plans it; None: no limit."""
    rate: int | None = None
    """Requests that start work, for one client in a minute; None: no limit."""


def client_of(address: str) -> str:
    """Return the client that an address stands for: an IPv6 network of 64 bits is one client."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


class RateLimiter:
    """A bucket of tokens for each client, which fills at a steady rate.

    Args:
        rate: tokens a minute, and the most that a bucket holds.
    """

    CLIENTS = 10_000
    """Buckets that are remembered; the ones longest unused go first."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float | None = None) -> int:
        """Take a token and return 0, or return the whole seconds to wait until there is one."""
        now = monotonic() if now is None else now
        tokens, when = self._buckets.pop(client, (float(self.rate), now))
        tokens = min(float(self.rate), tokens + (now - when) * self.rate / 60)
        wait = 0 if tokens >= 1 else max(1, ceil((1 - tokens) * 60 / self.rate))
        self._buckets[client] = (tokens if wait else tokens - 1, now)
        while len(self._buckets) > self.CLIENTS:
            self._buckets.popitem(last=False)
        return wait
