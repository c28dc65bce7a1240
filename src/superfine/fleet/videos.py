"""Share one video: each part is some of the pieces that `superfine video` would have encoded.

A piece has its own encoder and begins with a key frame, so parts are joined without a seam. A worker seeks to the key
frame of the source before its first frame. Sound and all other streams are copied by the join.
"""

from __future__ import annotations

import shutil
from itertools import takewhile
from pathlib import Path

from superfine.fleet.orders import COMPUTE, WRITE, Errand, Report
from superfine.fleet.strips import blocks, folder_of_parts, place_of_part, put_block
from superfine.fleet.visit import Visit
from superfine.video import Options, Summary, upscale_video
from superfine.video.pieces import FRAMES, Pieces, work_folder
from superfine.video.pipeline import enlarge
from superfine.video.run import VideoPlan, plan_video
from superfine.video.source import Source, packets_of

_OPTIONS = Options()
_NO_END = 2**62
"""A time stamp beyond every video's end."""


def whole(visit: Visit) -> Report:
    """Enlarge a short video, or say into which parts a longer one is to be cut."""
    orders, errand = visit.orders, visit.errand
    with Source(visit.source()) as video:
        _planned(visit, video, visit.target())  # what cannot be done is found out now
        stamps = _time_stamps(video)
    pieces = -(-len(stamps) // FRAMES)
    most = min(orders.parts, pieces) if orders.split_from is not None else 1
    if most > 1:
        edges = [pieces * number // most for number in range(1, most)]
        ends = [stamps[edge * FRAMES - 1] for edge in edges]
        spans = zip([-_NO_END, *ends], [*ends, _NO_END], strict=True)
        return visit.report(
            parts=tuple(Errand(errand.task, "part", *span, number, most) for number, span in enumerate(spans))
        )
    return _finished(visit)


def part(visit: Visit) -> Report:
    """Enlarge and encode some pieces."""
    errand, orders, place = visit.errand, visit.orders, place_of_part(visit.errand)
    if orders.scratch.holds(place):  # made before an interruption
        return visit.report()
    folder = visit.station.scratch / place.replace("/", "-")
    local = folder.with_suffix(".part")
    with Source(visit.source()) as video:
        plan = _planned(visit, video, visit.target())
        after = None if errand.first == -_NO_END else errand.first
        pieces = Pieces(folder, plan.job)
        frames = takewhile(lambda frame: frame.pts <= errand.last, video.frames(after))

        def work() -> None:
            with visit.clock(COMPUTE):
                for _ in enlarge(frames, pieces, plan.encoding, plan.sizing):
                    pass

        visit.station.compute(work)
    with visit.clock(WRITE):
        with local.open("wb") as file:
            for name in sorted(folder.glob("*.piece")):
                put_block(file, name.read_bytes())
        shutil.rmtree(folder)
        orders.scratch.put(local, place)
    return visit.report()


def join(visit: Visit) -> Report:
    """Put the pieces of all parts where a run that was interrupted would have left them, and go on with it."""
    target = visit.target()
    target.parent.mkdir(parents=True, exist_ok=True)
    with Source(visit.source()) as video:
        plan = _planned(visit, video, target)
    folder = work_folder(target)
    Pieces(folder, plan.job)
    for number, piece in enumerate(blocks(visit)):
        (folder / f"{number:06d}.piece").write_bytes(piece)
    report = _finished(visit)
    visit.orders.scratch.remove(folder_of_parts(visit.task))
    return report


def _finished(visit: Visit) -> Report:
    """Make the result, from the pieces there are, and deliver it."""
    orders, source, target = visit.orders, visit.source(), visit.target()
    target.parent.mkdir(parents=True, exist_ok=True)

    def work() -> Summary:
        with visit.clock(COMPUTE):
            return upscale_video(
                source,
                target,
                orders.upscaler,
                _OPTIONS,
                target=orders.target,
                identity=orders.upscaler.digest,
                overwrite=True,
            )

    summary = visit.station.compute(work)
    with Source(source) as video:
        before = video.width, video.height
    return visit.deliver(target, before=before, after=summary.size, frames=summary.frames)


def _planned(visit: Visit, video: Source, target: Path) -> VideoPlan:
    """Plan a video; networks are opened by it."""
    orders = visit.orders
    return visit.station.compute(
        lambda: plan_video(
            video, target, orders.upscaler, _OPTIONS, target=orders.target, identity=orders.upscaler.digest
        )
    )


def _time_stamps(video: Source) -> list[int]:
    """Return the time stamps of all frames in order, without decoding; none if a packet lacks its own."""
    packets = [packet for packet in packets_of(video.container, video.stream) if packet.size]
    stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
    return stamps if len(stamps) == len(packets) else []
