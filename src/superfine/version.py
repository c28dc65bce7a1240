"""The version, in a module of its own: every layer may name it.

Building or installing superfine writes version.txt from git's tag. A clone that was never installed has none.
"""

from pathlib import Path

try:
    __version__ = Path(__file__).with_suffix(".txt").read_text(encoding="ascii").strip()
except OSError:
    __version__ = "0+unknown"
