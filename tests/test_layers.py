"""Imports point down only, in the order ARCHITECTURE.md draws."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import superfine

PACKAGE = Path(superfine.__file__).parent

LAYERS = [
    "__main__",
    "superfine",
    "cli",
    "web",
    "fleet",
    "integrations",
    "demo",
    "quantization",
    "training.run",
    "training.report",
    "training",
    "training.data",
    "training.recipe",
    "export",
    "datasets",
    "benchmark",
    "video",
    "upscaling.batch",
    "upscaling",
    "engines",
    "weights",
    "nets.kernels",
    "nets",
    "quality",
    "images",
    "native",
    "cores",
    "atomic",
    "errors",
    "version",
]
"""Top to bottom, one room a floor; `superfine` is the package's own __init__.py. A room may import those below it."""

RANK = {name: floor for floor, name in enumerate(LAYERS)}
MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def room(module: str) -> str:
    """The longest entry of LAYERS that holds a module: superfine.quality.metrics → quality.metrics."""
    parts = module.split(".")[1:]
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in RANK:
            return ".".join(parts[:length])
    if not parts:
        return "superfine"
    pytest.fail(f"{module} is in no layer: give it a place in ARCHITECTURE.md and in this test")


def imported(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Every superfine module a source imports, at the top or inside a function, relative imports resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "superfine")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*here[: len(here) - node.level + 1], *filter(None, [node.module])])
            if base.split(".")[0] == "superfine":
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    yield full if full in NAMES or full.removeprefix("superfine.") in RANK else base


def upward(source: str, module: str, is_package: bool = False) -> list[str]:
    return [
        f"{module} imports {target}"
        for target in imported(source, module, is_package)
        if RANK[room(target)] < RANK[room(module)]
    ]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_point_down(path: Path) -> None:
    assert upward(path.read_text(), dotted(path), path.name == "__init__.py") == []


def test_an_upward_import_is_seen_wherever_it_hides() -> None:
    assert upward("from superfine.upscaling import Upscaler", "superfine.engines.base")
    assert upward("def f():\n    import superfine.cli", "superfine.training.loop")
    assert upward("from .. import benchmark", "superfine.upscaling.plan")
    assert upward("from ..upscaling import batch", "superfine.upscaling.plan")
    assert upward("from superfine.images import read", "superfine.cores")
    assert not upward("from superfine.errors import ImageError", "superfine.images.files")
    assert not upward("from superfine.weights import find", "superfine.engines.openvino")


def test_every_folder_is_a_room_of_its_own_floor_or_part_of_one() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert folders | files == {name for name in LAYERS if "." not in name} - {"superfine"}
    assert len(RANK) == len(LAYERS)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even inside functions or for type checkers, and so no rooms do either."""
    graph = {
        dotted(path): set(imported(path.read_text(), dotted(path), path.name == "__init__.py")) - {dotted(path)}
        for path in MODULES
    }
    while leaves := {name for name, targets in graph.items() if not targets & graph.keys()}:
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
    assert graph == {}, "these import each other, or what does: " + ", ".join(sorted(graph))


@pytest.mark.parametrize("name", ["nets", "quality/metrics.py", "upscaling/tiles.py"])
def test_the_pure_rooms_do_no_input_or_output(name: str) -> None:
    place = PACKAGE / name
    doors = {"os", "io", "pathlib", "PIL", "shutil", "tempfile", "subprocess", "socket", "urllib"}
    for path in [place] if place.is_file() else place.glob("*.py"):  # nets.kernels, above, may run a compiler
        tree = ast.parse(path.read_text())
        names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        names |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        assert not names & doors, f"{path} imports {names & doors}"
        assert not calls & {"open", "print", "input"}, f"{path} calls {calls}"
