"""What the programs of this folder, run as `python tools/NAME.py`, have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable

from superfine.errors import SuperfineError


def exit_code(work: Callable[[], object], *also: type[Exception]) -> int:
    """Do `work`: 0, or 2 and one line on standard error if it raises a SuperfineError or one of `also`."""
    refusals: tuple[type[Exception], ...] = (SuperfineError, *also)
    try:
        work()
    except refusals as error:
        print(f"superfine: {error}", file=sys.stderr)
        return 2
    return 0
