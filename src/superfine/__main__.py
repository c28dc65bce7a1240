"""The door of the command line: `superfine` and `python -m superfine`.

Exit codes: 0 done, 1 some of the work failed, 2 a mistake in what was asked for, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from typer.exceptions import Abort, TyperException

from superfine.cli import create_app, names_wanted
from superfine.cli.messages import complain
from superfine.errors import SuperfineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Obeys `arguments` (those of the process if None) and gives its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
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
        return 130
    except BrokenPipeError:
        # The reader of our output (`| head`) has left: nothing to say, and nobody to say it to.
        # Python flushes standard output once more on its way out, so it must lead somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code if isinstance(code, int) else 0


def _usage(error: TyperException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "superfine"
    return f"{message}. Try '{command} --help'."


if __name__ == "__main__":
    sys.exit(main())
