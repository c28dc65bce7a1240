"""Run windows ahead of whoever takes their results: equal sizes as one batch, the next begun before the last ended.

Nothing here knows a device: a function that is given puts a batch under way there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any, Protocol

from superfine.engines.base import Window, is_out_of_memory


class Launched(Protocol):
    """A batch under way on a device."""

    def result(self) -> Window:
        """Wait for the batch; give the results, stacked. Raises what went wrong on the device."""
        ...


Launch = Callable[[Sequence[Window]], Launched]
"""Put windows of one type and shape under way, as one batch, without waiting for them."""


@dataclass(frozen=True)
class Finished:
    """A batch that is no longer under way: its results, or its error."""

    results: Window | None = None
    error: Exception | None = None

    def result(self) -> Window:
        if self.error is not None:
            raise self.error
        assert self.results is not None
        return self.results


_Batch = tuple[Sequence[Window], Launched]


class Ahead:
    """Batches of windows under way on one device.

    Batches are 1, 2, 4, 8 ... windows, so that a device that prepares itself for each shape meets few. Where memory
    does not suffice for a batch, it is run in halves, and so are those that follow; a window that fails alone is an
    error for the caller. Errors come in their place: after the results of all windows before.
    """

    def __init__(self, launch: Launch, give_back: Callable[[], None], ahead: int) -> None:
        """launch: begin a batch. give_back: free memory that is kept. ahead: batches begun beside the one awaited."""
        self._launch, self._give_back, self._ahead = launch, give_back, ahead
        self._most: float = float("inf")
        self.pixels = 0
        """LR pixels of a batch at most; one window always runs."""

    def run(self, windows: Iterable[Window]) -> Generator[Window]:
        """Yield the results in order, those of a batch stacked; `windows` are taken as batches are begun."""
        under_way: deque[_Batch] = deque()
        try:
            for batch in self._begun(windows):
                under_way.append(batch)
                if len(under_way) > self._ahead:
                    yield from self._land(under_way)
            while under_way:
                yield from self._land(under_way)
        finally:
            _wait(under_way)

    def _begun(self, windows: Iterable[Window]) -> Iterator[_Batch]:
        """Begin batch after batch. An error of `windows` themselves takes its place behind the last of them."""
        like: list[Window] = []
        failure: Exception | None = None
        source = iter(windows)
        while failure is None:
            try:
                window = next(source, None)
            except Exception as error:
                window, failure = None, error
            if window is None or (like and _kind(window) != _kind(like[0])):
                yield from map(self._begin, _powers(like))
                like = []
            if window is None:
                break
            like.append(window)
            if len(like) >= self._count(window):
                yield self._begin(like)
                like = []
        if failure is not None:
            yield (), Finished(error=failure)

    def _begin(self, batch: Sequence[Window]) -> _Batch:
        try:
            return batch, self._launch(batch)
        except Exception as error:
            if is_out_of_memory(error):
                clear_frames(error.__traceback__)  # they hold what was computed so far
            return batch, Finished(error=error)

    def _count(self, window: Window) -> int:
        """Count the windows of a batch: a power of two."""
        count = int(min(self.pixels, self._most) // (window.size // 3))
        return 1 << max(0, count.bit_length() - 1)

    def _land(self, under_way: deque[_Batch]) -> Iterator[Window]:
        """Give the results of the first batch under way."""
        batch, launched = under_way.popleft()
        try:
            results = launched.result()
        except Exception as error:
            if len(batch) < 2 or not is_out_of_memory(error):
                raise
        else:
            yield results
            return
        for place, (other, flying) in enumerate(under_way):  # they hold memory of the device
            under_way[place] = other, _settled(flying)
        yield from self._in_halves(batch)

    def _in_halves(self, batch: Sequence[Window]) -> Iterator[Window]:
        """Run a batch that memory did not suffice for in halves, one after the other."""
        half = len(batch) // 2
        self._most = min(self._most, half * (batch[0].size // 3))
        self._give_back()
        for part in (batch[:half], batch[half:]):
            results = _settled(self._begin(part)[1])
            if len(part) > 1 and results.error is not None and is_out_of_memory(results.error):
                yield from self._in_halves(part)
            else:
                yield results.result()


def _kind(window: Window) -> tuple[Any, ...]:
    return window.dtype, window.shape


def _powers(windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
    """Cut windows into batches of 2^n, the largest first."""
    done = 0
    while done < len(windows):
        count = 1 << ((len(windows) - done).bit_length() - 1)
        yield windows[done : done + count]
        done += count


def _settled(launched: Launched) -> Finished:
    """Wait for a batch, and keep what came of it."""
    try:
        return Finished(launched.result())
    except Exception as error:
        return Finished(error=error)


def _wait(under_way: Iterable[_Batch]) -> None:
    """Wait for batches that nobody wants any more: what they read and write must not be freed before."""
    for _, launched in under_way:
        with suppress(Exception):
            launched.result()
