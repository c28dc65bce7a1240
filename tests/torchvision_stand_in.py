"""The two names of torchvision that spandrel imports, for tests alone.

torchvision's wheel does not load beside a CPU build of torch. None of the networks tested here calls it.
"""

from __future__ import annotations

import sys
from types import ModuleType


def install() -> None:
    """Put the stand-in where torchvision does not load."""
    try:
        import torchvision.transforms.functional  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        modules = {name: ModuleType(name) for name in ("torchvision", "torchvision.transforms")}
        functional = ModuleType("torchvision.transforms.functional")
        for name in ("InterpolationMode", "normalize", "rotate"):
            setattr(functional, name, None)
        sys.modules.update(modules | {functional.__name__: functional})
