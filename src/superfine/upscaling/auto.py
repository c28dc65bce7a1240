"""Choose the model for a picture: the clean one, or the one that takes JPEG's blocks and noise away."""

from __future__ import annotations

from dataclasses import dataclass

from superfine.images.evidence import examine
from superfine.images.picture import Picture
from superfine.images.rows import Rows

AUTO = "auto"
CLEAN, PHOTO = "esrgcnn", "esrgcnn-photo"

WORN_QUALITY = 92
"""JPEG files up to this quality get PHOTO; above it CLEAN measures better (docs/photographs.md)."""


@dataclass(frozen=True)
class Choice:
    """A model, and the reason in a few words: "JPEG of quality 80"."""

    model: str
    reason: str

    def __str__(self) -> str:
        return f"{self.model} ({self.reason})"


def choose(source: Picture | Rows) -> Choice:
    """Choose CLEAN or PHOTO for a picture, or for the rows of a file. The same for the same pixels and tables.

    Raises ImageError if the file of rows is damaged.
    """
    head = source if isinstance(source, Picture) else source.head
    quality = head.jpeg_quality
    if quality is not None and quality <= WORN_QUALITY:
        return Choice(PHOTO, f"JPEG of quality {quality}")
    saved = "" if quality is None else f"JPEG of quality {quality}, "
    found = examine(source)
    if found.noisy:
        return Choice(PHOTO, f"{saved}noise of {found.noise:.0f} levels")
    if found.blocky:
        return Choice(PHOTO, f"{saved}blocks of an earlier JPEG")
    return Choice(CLEAN, f"{saved}clean")
