"""The options that several commands share, and those of `superfine upscale`: name, kind, help and place in the help."""

from __future__ import annotations

from typing import Annotated, Any

import typer

SIZE, FILES, ADVANCED = "Size of the result (instead of --scale)", "Files", "Advanced"
"""Headings of the help."""


def option(panel: str, name: str, metavar: str, help: str, **more: Any) -> Any:
    """Return an option that takes a value, under the heading `panel`."""
    return typer.Option(name, metavar=metavar, help=help, rich_help_panel=panel, **more)


def flag(panel: str, name: str, help: str) -> Any:
    """Return an option that takes none, under the heading `panel`."""
    return typer.Option(name, help=help, rich_help_panel=panel)


Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Pictures, folders, globs in quotes, or - for standard input."),
]
Out = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="OUT", help="A file, a folder, or - for standard output."),
]
Scale = Annotated[
    str | None,
    typer.Option("--scale", "-s", metavar="N", help="How many times as wide and high.", show_default="4"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show sizes, memory and time; write nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME", help="A name of superfine models, a file, or hf:owner/name."),
]
ModelOrAuto = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME", help="auto (by each picture), a shipped name, or a weights file."),
]

# Sizes: see upscaling.plan.make_target.
Width = Annotated[int | None, option(SIZE, "--width", "PIXELS", "Width; the height in proportion.", min=1)]
Height = Annotated[int | None, option(SIZE, "--height", "PIXELS", "Height; the width in proportion.", min=1)]
LongEdge = Annotated[int | None, option(SIZE, "--long-edge", "PIXELS", "The longer of both.", min=1)]
ShortEdge = Annotated[int | None, option(SIZE, "--short-edge", "PIXELS", "The shorter of both.", min=1)]
Megapixels = Annotated[str | None, option(SIZE, "--megapixels", "N", "So many million pixels.")]
Box = Annotated[str | None, option(SIZE, "--size", "WxH", "A box in pixels; see --fit.")]
Paper = Annotated[str | None, option(SIZE, "--print", "WxHcm@DPIdpi", "A box on paper: 30x40cm@300dpi (or mm, in).")]
Fit = Annotated[str, option(SIZE, "--fit", "HOW", "In a box: contain, cover (cut) or stretch.")]

Suffix = Annotated[str, option(FILES, "--suffix", "TEXT", "Text behind every name in a folder: -x4.")]
Format = Annotated[str | None, option(FILES, "--format", "NAME", "png, jpg, webp, tif, ...", show_default="source's")]
Quality = Annotated[
    int | None,
    option(FILES, "--quality", "N", "Of JPEG, WebP, AVIF: 1 to 100.", min=1, max=100, show_default="95"),
]
Overwrite = Annotated[bool, flag(FILES, "--overwrite", "Replace results that exist.")]
SkipExisting = Annotated[bool, flag(FILES, "--skip-existing", "Leave results that exist as they are.")]
AcceptDamaged = Annotated[bool, flag(FILES, "--accept-damaged", "Take what is there of a damaged JPEG or PNG.")]
Resume = Annotated[bool, flag(FILES, "--resume", "Go on with an interrupted batch.")]

Engine = Annotated[str, option(ADVANCED, "--engine", "NAME", "auto, native, openvino, onnxruntime, pytorch, ncnn.")]
Device = Annotated[str, option(ADVANCED, "--device", "NAME", "auto, cpu, gpu, mps, vulkan, cuda:0,cuda:1.")]
Precision = Annotated[str, option(ADVANCED, "--precision", "NAME", "auto, fp32, tf32, int16, bf16, fp16, int8.")]
Tile = Annotated[
    int | None,
    option(ADVANCED, "--tile", "PIXELS", "Side of a tile: less memory, same result.", min=1, show_default="chosen"),
]
Memory = Annotated[str | None, option(ADVANCED, "--memory", "SIZE", "Memory to stay below, such as 2GiB.")]
MaxPixels = Annotated[
    int | None,
    option(ADVANCED, "--max-pixels", "N", "Refuse larger pictures.", min=1, show_default="400000000"),
]
Tta = Annotated[bool, flag(ADVANCED, "--tta", "Mean of 8 turned runs: a little better, 8 times slower.")]
BackProjection = Annotated[bool, flag(ADVANCED, "--back-projection", "Match the input exactly when made small again.")]
Alpha = Annotated[str, option(ADVANCED, "--alpha", "HOW", "Transparency by network or bicubic.")]
ToneMap = Annotated[bool, flag(ADVANCED, "--tone-map", "Bring HDR pictures (PQ, HLG) to standard range, sRGB.")]
Dpi = Annotated[str, option(ADVANCED, "--dpi", "HOW", "Resolution in the file: keep, or scale with the size.")]
AddNote = Annotated[bool, flag(ADVANCED, "--note", "Write into the file what made it; see superfine inspect.")]


def sizes_named(**sizes: Any) -> dict[str, Any]:
    """Keep the sizes that were given."""
    return {name: size for name, size in sizes.items() if size is not None}


def refuse_auto(model: str, what: str) -> None:
    """Raise PlanError for -m auto where one model does everything."""
    from superfine.errors import PlanError

    if model == "auto":
        raise PlanError(f"{what} takes one model, not auto; for blocks of JPEG and a little noise: -m esrgcnn-photo")
