"""The door of the command line: `superfine` and `python -m superfine`.

Exit codes: 0 done, 1 some of the work failed, 2 a mistake in what was asked for, 130 interrupted (Ctrl-C),
143 ended (SIGTERM).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from typer.exceptions import Abort, TyperException

from superfine.cli import create_app, names_wanted
from superfine.cli.messages import complain
from superfine.errors import SuperfineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Obeys `arguments` (those of the process if None) and gives its exit code."""
    if arguments is None:  # the process is ours
        signal.signal(signal.SIGTERM, _leave)
        arguments = sys.argv[1:]
    arguments = list(arguments)
    try:
        app = create_app(names_wanted(arguments))
        code = app(arguments or ["--help"], prog_name="superfine", standalone_mode=False)
        sys.stdout.flush()
    except SuperfineError as error:
        complain(str(error))
        return 2
    except TyperException as error:
        complain(_usage(error))
        return 2
    except (KeyboardInterrupt, Abort):
        code = 130
    except BrokenPipeError:
        # The reader of our output (`| head`) has left: nothing to say, and nobody to say it to.
        # Python flushes standard output once more on its way out, so it must lead somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # what no room of the house foresaw: a disk, a permission, a name
        complain(f"{error.filename or 'cannot go on'}: {(error.strerror or str(error)).lower()}")
        return 2
    if code == 130:  # typer's, or ours: a Ctrl-C
        complain("interrupted")
    return code if isinstance(code, int) else 0


def _leave(number: int, frame: object) -> None:
    """What is half-written is taken away on the way out, which the system's own way to end a process does not do."""
    sys.exit(128 + number)


def _usage(error: TyperException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "superfine"
    return f"{message}. Try '{command} --help'."


if __name__ == "__main__":
    sys.exit(main())
