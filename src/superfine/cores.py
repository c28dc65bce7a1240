"""Count the cores this process may use, and spread work over them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from superfine.errors import DataError

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_ITEMS_HERE = 12
"""Up to so many items are done in this process: starting others would take longer."""


def cores() -> int:
    """Count the cores this process may use: the affinity mask, not the machine, decides."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None) -> Iterator[Result]:
    """Yield `function(item)` of every item, in order, computed in `workers` processes (None: one a core).

    They are never more than a few results ahead of the reader: a decoded picture is large, and a folder holds
    thousands. Raises DataError if a process dies, and whatever `function` raises.
    """
    workers = workers or cores()
    if workers == 1 or len(items) <= MAX_ITEMS_HERE:
        yield from map(function, items)
        return
    # Imported here, because whoever only counts cores must not wait for these.
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Spawned, not forked: the parent may hold PyTorch's threads, which do not survive a fork.
    with ProcessPoolExecutor(min(workers, len(items)), mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError("a process that decodes pictures died, most likely for lack of memory") from error
        finally:
            for future in waiting:
                future.cancel()
