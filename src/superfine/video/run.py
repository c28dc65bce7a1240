"""Upscale a video file: larger frames, everything else as it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from superfine.errors import VideoError
from superfine.upscaling import Upscaler
from superfine.upscaling.plan import Target, make_target
from superfine.video.encode import Encoding, container_of, plan_encoding
from superfine.video.mux import Report, check_streams, mux
from superfine.video.pieces import FRAMES, Pieces, file_identity, work_folder
from superfine.video.pipeline import enlarge
from superfine.video.sizing import Sizing
from superfine.video.source import Source

DEFAULT_SCALE = 2

FrameProgress = Callable[[int, int], None]
"""Called with (frames done, frames expected; 0 if unknown) after every frame."""


@dataclass(frozen=True)
class Options:
    """Settings of the output; None leaves the choice to the input and the output's ending."""

    codec: str | None = None
    """Key of encode.CODECS."""
    quality: int | None = None
    """Constant quality, 0 (best) upwards, on the codec's own scale."""
    preset: str | None = None
    """The encoder's own name of a speed."""
    pixel_format: str | None = None
    """FFmpeg's name."""
    deinterlace: bool | None = None
    drop: bool = False
    """Leave out streams the output's container cannot hold, instead of refusing."""
    restart: bool = False
    """Begin anew even if an earlier run was interrupted."""


@dataclass(frozen=True)
class Summary:
    """The result of a run."""

    frames: int
    resumed: int
    """Frames among them that an earlier run had done."""
    repeated: int
    """Frames among them that equal the one before and cost nothing."""
    size: tuple[int, int]
    """Width and height of the output."""
    encoding: Encoding
    damaged: int
    """Packets skipped because they could not be decoded."""
    copied: list[str]
    """Streams copied as they were."""
    dropped: list[str]
    """Streams left out, and why."""


def upscale_video(
    source: str | Path,
    out: str | Path,
    upscaler: Upscaler,
    options: Options | None = None,
    *,
    target: Target | None = None,
    identity: str = "",
    overwrite: bool = False,
    progress: FrameProgress | None = None,
) -> Summary:
    """Write `source` as `out`, every frame through `upscaler`; audio, subtitles, chapters and tags are copied.

    target: any size, see upscaling.plan.make_target; twice as wide and high if None.
    Time stamps stay as they are (variable frame rates too), and so do bit depth, range, colour matrix and HDR tags. An
    interrupted run continues where it stopped if it is called again in the same way; `identity` names the model's
    weights for that purpose. Memory does not grow with the length of the video.

    Raises VideoError, and PlanError for a target out of reach, with `out` untouched.
    """
    source, out, options = Path(source), Path(out), options or Options()
    container_of(out.suffix)
    if out.exists() and (out.is_dir() or not overwrite):
        raise VideoError(f"{out} is there already: choose another name, or replace it with --overwrite")
    with Source(source) as video:
        if out.exists() and source.samefile(out):
            raise VideoError(f"{out} is the input: choose another name")
        plan = plan_video(video, out, upscaler, options, target=target, identity=identity)
        folder = work_folder(out)
        if options.restart and folder.is_dir():
            Pieces(folder, {}).remove()
        pieces = Pieces(folder, plan.job)
        resumed = pieces.frames
        _add_missing_pieces(pieces, video, plan.encoding, plan.sizing, options.deinterlace, progress)
        mux(video, out, plan.encoding, pieces, plan.report)
        summary = _summary(pieces, resumed, video.damaged, plan.encoding, plan.report)
        pieces.remove()
        return summary


@dataclass(frozen=True)
class VideoPlan:
    """The decisions about one video, made before any frame is computed."""

    sizing: Sizing
    encoding: Encoding
    report: Report
    job: dict[str, Any]
    """Everything that decides the bytes of a piece, in JSON's types."""


def plan_video(
    video: Source,
    out: Path,
    upscaler: Upscaler,
    options: Options,
    *,
    target: Target | None = None,
    identity: str = "",
) -> VideoPlan:
    """Decide how `video` becomes `out`. Raises VideoError, and PlanError for a target out of reach."""
    target = target or make_target(DEFAULT_SCALE)
    sizing = Sizing.by_target(upscaler, video.width, video.height, target, video.layout, turned=video.is_turned())
    encoding = _plan_encoding(video, out.suffix, sizing, options)
    report = check_streams(video, container_of(out.suffix), encoding, drop=options.drop)
    if video.layout.alpha and not encoding.layout.alpha:
        if not options.drop:
            raise VideoError(
                f"{encoding.codec} in {out.suffix} cannot hold the video's transparency: choose an output ending "
                "in .mov, .mkv or .webm, or --drop it"
            )
        report.dropped.append("transparency")
    job = {
        "input": file_identity(video.path),
        "encoding": asdict(encoding),
        "model": identity,
        "sizing": sizing.identity,
        "deinterlace": options.deinterlace,
        "frames": FRAMES,
    }
    return VideoPlan(sizing, encoding, report, job)


def _plan_encoding(video: Source, suffix: str, sizing: Sizing, options: Options) -> Encoding:
    width, height = sizing.plan.output
    return plan_encoding(
        video.layout,
        video.colour,
        (height, width),
        (video.time_base, video.rate),
        suffix,
        codec=options.codec,
        quality=options.quality,
        preset=options.preset,
        pixel_format=options.pixel_format,
        aspect=video.stream.sample_aspect_ratio or None,
        light=video.light(),
    )


def _summary(pieces: Pieces, resumed: int, damaged: int, encoding: Encoding, report: Report) -> Summary:
    return Summary(
        frames=pieces.frames,
        resumed=resumed,
        repeated=pieces.repeated,
        size=(encoding.width, encoding.height),
        encoding=encoding,
        damaged=damaged,
        copied=report.copied,
        dropped=report.dropped,
    )


def _add_missing_pieces(
    pieces: Pieces,
    video: Source,
    encoding: Encoding,
    sizing: Sizing,
    deinterlace: bool | None,
    progress: FrameProgress | None,
) -> None:
    """Encode the pieces that are missing."""
    total, done = video.expected_frames, pieces.frames
    if progress is not None and done:
        progress(done, max(total, done))
    frames = video.frames(pieces.last_pts, deinterlace=deinterlace)
    with closing(enlarge(frames, pieces, encoding, sizing)) as numbers:
        for number in numbers:
            if progress is not None:
                progress(done + number, max(total, done + number))
