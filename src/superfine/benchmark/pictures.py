"""Draw comparisons of methods: crops side by side, as papers print them, and maps of the error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from superfine import images
from superfine.benchmark import sets
from superfine.benchmark.run import Request, figures_of
from superfine.benchmark.sets import Pair
from superfine.errors import DataError
from superfine.images.profile import rgb_to_y
from superfine.quality.protocols import Protocol, protocol_named, quantise

Rgb = NDArray[np.uint8]

_MARK = (255, 32, 32)
_INK, _PAPER = (0, 0, 0), (255, 255, 255)
_GAP = 8  # pixels between the parts of a sheet
_FULL_ERROR = 48.0  # luma levels shown as the brightest of an error map


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in HR pixels."""

    left: int
    top: int
    width: int
    height: int

    def inside(self, height: int, width: int) -> bool:
        """Tell if the box lies wholly in a picture of that size."""
        right, bottom = self.left + self.width, self.top + self.height
        return (
            min(self.left, self.top) >= 0 and min(self.width, self.height) > 0 and right <= width and bottom <= height
        )

    def of(self, picture: Rgb) -> Rgb:
        """Cut the box out of a picture (H, W, 3)."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class ComparedPicture:
    """One picture and the results of every method, all (H, W, 3) uint8 of one size."""

    set: str
    scale: int
    name: str
    hr: Rgb
    enlarged: Mapping[str, Rgb]  # method → its result
    captions: Mapping[str, str] = field(default_factory=dict)  # method → its figures, "37.42 / 0.9582"


def parse_box(text: str) -> Box:
    """Read a box from "left,top,width,height" in HR pixels; raise DataError for anything else."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
        raise DataError(f"{text!r} is no box; write left,top,width,height in pixels of the original, as in 40,60,64,48")
    left, top, width, height = (int(part) for part in parts)
    return Box(left, top, width, height)


def _window_sums(plane: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Sum every window of that size; the sum stands at the window's top left corner."""
    total = np.pad(plane, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    return np.asarray(
        total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    )


def where_methods_differ(compared: ComparedPicture, side: int = 64) -> Box:
    """Find the square window in which the methods' squared errors lie furthest apart.

    Args:
        compared: two methods or more; with one, its largest error is taken.
        side: of the window, HR pixels; less in a smaller picture.
    """
    truth = rgb_to_y(compared.hr)
    errors = np.stack([(rgb_to_y(picture) - truth) ** 2 for picture in compared.enlarged.values()])
    height, width = min(side, truth.shape[0]), min(side, truth.shape[1])
    sums = np.stack([_window_sums(error, height, width) for error in errors])
    spread = sums.max(axis=0) - sums.min(axis=0) if len(sums) > 1 else sums[0]
    top, left = np.unravel_index(int(spread.argmax()), spread.shape)
    return Box(int(left), int(top), width, height)


def error_map(sr: Rgb, hr: Rgb) -> Rgb:
    """Draw the absolute error of luma, (H, W, 3) uint8: black for none, by red and yellow to white at 48 levels."""
    error = np.abs(rgb_to_y(sr) - rgb_to_y(hr)) / _FULL_ERROR
    # Black, red, yellow, white: each channel rises over its own third.
    return np.stack([np.clip(error * 3.0 - third, 0.0, 1.0) * 255.0 for third in range(3)], axis=-1).astype(np.uint8)


def _caption(draw: ImageDraw.ImageDraw, x: int, y: int, width: int, lines: list[str], size: int) -> None:
    for number, line in enumerate(lines):
        # Long names shrink until they fit, so that no neighbour is written over.
        points = size
        while draw.textlength(line, font=ImageFont.load_default(points)) > width and points > 7:
            points -= 1
        font = ImageFont.load_default(points)
        indent = max(0, (width - int(draw.textlength(line, font=font))) // 2)
        draw.text((x + indent, y + number * int(size * 1.25)), line, fill=_INK, font=font)


def crop_sheet(compared: ComparedPicture, box: Box, *, zoom: int | None = None, errors: bool = False) -> Image.Image:
    """Draw the original with a marked box, then that box of the original and of every method, figures underneath.

    Args:
        compared: the pictures.
        box: what to crop, HR pixels.
        zoom: how many times to repeat each pixel of a crop; None makes crops about 192 pixels high.
        errors: a second row with the error map of each crop.

    Raises:
        DataError: a box that does not lie in the picture.
    """
    height, width = compared.hr.shape[:2]
    if not box.inside(height, width):
        place = f"{box.left},{box.top},{box.width},{box.height}"
        raise DataError(f"the box {place} does not lie inside {compared.name}, which has {width}x{height} pixels")
    zoom = zoom or max(1, round(192 / box.height))
    size = 14
    sources = {"original": compared.hr, **compared.enlarged}
    panels = [(name, box.of(picture)) for name, picture in sources.items()]
    cell_w, cell_h, text_h = box.width * zoom, box.height * zoom, int(size * 1.25 * 2) + 4
    columns = len(panels)
    rows = 2 if errors else 1
    right_w = columns * cell_w + (columns - 1) * _GAP
    body_h = rows * (cell_h + text_h) + (rows - 1) * _GAP
    whole = _marked(compared.hr, box)
    whole.thumbnail((max(body_h * 2, 160), max(body_h - text_h, 160)), Image.Resampling.LANCZOS)
    sheet_h = max(body_h, whole.height + text_h) + 2 * _GAP
    sheet = Image.new("RGB", (whole.width + right_w + 3 * _GAP, sheet_h), _PAPER)
    draw = ImageDraw.Draw(sheet)
    sheet.paste(whole, (_GAP, _GAP))
    title = [f"{compared.name} ({compared.set} x{compared.scale})"]
    _caption(draw, _GAP, whole.height + _GAP + 2, whole.width, title, size)
    for number, (name, crop) in enumerate(panels):
        x, y = whole.width + 2 * _GAP + number * (cell_w + _GAP), _GAP
        sheet.paste(_enlarged(crop, zoom), (x, y))
        _caption(draw, x, y + cell_h + 2, cell_w, [name, compared.captions.get(name, "")], size)
        if errors and number:
            y += cell_h + text_h + _GAP
            sheet.paste(_enlarged(error_map(crop, box.of(compared.hr)), zoom), (x, y))
            _caption(draw, x, y + cell_h + 2, cell_w, [f"error, white = {_FULL_ERROR:.0f}"], size)
    return sheet


def stacked_sheet(pictures: Sequence[ComparedPicture], box: Box | None, path: Path) -> None:
    """Write the crop sheets of several pictures, one below the other, error maps included, as one file.

    Args:
        pictures: one or more.
        box: what to crop; None takes the place where the methods differ most, in each picture for itself.
        path: its suffix names the format.

    Raises:
        DataError: a box outside a picture.
        ImageError: a file that cannot be written.
    """
    sheets = [crop_sheet(compared, box or where_methods_differ(compared), errors=True) for compared in pictures]
    whole = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), _PAPER)
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    images.write(images.from_pil(whole), path)


def _enlarged(crop: Rgb, zoom: int) -> Image.Image:
    """Repeat pixels, so that what is seen is the crop and not another interpolation of it."""
    return Image.fromarray(np.repeat(np.repeat(crop, zoom, axis=0), zoom, axis=1))


def _marked(hr: Rgb, box: Box) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(hr))
    line = max(1, min(picture.size) // 120)
    edges = (box.left - line, box.top - line, box.left + box.width + line - 1, box.top + box.height + line - 1)
    ImageDraw.Draw(picture).rectangle(edges, outline=_MARK, width=line)
    return picture


class Gallery:
    """A collection of pictures to show, filled while a benchmark runs: pass `keep` to the Request.

    Args:
        protocol: how pictures are rounded and captioned.
        names: pictures to keep; empty keeps the `most` of each set and scale in which methods differ most.
        most: how many pictures to keep of each set and scale.
        folder: where to write every super-resolved picture as SET/xS/NAME_MODEL.png; None writes none.
    """

    def __init__(
        self, protocol: Protocol, names: Sequence[str] = (), most: int = 4, folder: Path | None = None
    ) -> None:
        self.protocol, self.names, self.most, self.folder = protocol, tuple(names), most, folder
        self._kept: dict[tuple[str, int], list[tuple[float, ComparedPicture]]] = {}

    def keep(self, set: str, scale: int, pair: Pair, enlarged: dict[str, NDArray[Any]]) -> None:
        """Take in one picture and the results of every method (method → picture)."""
        pictures = {name: quantise(sr, self.protocol) for name, sr in enlarged.items()}
        if self.folder is not None:
            _write(self.folder / set.replace(":", "") / f"x{scale}", pair.name, pictures)
        if self.names and pair.name not in self.names:
            return
        names = ("psnr", "ssim")
        figures = {name: figures_of(sr, pair, scale, self.protocol, names) for name, sr in pictures.items()}
        captions = {name: f"{each['psnr']:.2f} / {each['ssim']:.4f}" for name, each in figures.items()}
        levels = [min(each["psnr"], 100.0) for each in figures.values()]
        hr = np.ascontiguousarray(pair.hr)
        kept = self._kept.setdefault((set, scale), [])
        kept.append((max(levels) - min(levels), ComparedPicture(set, scale, pair.name, hr, pictures, captions)))
        kept.sort(key=lambda each: -each[0])
        if not self.names:
            del kept[self.most :]

    def pictures(self) -> list[ComparedPicture]:
        """List the pictures kept, set by set; raise DataError for a picture asked for that no set holds."""
        pictures = [compared for kept in self._kept.values() for _, compared in kept]
        if missing := [name for name in self.names if name not in {compared.name for compared in pictures}]:
            raise DataError(f"no measured set holds a picture called {missing[0]}")
        return pictures


def open_gallery(request: Request, names: Sequence[str], folder: Path | None) -> Gallery:
    """Have a request collect the pictures called `names` (empty: those that differ most) in a Gallery.

    Raises:
        DataError: a name that no set of the request holds.
    """
    chosen = [sets.find_set(folder, scale) for folder in sets.expand(request.folders) for scale in request.scales]
    have = {case.name for each in chosen for case in each.cases}
    if missing := [name for name in names if name not in have]:
        raise DataError(f"no picture {missing[0]!r} in {', '.join(dict.fromkeys(each.name for each in chosen))}")
    # Every picture is kept losslessly in the page: few of each set where there are many sets.
    most = max(1, 8 // (len(request.folders) * len(request.scales)))
    gallery = Gallery(protocol_named(request.protocols[0]), names, most=most, folder=folder)
    request.keep = gallery.keep
    return gallery


def _write(folder: Path, name: str, pictures: dict[str, NDArray[np.uint8]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for model, picture in pictures.items():
            Image.fromarray(picture).save(folder / f"{name}_{Path(model).stem}.png")
    except OSError as error:
        raise DataError(f"cannot write into {folder}: {error.strerror or error}; choose another folder") from error
