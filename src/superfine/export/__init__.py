"""Networks → files an engine without PyTorch reads: one safetensors file, and graphs that point into it."""

from superfine.export.files import Exported, export

__all__ = ["Exported", "export"]
