"""`superfine upscale`: reads the options. The work is done in upscaling/batch, and shown by upscale_output.py."""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from superfine.cli import options
from superfine.cli.messages import complain

if TYPE_CHECKING:
    from superfine.upscaling.batch.jobs import Batch
    from superfine.upscaling.batch.journal import Journal
    from superfine.upscaling.batch.source import Settings
    from superfine.upscaling.plan import Target
    from superfine.upscaling.upscaler import Upscaler


def upscale(
    inputs: options.Inputs,
    out: options.Out = None,
    model: options.ModelOrAuto = "auto",
    scale: options.Scale = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    width: options.Width = None,
    height: options.Height = None,
    long_edge: options.LongEdge = None,
    short_edge: options.ShortEdge = None,
    megapixels: options.Megapixels = None,
    box: options.Box = None,
    paper: options.Paper = None,
    fit: options.Fit = "contain",
    suffix: options.Suffix = "",
    format: options.Format = None,
    quality: options.Quality = None,
    dpi: options.Dpi = "keep",
    note: options.AddNote = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    resume: options.Resume = False,
    max_pixels: options.MaxPixels = None,
    accept_damaged: options.AcceptDamaged = False,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    tile: options.Tile = None,
    memory: options.Memory = None,
    alpha: options.Alpha = "network",
    tone_map: options.ToneMap = False,
    tta: options.Tta = False,
    back_projection: options.BackProjection = False,
) -> int:
    """Make pictures larger: 4 times, or any size you name.

    - superfine upscale photo.jpg
    - superfine upscale holiday/ -s 2
    - superfine upscale 'scans/*.tif' -o large/ --long-edge 3000

    Without -o the result lies beside the original: photo-x4.jpg, or the folder holiday-x2. Colour profile, EXIF and
    transparency come along. Nothing is overwritten. A picture that fails is named and the rest is done: exit code 1 if
    some failed, 2 if all did.
    """
    from superfine.cli.quiet import hush_codecs
    from superfine.engines.devices import split_devices
    from superfine.images.files import DEFAULT_MAX_PIXELS
    from superfine.images.formats.encode import suffix_named
    from superfine.upscaling.batch.jobs import label_of, plan_batch
    from superfine.upscaling.batch.source import Settings
    from superfine.upscaling.plan import DEFAULT_SCALE, make_target
    from superfine.upscaling.upscaler import Upscaler

    hush_codecs()
    sizes = options.sizes_named(
        scale=scale, width=width, height=height, long_edge=long_edge, short_edge=short_edge, megapixels=megapixels,
        size=box, print=paper,
    )  # fmt: skip
    target = make_target(**sizes, fit=fit)
    wanted = None if format is None else suffix_named(format)
    most = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    settings = Settings(wanted, quality, most, overwrite, skip_existing, note, is_scaled(dpi), accept_damaged)
    refuse_terminal(inputs, out)
    batch = plan_batch(inputs, out, suffix=suffix, format=wanted, label=label_of(sizes or {"scale": DEFAULT_SCALE}))
    for complaint in [*batch.complaints, *results_left_out(batch)]:
        complain(str(complaint))
    if not batch.jobs:
        return 2
    first, *others = split_devices(device)
    upscaler = Upscaler(
        model, device=first, engine=engine, precision=precision, tile=tile, tta=tta, back_projection=back_projection,
        memory=memory, alpha=alpha, tone_map=tone_map,
    )  # fmt: skip
    upscalers = [upscaler, *map(upscaler.on, others)]
    for each in upscalers:  # one that cannot be had is found out before anything is read
        each.tiled(first_scale(upscaler, target))
    if upscaler.remark and not quiet:
        complain(upscaler.remark)
    requested = requested_settings(
        sizes, upscaler, fit=fit, model=model, engine=engine, precision=precision, device=device, alpha=alpha, tta=tta,
        back_projection=back_projection, quality=quality, dpi=dpi, note=note, tone_map=tone_map,
        accept_damaged=accept_damaged,
    )  # fmt: skip
    if dry_run:
        failed = estimate(batch, upscaler, target, settings)
    else:
        failed = run(batch, upscalers, target, settings, requested, resume=resume, quiet=quiet)
    if failed == len(batch.jobs):
        return 2
    return 1 if failed or batch.complaints else 0


def requested_settings(sizes: dict[str, Any], upscaler: Upscaler, **given: Any) -> dict[str, str]:
    """Collect everything that decides the results, as text, to recognise an interrupted batch."""
    from superfine.upscaling.plan import DEFAULT_SCALE

    deciding = {**(sizes or {"scale": DEFAULT_SCALE}), **given}
    deciding["weights"] = " ".join(each.digest for each in upscaler.candidates)
    return {name.replace("_", "-"): str(value) for name, value in deciding.items()}


def estimate(batch: Batch, upscaler: Upscaler, target: Target, settings: Settings) -> int:
    """Show what the pictures would cost; return how many would fail."""
    from superfine.cli.upscale_output import show_estimates

    return show_estimates(batch.jobs, upscaler, target, settings)


def run(
    batch: Batch,
    upscalers: list[Upscaler],
    target: Target,
    settings: Settings,
    requested: dict[str, str],
    *,
    resume: bool,
    quiet: bool,
) -> int:
    """Make the pictures; return how many failed. requested: everything that decides the results, for the journal."""
    from superfine.cli.upscale_output import show_run

    journal = open_journal(batch, requested, resume=resume, restart=settings.overwrite or settings.skip_existing)
    failed = show_run(batch.jobs, upscalers, target, settings, journal, quiet=quiet)
    if journal is not None:  # a run that does not get here is to be resumed
        journal.finish()
    return failed


def refuse_terminal(inputs: list[str], out: str | None) -> None:
    """Raise PlanError where a picture would be written onto the terminal."""
    from superfine.errors import PlanError

    if (out == "-" or (out is None and "-" in inputs)) and sys.stdout.isatty():
        raise PlanError("a picture is nothing to print on a terminal: name a file with --out, or redirect with >")


def is_scaled(dpi: str) -> bool:
    """Return True for --dpi scale. Raises PlanError."""
    from superfine.errors import PlanError

    if dpi not in ("keep", "scale"):
        raise PlanError(f"--dpi is keep or scale, not {dpi!r}")
    return dpi == "scale"


def results_left_out(batch: Batch) -> list[str]:
    """Return a line about pictures that are taken for results; none if there are none."""
    names, count = ", ".join(path.name for path in batch.left_out[:3]), len(batch.left_out)
    if not count:
        return []
    more = f" and {count - 3} more" if count > 3 else ""
    return [f"taken for results of an earlier run and left out: {names}{more}; name a picture itself to have it done"]


def first_scale(upscaler: Upscaler, target: Target) -> int:
    """Return a scale that will be needed, or one of those there are if that depends on the pictures."""
    whole = target.scale if target.scale is not None else Fraction(0)
    return int(whole) if whole in upscaler.scales else upscaler.scales[0]


def open_journal(batch: Batch, settings: dict[str, str], *, resume: bool, restart: bool) -> Journal | None:
    """Open the journal of a batch that goes into a folder; remove the half-written files of an earlier run."""
    from superfine.errors import PlanError
    from superfine.upscaling.batch.journal import Journal

    if batch.folder is None:
        if resume:
            raise PlanError("--resume goes on with a batch whose results go into a folder; use --skip-existing here")
        return None
    journal = Journal(batch.folder, settings, resume=resume, restart=restart)
    if resume:
        journal.sweep({job.target.parent for job in batch.jobs if job.target is not None})
    return journal
