"""`superfine fleet`: reads the options, and shows what the workers do. The work is done in superfine/fleet."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli import options
from superfine.cli.messages import complain, one_line, size_of, time_of
from superfine.cli.progress import ProgressBar

if TYPE_CHECKING:
    from superfine.fleet.run import Totals

CLUSTER = "Cluster"


def fleet(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A file, a folder, a glob in quotes, or an address: s3://bucket/in.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUTPUT", help="A folder, or an address of one.")],
    model: options.Model = "esrgcnn",
    scale: options.Scale = None,
    quiet: options.Quiet = False,
    address: Annotated[
        str | None,
        options.option(CLUSTER, "--address", "WHERE", "auto, HOST:PORT, ray://HOST:PORT.", show_default="this machine"),
    ] = None,
    workers: Annotated[
        int | None, options.option(CLUSTER, "--workers", "N", "How many.", min=1, show_default="as have room")
    ] = None,
    cores: Annotated[
        int | None,
        options.option(
            CLUSTER, "--cores", "N", "Cores of a worker.", min=1, show_default="those of the smallest machine"
        ),
    ] = None,
    split_from: Annotated[
        float, options.option(CLUSTER, "--split-from", "N", "Megapixels from which on workers share a picture (TIFF).")
    ] = 25.0,
    width: options.Width = None,
    height: options.Height = None,
    long_edge: options.LongEdge = None,
    short_edge: options.ShortEdge = None,
    megapixels: options.Megapixels = None,
    box: options.Box = None,
    fit: options.Fit = "contain",
    suffix: options.Suffix = "",
    format: options.Format = None,
    quality: options.Quality = None,
    dpi: options.Dpi = "keep",
    note: options.AddNote = False,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    max_pixels: options.MaxPixels = None,
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
    """Make millions of pictures larger, on a cluster of machines.

    - superfine fleet photos/ large/ -s 4
    - superfine fleet s3://archive/scans s3://archive/large -s 2 --address auto
    - superfine fleet scan.tif large/ --address 10.0.0.1:6379

    The work of superfine upscale and superfine video, spread over the workers of a Ray cluster; without --address, over
    the cores of this machine. OUTPUT/_manifest/manifest.parquet says what became of every source. After an interruption
    the same command with --resume does the rest. Exit codes as of superfine upscale.
    """
    from superfine.cli.quiet import hush_codecs
    from superfine.cli.upscale import is_scaled, requested_settings
    from superfine.fleet.cluster import connected
    from superfine.fleet.store import Store
    from superfine.fleet.tasks import MANIFEST, find_tasks
    from superfine.images.files import DEFAULT_MAX_PIXELS
    from superfine.images.formats.encode import suffix_named
    from superfine.upscaling.batch.source import Settings
    from superfine.upscaling.plan import make_target
    from superfine.upscaling.upscaler import Upscaler

    hush_codecs()
    options.refuse_auto(model, "a fleet")
    sizes = options.sizes_named(
        scale=scale, width=width, height=height, long_edge=long_edge, short_edge=short_edge, megapixels=megapixels,
        size=box,
    )  # fmt: skip
    target = make_target(**sizes, fit=fit)
    wanted = None if format is None else suffix_named(format)
    most = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    settings = Settings(None, quality, most, overwrite, False, note, is_scaled(dpi))
    upscaler = Upscaler(
        model, device=device, engine=engine, precision=precision, tile=tile, tta=tta, back_projection=back_projection,
        memory=memory, alpha=alpha, tone_map=tone_map,
    )  # fmt: skip
    requested = requested_settings(
        sizes, upscaler, fit=fit, model=model, engine=engine, precision=precision, device=device, alpha=alpha, tta=tta,
        back_projection=back_projection, quality=quality, dpi=dpi, note=note, suffix=suffix, format=wanted,
        tone_map=tone_map,
    )  # fmt: skip
    output = Store(out if "://" in out else str(Path(out).absolute()))
    tasks, complaints = find_tasks(source, output, suffix=suffix, format=wanted)
    for complaint in complaints:
        complain(str(complaint))
    gpu = engine.partition(":")[0] in ("auto", "pytorch") and device.partition(":")[0] in ("auto", "gpu", "cuda")
    with connected(address):
        from superfine.fleet.run import run_fleet

        with ProgressBar(quiet=quiet) as bar:
            meter = _Meter(bar)
            try:
                totals = run_fleet(
                    tasks, output, upscaler, target, settings, requested, resume=resume, workers=workers, cores=cores,
                    split_from=round(split_from * 1e6), gpu=gpu, progress=meter.show,
                )  # fmt: skip
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"interrupted: {meter.done} of {len(tasks)} are done; the same command with --resume does the rest"
                ) from None
    if not quiet:
        _sum_up(totals)
    if totals.failed == len(tasks):
        return 2
    if totals.failed:
        complain(f"{totals.failed} of {len(tasks)} failed; the manifest in {output.full(MANIFEST)} says why")
    return 1 if totals.failed or complaints else 0


class _Meter:
    """Shows how far a run is, and every failure."""

    def __init__(self, bar: ProgressBar) -> None:
        self.bar, self.begun, self.done = bar, perf_counter(), 0

    def show(self, totals: Totals, name: str, error: str) -> None:
        """Show that a task has ended."""
        if error:
            self.bar.complain(error)
        self.done = totals.made + totals.there
        over, spent = self.done + totals.failed, perf_counter() - self.begun
        here = over - totals.there
        parts = [f"{over} of {totals.tasks}"]
        if totals.pixels:
            parts.append(f"{totals.pixels / 1e6 / max(spent, 1e-9):.2f} MP/s")
        left = spent / here * (totals.tasks - over) if here else None
        self.bar.update(over / totals.tasks, "  ".join([*parts, name.rpartition("/")[2]]), left=left)


def _sum_up(totals: Totals) -> None:
    """Print what was made and how fast, and how busy the stages were."""
    parts = [f"{totals.made} made, {size_of(totals.pixels, 'pixels')}"] if totals.made else []
    if totals.there:
        parts.append(f"{totals.there} there already")
    if not parts:
        return
    line = f"{', '.join(parts)} in {time_of(totals.elapsed)}"
    if totals.made:
        line += f", {totals.pixels / 1e6 / max(totals.elapsed, 1e-9):.2f} MP/s"
    print(one_line(line))
    if totals.seconds:
        whole = totals.elapsed * totals.workers
        shares = ", ".join(f"{stage} {totals.seconds[stage] / whole:.0%}" for stage in ("read", "compute", "write"))
        were = "was" if totals.deaths == 1 else "were"
        lost = f"; {totals.deaths} died and {were} replaced" if totals.deaths else ""
        crew = f"{totals.workers} workers" if totals.workers > 1 else "1 worker"
        print(one_line(f"{crew}, {totals.engine}: busy to {shares}{lost}"))
    if totals.changes:
        changes = "; ".join(f"{change} ({count} of {totals.made})" for change, count in totals.changes.items())
        print(one_line(f"converted: {changes}"), file=sys.stderr)
