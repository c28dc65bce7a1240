"""`superfine upscale`: the options and what they mean. The work is in upscale/, how it shows in showing.py."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from superfine.cli.messages import complain

if TYPE_CHECKING:
    from superfine.upscale.batch import Batch
    from superfine.upscale.enlarge import Enlarger
    from superfine.upscale.journal import Journal
    from superfine.upscale.plan import Target

DEFAULT_SCALE = 4
SIZE, FILES, COMPUTING = "Another size, exact to the pixel", "Files", "Computing"


def option(panel: str, name: str, metavar: str, help: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=help, rich_help_panel=panel, **more)


def flag(panel: str, name: str, help: str) -> Any:
    return typer.Option(name, help=help, rich_help_panel=panel)


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Pictures, folders, globs in quotes, or - for standard input."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="OUT", help="A file for one picture, a folder for several, - for standard output."
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="esrgcnn, cfsrcnn, or the path of a weights file.")
    ] = "esrgcnn",
    scale: Annotated[
        str | None,
        typer.Option("--scale", "-s", metavar="N", help="How many times as wide and high.", show_default="4"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, its pixels, memory and time; write nothing.")
    ] = False,
    width: Annotated[int | None, option(SIZE, "--width", "PIXELS", "So wide.", min=1)] = None,
    height: Annotated[int | None, option(SIZE, "--height", "PIXELS", "So high.", min=1)] = None,
    long_edge: Annotated[int | None, option(SIZE, "--long-edge", "PIXELS", "The longer side.", min=1)] = None,
    short_edge: Annotated[int | None, option(SIZE, "--short-edge", "PIXELS", "The shorter side.", min=1)] = None,
    megapixels: Annotated[str | None, option(SIZE, "--megapixels", "N", "So many million pixels.")] = None,
    box: Annotated[str | None, option(SIZE, "--size", "WxH", "A box in pixels; see --fit.")] = None,
    paper: Annotated[str | None, option(SIZE, "--print", "30x40cm@300dpi", "A box on paper (mm, cm, in).")] = None,
    fit: Annotated[
        str, option(SIZE, "--fit", "HOW", "contain (inside the box), cover (fill it and cut) or stretch.")
    ] = "contain",
    suffix: Annotated[str, option(FILES, "--suffix", "TEXT", "Put behind every name in a folder, such as -x4.")] = "",
    format: Annotated[
        str | None, option(FILES, "--format", "NAME", "png, jpg, webp, tif ... instead of the source's.")
    ] = None,
    quality: Annotated[
        int | None,
        option(
            FILES, "--quality", "N", "Of JPEG and WebP; WebP is lossless at 100.", min=1, max=100, show_default="95"
        ),
    ] = None,
    dpi: Annotated[
        str, option(FILES, "--dpi", "HOW", "keep the resolution a file names, or scale it: the same size on paper.")
    ] = "keep",
    note: Annotated[
        bool, flag(FILES, "--note", "Put into the result what made it; `superfine inspect` reads it.")
    ] = False,
    overwrite: Annotated[bool, flag(FILES, "--overwrite", "Replace results that exist already.")] = False,
    skip_existing: Annotated[bool, flag(FILES, "--skip-existing", "Leave results that exist already.")] = False,
    resume: Annotated[bool, flag(FILES, "--resume", "Go on with a batch that was interrupted.")] = False,
    max_pixels: Annotated[
        int | None,
        option(
            FILES, "--max-pixels", "N", "Refuse larger pictures before unpacking them.", min=1, show_default="400000000"
        ),
    ] = None,
    engine: Annotated[
        str, option(COMPUTING, "--engine", "NAME", "auto, openvino, pytorch, or nearest (repeats pixels).")
    ] = "auto",
    precision: Annotated[
        str,
        option(COMPUTING, "--precision", "NAME", "auto (bf16 where the processor has it), fp32, bf16, fp16 or int8."),
    ] = "auto",
    tile: Annotated[
        int | None,
        option(
            COMPUTING,
            "--tile",
            "PIXELS",
            "Smaller needs less memory; the result is the same.",
            min=1,
            show_default="chosen",
        ),
    ] = None,
    memory: Annotated[
        str | None, option(COMPUTING, "--memory", "SIZE", "Keep below so much, such as 2GiB, or say what is missing.")
    ] = None,
    alpha: Annotated[str, option(COMPUTING, "--alpha", "HOW", "Transparency grows by network or bicubic.")] = "network",
    tta: Annotated[bool, flag(COMPUTING, "--tta", "Mean of 8 turned runs: a little better, 8 times the work.")] = False,
    back_projection: Annotated[
        bool, flag(COMPUTING, "--back-projection", "Make the result, downscaled, give the input back.")
    ] = False,
) -> int:
    """Make pictures larger: 4 times, or any size you name.

    - superfine upscale photo.jpg -o photo-x4.png
    - superfine upscale holiday/ -o large/ -s 2
    - superfine upscale 'scans/*.tif' -o large/ -m cfsrcnn --long-edge 3000

    Colour profile, EXIF, resolution and transparency come along. Nothing is overwritten unless you say so,
    and a result appears under its name only when it is whole. A picture that fails is named on standard
    error and the rest is done: exit code 1 if some failed, 2 if all did.
    """
    from superfine.cli.showing import show_estimates, show_run
    from superfine.errors import PlanError
    from superfine.images.files import DEFAULT_MAX_PIXELS
    from superfine.images.quiet import hush_codecs
    from superfine.upscale.batch import plan_batch
    from superfine.upscale.enlarge import Enlarger
    from superfine.upscale.memory import parse_memory
    from superfine.upscale.source import Settings

    hush_codecs()
    if dpi not in ("keep", "scale"):
        raise PlanError(f"--dpi is keep or scale, not {dpi!r}")
    wishes = {
        "scale": scale, "width": width, "height": height, "long_edge": long_edge, "short_edge": short_edge,
        "megapixels": megapixels, "size": box, "print": paper,
    }  # fmt: skip
    wishes = {name: wish for name, wish in wishes.items() if wish is not None} or {"scale": str(DEFAULT_SCALE)}
    target = read_target(wishes, fit)
    suffix_of_format = None if format is None else "." + format.lower().lstrip(".")
    batch = plan_batch(inputs, out, suffix=suffix, format=suffix_of_format)
    for error in batch.complaints:
        complain(str(error))
    if batch.left_out:
        complain(results_left_out(batch))
    if not batch.jobs:
        return 2
    most = None if memory is None else parse_memory(memory)
    enlarger = Enlarger(model, engine, precision, tile, alpha, tta=tta, back_projection=back_projection, memory=most)
    enlarger.upscaler(first_scale(enlarger, target))  # one that cannot be had is found out before anything is read
    settings = Settings(
        suffix_of_format, quality, max_pixels or DEFAULT_MAX_PIXELS, overwrite, skip_existing, note, dpi == "scale"
    )
    if dry_run:
        failed = show_estimates(batch.jobs, enlarger, target, settings)
    else:
        results = {
            **wishes, "fit": fit, "model": model, "weights": enlarger.digest, "engine": engine, "precision": precision,
            "alpha": alpha, "tta": tta, "back-projection": back_projection,
            "quality": quality, "dpi": dpi, "note": note,
        }  # fmt: skip
        told = {name: str(value) for name, value in results.items()}
        journal = open_journal(batch, told, resume=resume, restart=overwrite or skip_existing)
        failed = show_run(batch.jobs, enlarger, target, settings, journal)
        if journal is not None:  # a run that does not get here is to be resumed
            journal.finish()
    if failed == len(batch.jobs):
        return 2
    return 1 if failed or batch.complaints else 0


def read_target(wishes: dict[str, Any], fit: str) -> Target:
    """The one size that was wished for. Raises PlanError."""
    from superfine.errors import PlanError
    from superfine.upscale.plan import Target, parse_megapixels, parse_print, parse_scale, parse_size

    if len(wishes) > 1:
        names = " and ".join("--" + name.replace("_", "-") for name in wishes)
        raise PlanError(f"{names} contradict each other: name one size (a box of two sides is --size)")
    ((name, wish),) = wishes.items()
    match name:
        case "scale":
            return Target(scale=parse_scale(wish), fit=fit)
        case "megapixels":
            return Target(pixels=parse_megapixels(wish), fit=fit)
        case "size":
            return Target(size=parse_size(wish), fit=fit)
        case "print":
            size, dpi = parse_print(wish)
            return Target(size=size, fit=fit, dpi=dpi)
        case _:
            sides: dict[str, Any] = {name: wish}
            return Target(**sides, fit=fit)


def results_left_out(batch: Batch) -> str:
    names, count = ", ".join(path.name for path in batch.left_out[:3]), len(batch.left_out)
    more = f" and {count - 3} more" if count > 3 else ""
    return f"taken for results of an earlier run and left out: {names}{more}; name a picture itself to have it done"


def first_scale(enlarger: Enlarger, target: Target) -> int:
    """A scale that will be needed, or one of those there are if that depends on the pictures."""
    whole = target.scale if target.scale is not None else Fraction(0)
    return int(whole) if whole in enlarger.scales else enlarger.scales[0]


def open_journal(batch: Batch, settings: dict[str, str], *, resume: bool, restart: bool) -> Journal | None:
    """The journal of a batch that goes into a folder, half-written files of an earlier run swept away."""
    from superfine.errors import PlanError
    from superfine.upscale.journal import Journal

    if batch.folder is None:
        if resume:
            raise PlanError("--resume goes on with a batch: its results are in a folder, and OUT is not one")
        return None
    journal = Journal(batch.folder, settings, resume=resume, restart=restart)
    if resume:
        journal.sweep({job.target.parent for job in batch.jobs if job.target is not None})
    return journal
