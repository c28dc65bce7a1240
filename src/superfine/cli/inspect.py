"""`superfine inspect`: shows what a picture file holds, and what made it."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from superfine.cli.messages import complain, one_line


def inspect(
    pictures: Annotated[list[str], typer.Argument(metavar="FILE...", help="Picture files.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file, a line each.")] = False,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Refuse pictures of more pixels.", show_default="400 million")
    ] = None,
) -> int:
    """Show what a picture file holds, and what made it.

    - superfine inspect photo-x4.png

    Size, depth, colour profile, EXIF, and the note that superfine upscale --note leaves.
    """
    from superfine.cli.quiet import hush_codecs
    from superfine.errors import ImageError
    from superfine.images.files import DEFAULT_MAX_PIXELS
    from superfine.images.provenance import describe

    hush_codecs()
    failed = 0
    for number, name in enumerate(pictures):
        try:
            found = describe(name, max_pixels=max_pixels or DEFAULT_MAX_PIXELS)
        except ImageError as error:
            failed += 1
            complain(str(error))
            continue
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
            continue
        if number:
            print()
        for key, value in found.items():
            lines = value.items() if isinstance(value, dict) else [("", value)]
            for inner, each in lines:
                shown = " x ".join(map(str, each)) if isinstance(each, list) else each
                print(one_line(f"{f'{key} {inner}'.strip()}: {shown}"))
    return 2 if failed == len(pictures) else 1 if failed else 0
