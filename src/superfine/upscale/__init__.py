"""Pictures through a network: plan tiles, run them, stitch them.

The name serves twice: `superfine.upscale` is this room, and, called, the function of the same name:

>>> superfine.upscale("photo.jpg", scale=4)

Python binds a package's submodule over anything else of that name, so the module itself is callable.
"""

from __future__ import annotations

import sys
from types import ModuleType

from superfine.upscale.tiles import Box, Tile, choose_tile, plan_tiles
from superfine.upscale.upscaler import Upscaler, upscale

__all__ = ["Box", "Tile", "Upscaler", "choose_tile", "plan_tiles", "upscale"]


class _CallableModule(ModuleType):
    __call__ = staticmethod(upscale)


sys.modules[__name__].__class__ = _CallableModule
