"""Hand out errands to the workers of a Ray cluster, and find out which one broke a worker.

Ray Data is not used: it would do a lost block again without saying which picture of it kills workers. The rule here: a
worker that dies takes the errands in its hands with it; each of those is tried once more, alone in a worker; one that
then dies again is set aside.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from superfine.errors import FleetError, SuperfineError
from superfine.fleet.orders import Errand, Hello, Orders, Report
from superfine.fleet.worker import Worker
from superfine.version import __version__

IN_HAND = 4
"""Errands of a worker at once: one is read, one computed, one written, and one waits or travels."""

_MOST_STILLBORN = 3
"""Workers in a row that may die before they can work."""
_PATIENCE = 120.0
"""Seconds without a single worker after which the cluster counts as too small."""


@dataclass(frozen=True)
class Share:
    """The part of its machine that a worker takes."""

    cores: int
    gpus: float


@dataclass(eq=False)
class _Member:
    """A worker as seen from here."""

    actor: Any
    host: str = ""
    place: int = -1
    """Which share of its machine it has."""
    hello: Hello | None = None
    in_hand: dict[Any, Errand] = field(default_factory=dict)
    alone: bool = False
    """It does a suspect, and nothing beside it."""


@dataclass(frozen=True)
class SetAside:
    """An errand whose worker died twice."""

    errand: Errand


class Crew:
    """The workers of one run.

    orders: for all of them. count: how many. share: what each takes of its machine. digest: of the weights that all
    must have.
    """

    def __init__(self, orders: Orders, count: int, share: Share, digest: str) -> None:
        self._remote = ray.remote(Worker)
        self._orders, self._count, self._share, self._digest = ray.put(orders), count, share, digest
        self._members: list[_Member] = []
        self._waiting: dict[Any, _Member] = {}
        self._places: dict[str, set[int]] = {}
        self._queue: deque[Errand] = deque()
        self._suspects: deque[Errand] = deque()
        self._suspected: set[Errand] = set()
        self._stillborn = 0
        self._empty_since: float | None = time.monotonic()
        self.deaths = 0
        """Workers lost so far."""
        self.engine = ""
        """What computes, in words."""

    def run(self, errands: Iterable[Errand]) -> Iterator[Report | SetAside]:
        """Have errands done; yield a report of each as it ends. `add` brings further ones meanwhile.

        Raises FleetError if no worker can start, or one is of another version.
        """
        more = iter(errands)
        exhausted = False
        while True:
            while not exhausted and len(self._queue) < IN_HAND * self._count:
                errand = next(more, None)
                exhausted = errand is None
                if errand is not None:
                    self._queue.append(errand)
            self._hire()
            self._hand_out()
            busy = any(member.in_hand for member in self._members)
            if not busy and not self._queue and not self._suspects:
                return
            yield from self._settle()

    def add(self, errands: Iterable[Errand]) -> None:
        """Queue further errands, before those that wait."""
        self._queue.extendleft(reversed(list(errands)))

    def drop(self, unwanted: Iterable[Errand]) -> None:
        """Forget errands that have not been handed out."""
        gone = set(unwanted)
        self._queue = deque(each for each in self._queue if each not in gone)
        self._suspects = deque(each for each in self._suspects if each not in gone)

    def close(self) -> None:
        """End all workers."""
        for member in self._members:
            ray.kill(member.actor)
        self._members.clear()

    def _hire(self) -> None:
        while len(self._members) < self._count:
            actor = self._remote.options(
                num_cpus=self._share.cores or 1, num_gpus=self._share.gpus, max_concurrency=IN_HAND + 1, max_restarts=0
            ).remote(self._orders)
            member = _Member(actor)
            self._members.append(member)
            self._waiting[actor.where.remote()] = member

    def _hand_out(self) -> None:
        for member in self._members:
            if member.hello is None or member.alone:
                continue
            if not member.in_hand and self._suspects:
                member.alone = True
                self._send(member, self._suspects.popleft())
        for depth in range(IN_HAND):  # one each before anyone has two
            for member in self._members:
                if member.hello is not None and not member.alone and len(member.in_hand) == depth and self._queue:
                    if self._suspects and not member.in_hand:
                        continue
                    self._send(member, self._queue.popleft())

    def _send(self, member: _Member, errand: Errand) -> None:
        member.in_hand[getattr(member.actor, errand.kind).remote(errand)] = errand

    def _settle(self) -> Iterator[Report | SetAside]:
        """Wait until something happens, and deal with it."""
        owners = {reference: member for member in self._members for reference in member.in_hand}
        ready, _ = ray.wait([*owners, *self._waiting], num_returns=1, timeout=1.0)
        for reference in ready:
            if reference in self._waiting:
                self._welcome(reference, self._waiting.pop(reference))
                continue
            member = owners[reference]
            if reference not in member.in_hand:  # its worker's death was noticed by another one
                continue
            try:
                report = ray.get(reference, timeout=10)
            except (RayActorError, GetTimeoutError):
                yield from self._bury(member)
                continue
            except RayTaskError as error:  # a fault of superfine; the rest is done all the same
                words = " ".join(str(error.cause).split())[:200]
                report = Report(member.in_hand[reference], f"{member.in_hand[reference].task.name}: {words}")
            except RayError as error:
                report = Report(member.in_hand[reference], str(error).splitlines()[0])
            errand = member.in_hand.pop(reference)
            self._suspected.discard(errand)
            member.alone = member.alone and bool(member.in_hand)
            yield report
        self._check_alive()

    def _welcome(self, reference: Any, member: _Member) -> None:
        """Give a new worker its share of its machine, or note that it is ready."""
        try:
            answer = ray.get(reference, timeout=10)
        except (RayActorError, GetTimeoutError) as error:
            self._stillborn += 1
            self._dismiss(member)
            if self._stillborn >= _MOST_STILLBORN:
                raise FleetError(
                    f"{_MOST_STILLBORN} workers in a row died as they started ({_short(error)}): "
                    "is there enough memory, and superfine[fleet] on every machine?"
                ) from None
            return
        except RayTaskError as error:
            if isinstance(error.cause, SuperfineError):
                raise error.cause from None
            raise FleetError(f"a worker cannot start: {_short(error.cause)}") from None
        if isinstance(answer, str):
            member.host = answer
            taken = self._places.setdefault(answer, set())
            member.place = next(number for number in range(len(taken) + 1) if number not in taken)
            taken.add(member.place)
            self._waiting[member.actor.open.remote(member.place)] = member
            return
        if (answer.version, answer.digest) != (__version__, self._digest):
            raise FleetError(
                f"{member.host} has superfine {answer.version} with other weights than here ({__version__}): results "
                "would differ; install the same on every machine"
            )
        self._stillborn, self._empty_since = 0, None
        member.hello, self.engine = answer, answer.engine

    def _bury(self, member: _Member) -> Iterator[SetAside]:
        """Replace a dead worker, and suspect what it had in its hands."""
        self.deaths += 1
        for errand in member.in_hand.values():
            if member.alone and errand in self._suspected:
                self._suspected.discard(errand)
                yield SetAside(errand)
            else:
                self._suspected.add(errand)
                self._suspects.append(errand)
        member.in_hand.clear()
        self._dismiss(member)

    def _dismiss(self, member: _Member) -> None:
        self._places.get(member.host, set()).discard(member.place)
        self._members.remove(member)
        ray.kill(member.actor)

    def _check_alive(self) -> None:
        """Raise FleetError if there has been no worker for too long."""
        if any(member.hello is not None for member in self._members):
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = time.monotonic()
        elif time.monotonic() - self._empty_since > _PATIENCE:
            raise FleetError(
                f"no worker could start in {_PATIENCE:.0f} s: the cluster has no room for {self._share.cores} cores "
                f"and {self._share.gpus:g} GPUs; see `ray status`, or pass a smaller --cores"
            )


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
