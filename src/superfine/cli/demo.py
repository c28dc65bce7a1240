"""`superfine demo`: makes a photograph small and large again, by bicubic and by both networks."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli.messages import one_line
from superfine.cli.tables import show_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from superfine.demo import Comparison


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path("demo"),
    photograph: Annotated[
        Path | None, typer.Argument(help="Your own picture, instead of the one that comes along.", show_default=False)
    ] = None,
) -> None:
    """Show what both networks do to a real photograph.

    The photograph is made 2, 3 and 4 times smaller, enlarged again by bicubic, CFSRCNN and ESRGCNN, and
    compared with itself: a table here, the pictures and a sheet to look at (comparison.png) in the folder.

    - superfine demo
    - superfine demo my-photo.jpg
    """
    from superfine.demo import PHOTOGRAPH, PHOTOGRAPH_BY, PHOTOGRAPH_CROP, compare, draw_sheet
    from superfine.images.files import from_pil

    source = photograph or PHOTOGRAPH
    folder = _folder(out)
    original = _rgb(source)
    _save(original, folder / "original.png")
    comparisons = []
    for comparison in compare(original):
        comparisons.append(comparison)
        _save(comparison.lr, folder / f"x{comparison.scale}-lr.png")
        for contender in comparison.contenders:
            _save(contender.pixels, folder / f"x{comparison.scale}-{contender.name}.png")
        print(f"x{comparison.scale} done ({comparison.engine})", flush=True)
    if photograph is None:
        sheet = draw_sheet(comparisons, PHOTOGRAPH_BY, PHOTOGRAPH_CROP)
    else:
        sheet = draw_sheet(comparisons, f"Photograph: {source.name}")
    _save(from_pil(sheet).pixels, folder / "comparison.png")
    _show(comparisons)
    print()
    print(one_line(f"Look at {folder / 'comparison.png'}."))
    print("Then try a picture of your own:")
    print(f"\n  {_program()} upscale photo.jpg\n\nIt is written beside it: photo-x4.jpg.")


def _program() -> str:
    """Return how superfine is started from here: by its path where it was, because its environment is not active."""
    if shutil.which("superfine") is None and Path(sys.argv[0]).stem == "superfine":
        return sys.argv[0]
    return "superfine"


def _folder(out: Path) -> Path:
    from superfine.errors import ImageError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"cannot make the folder {out}: {(error.strerror or str(error)).lower()}") from None
    return out


def _rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture file as HWC uint8 RGB, without its transparency."""
    import numpy as np

    from superfine.images.depth import as_uint8
    from superfine.images.files import read

    pixels = as_uint8(read(path).pixels)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    from superfine.images.files import Picture, write

    write(Picture(pixels), path)


def _show(comparisons: list[Comparison]) -> None:
    from superfine.demo import PROTOCOL

    rows = []
    for comparison in comparisons:
        base = comparison.contenders[0]
        for contender in comparison.contenders:
            first = contender is base
            rows.append(
                (
                    f"x{comparison.scale}",
                    contender.name,
                    f"{contender.psnr:.2f}",
                    "" if first else f"{contender.psnr - base.psnr:+.2f}",
                    f"{contender.ssim:.4f}",
                    "" if first else f"{contender.ssim - base.ssim:+.4f}",
                    f"{contender.seconds:.2f}",
                )
            )
    headings = ("scale", "enlarged by", "PSNR, dB", "over bicubic", "SSIM", "over bicubic", "seconds")
    show_table(headings, rows, title=f"\nPSNR and SSIM against the original, protocol '{PROTOCOL}'")
