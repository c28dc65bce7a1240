"""`superfine video`: every frame larger, everything else as it was."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli import options as shared
from superfine.cli.messages import complain, one_line, time_of

if TYPE_CHECKING:
    from superfine.upscaling.plan import Target
    from superfine.upscaling.upscaler import Upscaler
    from superfine.video import Options, Summary


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A video file.", show_default=False)],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Ending in .mp4, .mov, .mkv, .webm, .avi or .ts.", show_default=False),
    ],
    scale: Annotated[
        str | None,
        typer.Option("--scale", "-s", metavar="N", help="How many times as wide and high.", show_default="2"),
    ] = None,
    model: shared.Model = "esrgcnn",
    width: shared.Width = None,
    height: shared.Height = None,
    long_edge: shared.LongEdge = None,
    short_edge: shared.ShortEdge = None,
    megapixels: shared.Megapixels = None,
    box: shared.Box = None,
    fit: shared.Fit = "contain",
    codec: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="h264, hevc, av1, vp9, prores or ffv1 (lossless).", show_default="chosen"),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(metavar="N", help="Constant quality: 0 is best, 18 or so invisible.", show_default="codec's"),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="WORD", help="The encoder's own: slow, fast, ...; a number for av1, vp9.")
    ] = None,
    pixel_format: Annotated[
        str | None,
        typer.Option("--pixel-format", metavar="NAME", help="FFmpeg's name: yuv420p, ...", show_default="input's"),
    ] = None,
    deinterlace: Annotated[
        bool | None, typer.Option("--deinterlace/--no-deinterlace", help="What to do with interlaced frames.")
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Leave out streams the output cannot hold.")] = False,
    device: shared.Device = "auto",
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="auto, openvino, onnxruntime, pytorch or nearest (repeats pixels).")
    ] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="auto, fp32, bf16, fp16 or int8.")] = "auto",
    tile: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pixels of a tile: less memory.", show_default="chosen")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Do not go on with an interrupted run.")] = False,
) -> None:
    """Make a video larger: twice, or any size you name.

    - superfine video clip.mp4 clip-x2.mp4
    - superfine video clip.mp4 clip-1080.mp4 --height 1080
    - superfine video film.mkv film-x2.mkv --codec hevc --quality 20

    Audio, subtitles, chapters and tags are copied; time stamps, bit depth, colour range and matrix, and HDR tags stay.
    Frames that repeat the one before cost nothing. A run that was interrupted goes on when the same command is given
    again. Needs superfine\\[video].
    """
    from superfine.upscaling.plan import make_target
    from superfine.upscaling.upscaler import Upscaler
    from superfine.video import DEFAULT_SCALE, Options

    sizes = shared.sizes_named(
        scale=scale, width=width, height=height, long_edge=long_edge, short_edge=short_edge, megapixels=megapixels,
        size=box,
    )  # fmt: skip
    target = make_target(**sizes, fit=fit, default_scale=DEFAULT_SCALE)
    upscaler = Upscaler(model, device=device, engine=engine, precision=precision, tile=tile)
    options = Options(codec, quality, preset, pixel_format, deinterlace, drop, restart)
    start = perf_counter()
    summary = _run(source, out, upscaler, target, options, overwrite)
    _report(out, summary, perf_counter() - start)


def _report(out: Path, summary: Summary, seconds: float) -> None:
    """What was made, and in `seconds`: two lines."""
    done = summary.frames - summary.resumed
    notes = [f"{summary.resumed} frames were there from an earlier run"] if summary.resumed else []
    notes += [f"{summary.repeated} repeated the one before"] if summary.repeated else []
    notes += [f"{summary.damaged} damaged packets were passed over"] if summary.damaged else []
    notes += [f"left out {', '.join(summary.dropped)}"] if summary.dropped else []
    width, height = summary.size
    kind = f"{summary.encoding.codec} {summary.encoding.pixel_format}"
    copied = f", {len(summary.copied)} other streams copied" if summary.copied else ""
    speed = f"{done} frames in {time_of(seconds)}, {done / max(seconds, 1e-9):.2f} a second"
    print(one_line(f"{out}: {summary.frames} frames of {width}x{height}, {kind}{copied}"))
    print(one_line("; ".join([speed, *notes])))


def _run(source: Path, out: Path, upscaler: Upscaler, target: Target, options: Options, overwrite: bool) -> Summary:
    """upscale_video with a bar on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from superfine.video import upscale_video

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(one_line(source.name), total=None)
        try:
            return upscale_video(
                source,
                out,
                upscaler,
                options,
                target=target,
                identity=upscaler.digest,
                overwrite=overwrite,
                progress=lambda done, total: bar.update(task, completed=done, total=total or None),
            )
        except KeyboardInterrupt:
            bar.stop()
            complain("interrupted; what is done is kept: give the same command again to go on")
            raise
