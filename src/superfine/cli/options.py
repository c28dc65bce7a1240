"""Options that several commands share, or that one has many of: their names, what they take and what they say."""

from __future__ import annotations

from typing import Annotated, Any

import typer

SIZE, FILES, COMPUTING = "Another size, exact to the pixel", "Files", "Computing"
"""Panels of the help."""


def option(panel: str, name: str, metavar: str, help: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=help, rich_help_panel=panel, **more)


def flag(panel: str, name: str, help: str) -> Any:
    return typer.Option(name, help=help, rich_help_panel=panel)


Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Pictures, folders, globs in quotes, or - for standard input."),
]
Out = Annotated[
    str,
    typer.Option(
        "--out", "-o", metavar="OUT", help="A file for one picture, a folder for several, - for standard output."
    ),
]
Scale = Annotated[
    str | None,
    typer.Option("--scale", "-s", metavar="N", help="How many times as wide and high.", show_default="4"),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, its pixels, memory and time; write nothing.")
]
Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME", help="A name superfine models lists, or the path of a weights file."),
]

# Sizes: see upscaling.plan.make_target.
Width = Annotated[int | None, option(SIZE, "--width", "PIXELS", "So wide.", min=1)]
Height = Annotated[int | None, option(SIZE, "--height", "PIXELS", "So high.", min=1)]
LongEdge = Annotated[int | None, option(SIZE, "--long-edge", "PIXELS", "The longer side.", min=1)]
ShortEdge = Annotated[int | None, option(SIZE, "--short-edge", "PIXELS", "The shorter side.", min=1)]
Megapixels = Annotated[str | None, option(SIZE, "--megapixels", "N", "So many million pixels.")]
Box = Annotated[str | None, option(SIZE, "--size", "WxH", "A box in pixels; see --fit.")]
Paper = Annotated[str | None, option(SIZE, "--print", "30x40cm@300dpi", "A box on paper (mm, cm, in).")]
Fit = Annotated[str, option(SIZE, "--fit", "HOW", "contain (inside the box), cover (fill it and cut) or stretch.")]

Suffix = Annotated[str, option(FILES, "--suffix", "TEXT", "Put behind every name in a folder, such as -x4.")]
Format = Annotated[str | None, option(FILES, "--format", "NAME", "png, jpg, webp, tif ... instead of the source's.")]
Quality = Annotated[
    int | None,
    option(FILES, "--quality", "N", "Of JPEG and WebP; WebP is lossless at 100.", min=1, max=100, show_default="95"),
]
Dpi = Annotated[
    str, option(FILES, "--dpi", "HOW", "keep the resolution a file names, or scale it: the same size on paper.")
]
AddNote = Annotated[bool, flag(FILES, "--note", "Put into the result what made it; `superfine inspect` reads it.")]
Overwrite = Annotated[bool, flag(FILES, "--overwrite", "Replace results that exist already.")]
SkipExisting = Annotated[bool, flag(FILES, "--skip-existing", "Leave results that exist already.")]
Resume = Annotated[bool, flag(FILES, "--resume", "Go on with a batch that was interrupted.")]
MaxPixels = Annotated[
    int | None,
    option(
        FILES, "--max-pixels", "N", "Refuse larger pictures before unpacking them.", min=1, show_default="400000000"
    ),
]

Engine = Annotated[str, option(COMPUTING, "--engine", "NAME", "auto, openvino, pytorch, or nearest (repeats pixels).")]
Device = Annotated[str, option(COMPUTING, "--device", "NAME", "auto, cpu, gpu, gpu:1, cuda or mps.")]
Precision = Annotated[
    str, option(COMPUTING, "--precision", "NAME", "auto (bf16 where the processor has it), fp32, bf16, fp16 or int8.")
]
Tile = Annotated[
    int | None,
    option(
        COMPUTING,
        "--tile",
        "PIXELS",
        "Smaller needs less memory; the result is the same.",
        min=1,
        show_default="chosen",
    ),
]
Memory = Annotated[
    str | None, option(COMPUTING, "--memory", "SIZE", "Keep below so much, such as 2GiB, or say what is missing.")
]
Alpha = Annotated[str, option(COMPUTING, "--alpha", "HOW", "Transparency grows by network or bicubic.")]
Tta = Annotated[bool, flag(COMPUTING, "--tta", "Mean of 8 turned runs: a little better, 8 times the work.")]
BackProjection = Annotated[
    bool, flag(COMPUTING, "--back-projection", "Make the result, downscaled, give the input back.")
]


def sizes_named(**sizes: Any) -> dict[str, Any]:
    """Keep the sizes that were given."""
    return {name: size for name, size in sizes.items() if size is not None}
