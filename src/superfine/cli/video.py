"""`superfine video`: makes every frame larger and keeps everything else as it was."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from superfine.cli import options as shared
from superfine.cli.messages import one_line, time_of
from superfine.cli.progress import ProgressBar

if TYPE_CHECKING:
    from superfine.upscaling.plan import Target
    from superfine.upscaling.upscaler import Upscaler
    from superfine.video import Options, Summary

ENCODING = "Encoding"


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
        shared.option(
            ENCODING, "--codec", "NAME", "h264, hevc, av1, vp9, prores, ffv1 (lossless).", show_default="auto"
        ),
    ] = None,
    quality: Annotated[
        int | None,
        shared.option(ENCODING, "--quality", "N", "0 is best, 18 looks perfect.", show_default="codec's"),
    ] = None,
    preset: Annotated[
        str | None,
        shared.option(ENCODING, "--preset", "WORD", "Of the encoder: slow, fast, ...; a number for av1, vp9."),
    ] = None,
    pixel_format: Annotated[
        str | None,
        shared.option(ENCODING, "--pixel-format", "NAME", "FFmpeg's name: yuv420p, ...", show_default="input's"),
    ] = None,
    deinterlace: Annotated[
        bool | None,
        typer.Option("--deinterlace/--no-deinterlace", help="For interlaced frames.", rich_help_panel=ENCODING),
    ] = None,
    drop: Annotated[bool, shared.flag(ENCODING, "--drop", "Leave out streams that OUT cannot hold.")] = False,
    device: shared.Device = "auto",
    engine: shared.Engine = "auto",
    precision: shared.Precision = "auto",
    tile: shared.Tile = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, even after an interrupted run.")] = False,
) -> None:
    """Make a video larger: twice, or any size you name.

    - superfine video clip.mp4 clip-x2.mp4
    - superfine video clip.mp4 clip-1080.mp4 --height 1080
    - superfine video film.mkv film-x2.mkv --codec hevc --quality 20

    Audio, subtitles, chapters and tags are copied; time stamps, bit depth, colour range and matrix, and HDR tags stay.
    Frames that repeat the one before cost nothing. A run that was interrupted goes on when the same command is given
    again.
    """
    from superfine.upscaling.plan import make_target
    from superfine.upscaling.upscaler import Upscaler
    from superfine.video import DEFAULT_SCALE, Options

    shared.refuse_auto(model, "a video")
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
    """Print what was made, and in how many seconds."""
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
    """Run upscale_video with its progress shown."""
    from superfine.video import upscale_video

    with ProgressBar() as bar:
        try:
            return upscale_video(
                source,
                out,
                upscaler,
                options,
                target=target,
                identity=upscaler.digest,
                overwrite=overwrite,
                progress=lambda done, total: bar.count(done, total, f"frames  {source.name}"),
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted: what is done is kept; the same command goes on") from None
