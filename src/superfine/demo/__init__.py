"""The demonstration: a real photograph, made small, made large again by both networks, and compared.

No PyTorch, no network connection, nothing but the base install.
"""

from superfine.demo.compare import PHOTOGRAPH, PHOTOGRAPH_BY, PHOTOGRAPH_CROP, PROTOCOL, Comparison, Contender, compare
from superfine.demo.sheet import draw_sheet

__all__ = [
    "PHOTOGRAPH",
    "PHOTOGRAPH_BY",
    "PHOTOGRAPH_CROP",
    "PROTOCOL",
    "Comparison",
    "Contender",
    "compare",
    "draw_sheet",
]
