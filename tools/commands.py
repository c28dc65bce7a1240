"""Turn errors into exit codes for the programs of this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable

from superfine.errors import SuperfineError


def exit_code(work: Callable[[], object], *also: type[Exception]) -> int:
    """Do `work` and return 0; return 2, after one line on standard error, for a SuperfineError or one of `also`."""
    refusals: tuple[type[Exception], ...] = (SuperfineError, *also)
    try:
        work()
    except refusals as error:
        print(f"superfine: {error}", file=sys.stderr)
        return 2
    return 0
