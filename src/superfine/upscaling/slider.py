"""Two pictures under one slider, as HTML for a notebook or a file of its own."""

from __future__ import annotations

import base64
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

from superfine.errors import ImageError
from superfine.images.picture import Picture
from superfine.upscaling.kinds import to_pictures

_PAGE = """<div style="position:relative;max-width:{width}px;--cut:50%;font:13px sans-serif">
<img src="{after}" alt="{right}" style="display:block;width:100%">
<img src="{before}" alt="{left}" style="position:absolute;inset:0;width:100%;height:100%;\
clip-path:inset(0 calc(100% - var(--cut)) 0 0)">
<div style="position:absolute;top:0;bottom:0;left:var(--cut);width:2px;background:white"></div>
<span style="position:absolute;left:4px;top:4px;padding:1px 5px;background:#000a;color:white">{left}</span>
<span style="position:absolute;right:4px;top:4px;padding:1px 5px;background:#000a;color:white">{right}</span>
<input type="range" value="50" aria-label="share of {left}" style="position:absolute;inset:0;width:100%;\
height:100%;margin:0;opacity:0;cursor:ew-resize" oninput="this.parentNode.style.setProperty('--cut',this.value+'%')">
</div>"""


class Comparison:
    """Two pictures, one over the other: move the slider to see more of the first. A notebook shows it as it is."""

    def __init__(self, before: Picture, after: Picture, labels: tuple[str, str]) -> None:
        self.before, self.after, self.labels = before, after, labels

    def _repr_html_(self) -> str:
        left, right = (escape(label, quote=True) for label in self.labels)
        return _PAGE.format(
            width=self.after.width, before=_embedded(self.before), after=_embedded(self.after), left=left, right=right
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write an HTML file that needs nothing else. Raises ImageError where it cannot be written."""
        text = f'<!doctype html><meta charset="utf-8"><title>Comparison</title>\n{self._repr_html_()}\n'
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ImageError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def compare(before: Any, after: Any, labels: tuple[str, str] = ("before", "after")) -> Comparison:
    """Put two pictures of the same view under one slider; the first is stretched to the second's size.

        >>> superfine.compare("photo.jpg", superfine.upscale("photo.jpg"))

    Each is a path, a PIL image, a Picture, an array or a tensor, as Upscaler takes them. Raises ImageError.
    """
    (first, *_), (second, *_) = to_pictures(before), to_pictures(after)
    return Comparison(first, second, labels)


def _embedded(picture: Picture) -> str:
    """Return a picture as a PNG in a data URI."""
    return f"data:image/png;base64,{base64.b64encode(picture._repr_png_()).decode('ascii')}"
