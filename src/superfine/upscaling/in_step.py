"""Run some items through a stream and let others pass by, all in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")

PASSING = 64
"""Keys without an item that may wait beside a stream that runs ahead."""


def in_step(
    items: Iterable[tuple[Key, Item | None]], stream: Callable[[Iterator[Item]], Iterator[Result]], passing: int
) -> Generator[tuple[Key, Result | None]]:
    """Yield (key, result) for every (key, item), in order; a key without an item has no result.

    stream: gives a result for each item, in order, and may take items ahead. passing: so many keys without an item may
    wait for the results before them; more end the stream, and another is begun behind them. With 0 a key without an
    item comes before the next item is taken.
    """
    source = iter(items)
    waiting: deque[tuple[Key, bool]] = deque()
    idle, over = 0, False

    def given() -> Iterator[Item]:
        nonlocal idle, over
        while idle <= passing:
            entry = next(source, None)
            if entry is None:
                over = True
                return
            key, item = entry
            waiting.append((key, item is None))
            if item is None:
                idle += 1
            else:
                yield item

    while not over:
        for result in stream(given()):
            while waiting[0][1]:
                yield waiting.popleft()[0], None
            yield waiting.popleft()[0], result
            idle = sum(without for _, without in waiting)
        while waiting:
            yield waiting.popleft()[0], None
        idle = 0
