"""Windows and macOS: nothing that only POSIX systems have is used without a check that it is there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import superfine

PACKAGE = Path(superfine.__file__).parent
MODULES = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "curses", "readline"}
NAMES = {
    "os": {"fork", "getuid", "geteuid", "setuid", "getgid", "nice", "sysconf", "uname", "killpg", "mkfifo",
           "sched_getaffinity", "getloadavg", "statvfs", "O_NOFOLLOW"},
    "signal": {"SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "alarm", "setitimer", "pause"},
}  # fmt: skip
CHECKS = ("platform", "os.name", "hasattr", "getattr", ".exists()", "is_file()")
"""What a condition mentions that asks for the system, or for the thing itself."""


def uses(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield imports of POSIX modules and uses of POSIX names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and {alias.name for alias in node.names} & MODULES:
            yield node
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield node
        named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if named and node.attr in NAMES.get(node.value.id, ()):
            yield node


def is_checked(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return True within a condition or `try` that asks whether it is there, or after one that left the function."""
    here = node
    while here in parents:
        above = parents[here]
        if isinstance(above, ast.If | ast.IfExp) and any(word in ast.unparse(above.test) for word in CHECKS):
            return True
        if isinstance(above, ast.Try) and here in above.body:
            caught = " ".join(ast.unparse(handler.type) for handler in above.handlers if handler.type)
            if any(word in caught for word in ("ImportError", "ModuleNotFoundError", "AttributeError")):
                return True
        if isinstance(above, ast.FunctionDef) and here in above.body:
            for before in above.body[: above.body.index(here)]:
                leaves = isinstance(before, ast.If) and isinstance(before.body[-1], ast.Return | ast.Raise)
                if leaves and any(word in ast.unparse(before.test) for word in CHECKS):
                    return True
        here = above
    return False


def unchecked(source: str) -> list[str]:
    tree = ast.parse(source)
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    return [ast.unparse(node) for node in uses(tree) if not is_checked(node, parents)]


def test_nothing_only_posix_has_is_used_unchecked() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        assert unchecked(path.read_text(encoding="utf-8")) == [], path


def test_an_unchecked_use_is_seen() -> None:
    assert unchecked("import resource") == ["import resource"]
    assert unchecked("def f():\n    from fcntl import flock") == ["from fcntl import flock"]
    assert unchecked("import os\nos.fork()") == ["os.fork"]
    assert (
        unchecked("import sys\ndef f():\n    if sys.platform == 'win32':\n        return 0\n    import resource") == []
    )
    assert unchecked("import os\ncount = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1") == []
    assert unchecked("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None") == []
