"""Engines run a network on a window of pixels; which one is installed is decided when one is opened."""

from superfine.engines.base import AheadEngine, Engine
from superfine.engines.devices import DEVICES
from superfine.engines.foreign.find import find_model
from superfine.engines.open import ENGINES, PRECISIONS, check_request, open_engine

__all__ = ["DEVICES", "ENGINES", "PRECISIONS", "AheadEngine", "Engine", "check_request", "find_model", "open_engine"]
