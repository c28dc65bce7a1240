"""Engines run a network on a window of pixels; which one is installed is decided when one is opened."""

from superfine.engines.base import Engine
from superfine.engines.open import ENGINES, PRECISIONS, open_engine

__all__ = ["ENGINES", "PRECISIONS", "Engine", "open_engine"]
