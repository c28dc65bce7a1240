"""The door of the command line: `superfine` and `python -m superfine`.

Exit codes: 0 done, 1 some of the work failed, 2 a mistake in what was asked for, 130 interrupted (Ctrl-C),
143 ended (SIGTERM).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from superfine.cli import COMMANDS
from superfine.cli.messages import Interrupted, complain
from superfine.errors import SuperfineError, install_command

if TYPE_CHECKING:
    from typer.exceptions import TyperException


def main(arguments: Sequence[str] | None = None) -> int:
    """Obey `arguments` (those of the process if None) and return the exit code."""
    if arguments is None:  # the process is ours
        signal.signal(signal.SIGTERM, _leave)
        arguments = sys.argv[1:]
    arguments = list(arguments)
    try:
        code = _show_quickly(arguments)
        if code is None:
            code = _run(arguments)
        sys.stdout.flush()
    except SuperfineError as error:
        complain(str(error))
        return 2
    except ModuleNotFoundError as error:
        extra = COMMANDS[arguments[0]].extra if arguments and arguments[0] in COMMANDS else ""
        if not extra or not error.name or error.name.startswith("superfine"):
            raise
        package = error.name.partition(".")[0]
        complain(f"{arguments[0]} needs {package}, which is not installed: {install_command(extra)}")
        return 2
    except (KeyboardInterrupt, Interrupted) as error:
        complain(str(error) or "interrupted")
        return 130
    except BrokenPipeError:
        # The reader of our output (`| head`) has left: nothing to say, and nobody to say it to.
        # Python flushes standard output once more on its way out, so it must lead somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # what no room of the house foresaw: a disk, a permission, a name
        complain(f"{error.filename or 'cannot go on'}: {(error.strerror or str(error)).lower()}")
        return 2
    if code == 130:  # typer's, for a Ctrl-C before a command began
        complain("interrupted")
    return code


def _show_quickly(arguments: list[str]) -> int | None:
    """Answer what needs no command, without importing typer; None if there is more to do."""
    if "_SUPERFINE_COMPLETE" in os.environ:  # the shell asks what could come next
        return None
    if not arguments or arguments[0] in ("-h", "--help"):
        from superfine.cli.help import program_help

        print(program_help(), end="")
        return 0
    if arguments == ["--version"]:
        from superfine.version import __version__

        print(f"superfine {__version__}")
        return 0
    return None


def _run(arguments: list[str]) -> int:
    """Run a command and return its exit code. Raises what it raises."""
    from typer.exceptions import TyperException

    from superfine.cli.app import create_app

    try:
        code = create_app()(arguments, prog_name="superfine", standalone_mode=False)
    except TyperException as error:
        complain(_usage(error))
        return 2
    return code if isinstance(code, int) else 0


def _leave(number: int, frame: object) -> None:
    """End the process so that half-written files are removed on the way, which the default handler does not do."""
    sys.exit(128 + number)


def _usage(error: TyperException) -> str:
    """Return a mistake on the command line as one line that ends with the help to look at."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "superfine"
    return f"{message}{'' if message.endswith('?') else '.'} Try '{command} --help'."


if __name__ == "__main__":
    sys.exit(main())
