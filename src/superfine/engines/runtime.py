"""OpenVINO, imported without its converter tools and without telemetry. Everything here takes it from this file.

A plain `import openvino` imports its converter tools, and they start the package openvino_telemetry, which writes a
file into the home folder, looks up an analytics host and reports the import. A program that is fed private pictures
must not. Without the tools the import is also a third faster.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from superfine.errors import EngineError


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Let imports of these modules fail inside the block, unless they are there already."""
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is how Python marks them
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


try:
    with _hidden("openvino.tools.ovc", "openvino_telemetry"):
        import openvino as ov
        from openvino import opset8 as ops
except ModuleNotFoundError as error:
    raise EngineError(
        "engine 'openvino' needs OpenVINO, which is not installed: pip install openvino, where it has a wheel, or "
        "choose another engine"
    ) from error

__all__ = ["convert_model", "core", "ops", "ov"]


@cache
def core() -> ov.Core:
    """Start the one OpenVINO runtime of the process; that loads its device plug-ins."""
    return ov.Core()


def convert_model(module: Any, **options: Any) -> ov.Model:
    """Convert a PyTorch module as `openvino.convert_model` does, with the stub that OpenVINO has for its telemetry."""
    with _hidden("openvino_telemetry"):
        from openvino.tools import ovc
    return ovc.convert_model(module, **options)
