"""Draw the comparison sheet: LR, bicubic, both networks and the original side by side, a row a scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from superfine.demo.compare import PROTOCOL, Comparison

ZOOM = 3
"""Each pixel of a crop is drawn as ZOOM x ZOOM pixels, so that differences are seen and not guessed."""

CROP = (96, 120)
"""Height and width of the crop, pixels of the original; multiples of 2, 3 and 4, so LR pixels are whole too."""

MARGIN, GAP, LABEL, HEADER = 40, 16, 56, 360
PAPER, INK, FAINT, ACCENT = (250, 250, 248), (24, 24, 28), (110, 110, 118), (200, 40, 30)

TITLES = {"bicubic": "Bicubic", "cfsrcnn": "CFSRCNN", "esrgcnn": "ESRGCNN"}

Point = tuple[int, int]


def draw_sheet(comparisons: Sequence[Comparison], about: str, corner: Point | None = None) -> Image.Image:
    """Draw one RGB picture with a row of zoomed crops for each comparison, and the whole photograph above.

    comparisons: at least one, all of one photograph. about: a line on where it comes from.
    corner: (top, left) of the crop, multiples of 12; where the most detail is if None.
    """
    corner = corner or most_detailed(comparisons[0].original, CROP)
    columns = len(comparisons[0].contenders) + 2
    cell_width, cell_height = CROP[1] * ZOOM, CROP[0] * ZOOM
    width = 2 * MARGIN + columns * cell_width + (columns - 1) * GAP
    height = MARGIN + HEADER + len(comparisons) * (cell_height + LABEL + GAP) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _header(sheet, draw, comparisons, about, corner)
    for row, comparison in enumerate(comparisons):
        top = MARGIN + HEADER + row * (cell_height + LABEL + GAP)
        for column, (title, note, crop) in enumerate(_cells(comparison, corner)):
            left = MARGIN + column * (cell_width + GAP)
            sheet.paste(Image.fromarray(crop).resize((cell_width, cell_height), Image.Resampling.NEAREST), (left, top))
            draw.text((left, top + cell_height + 6), title, INK, _font(20))
            draw.text((left, top + cell_height + 29), note, FAINT, _font(17))
    return sheet


def most_detailed(picture: NDArray[np.uint8], size: Point) -> Point:
    """Find the window of `size` with the strongest gradients, (top, left), on a grid of 12 pixels (so of 2, 3 and 4).

    There the ways to enlarge a picture differ most.
    """
    gray = picture.astype(np.float64).mean(axis=2)
    strength = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    total = np.pad(strength.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    tops = np.arange(0, strength.shape[0] - size[0] + 1, 12)[:, None]
    lefts = np.arange(0, strength.shape[1] - size[1] + 1, 12)[None, :]
    bottoms, rights = tops + size[0], lefts + size[1]
    inside = total[bottoms, rights] - total[tops, rights] - total[bottoms, lefts] + total[tops, lefts]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(tops[row, 0]), int(lefts[0, column])


def _cells(comparison: Comparison, corner: Point) -> list[tuple[str, str, NDArray[np.uint8]]]:
    """List (title, note, crop) from left to right; the LR crop covers the same place with fewer pixels."""
    scale = comparison.scale
    small = (corner[0] // scale, corner[1] // scale)
    lr = _cut(comparison.lr, small, (CROP[0] // scale, CROP[1] // scale))
    height, width = comparison.lr.shape[:2]
    base = comparison.contenders[0]
    cells = [(f"LR for x{scale}", f"{width}x{height} pixels", lr)]
    for contender in comparison.contenders:
        note = f"{contender.psnr:.2f} dB   SSIM {contender.ssim:.4f}"
        if contender is not base:
            note += f"   {contender.psnr - base.psnr:+.2f} dB"
        title = f"{TITLES.get(contender.name, contender.name)} x{scale}"
        cells.append((title, note, _cut(contender.pixels, corner, CROP)))
    height, width = comparison.original.shape[:2]
    return [*cells, ("Original", f"{width}x{height} pixels", _cut(comparison.original, corner, CROP))]


def _cut(picture: NDArray[np.uint8], corner: Point, size: Point) -> NDArray[np.uint8]:
    return np.ascontiguousarray(picture[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]])


def _header(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, comparisons: Sequence[Comparison], about: str, corner: Point
) -> None:
    """Draw the whole photograph with the crop marked, and explain how to read the rows below."""
    whole = Image.fromarray(comparisons[0].original)
    tall = HEADER - 40
    ratio = tall / whole.height
    whole = whole.resize((round(whole.width * ratio), tall), Image.Resampling.LANCZOS)
    sheet.paste(whole, (MARGIN, MARGIN))
    top, left = MARGIN + corner[0] * ratio, MARGIN + corner[1] * ratio
    box = (left, top, left + CROP[1] * ratio, top + CROP[0] * ratio)
    draw.rectangle(box, outline=ACCENT, width=3)
    x = MARGIN + whole.width + 40
    draw.text((x, MARGIN - 6), "superfine", INK, _font(44))
    draw.text((x, MARGIN + 52), "CFSRCNN and ESRGCNN against bicubic enlargement", INK, _font(26))
    lines = [
        "Each row: the photograph made small by bicubic, enlarged again three ways, and the original.",
        f"The marked part, every pixel drawn {ZOOM}x{ZOOM}.",
        f"PSNR and SSIM of the whole picture, protocol '{PROTOCOL}' (luma, a border of the scale cut).",
        f"Engine: {comparisons[0].engine}.",
        about,
    ]
    for number, line in enumerate(lines):
        draw.text((x, MARGIN + 110 + 30 * number), line, FAINT, _font(20))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
