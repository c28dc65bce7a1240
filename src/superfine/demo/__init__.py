"""Show what the networks do: shrink a photograph, enlarge it again by both of them, and compare.

The base install is enough; nothing is fetched.
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
