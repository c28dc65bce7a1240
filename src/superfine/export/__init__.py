"""Export networks to files that need no PyTorch: one safetensors file, and ONNX graphs that point into it."""

from superfine.export.files import Exported, export

__all__ = ["Exported", "export"]
