"""Share one video: each part is some of the pieces that `superfine video` would have encoded.

A piece has its own encoder and begins with a key frame, so parts are joined without a seam. A worker seeks to the key
frame of the source before its first frame. Sound and all other streams are copied by the join.
"""

from __future__ import annotations

import shutil
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from superfine.fleet.orders import COMPUTE, WRITE, Errand, Report
from superfine.fleet.strips import blocks, folder_of_parts, place_of_part, put_block
from superfine.video import Options, Summary, upscale_video
from superfine.video.pieces import FRAMES, Pieces, work_folder
from superfine.video.pipeline import enlarge
from superfine.video.run import VideoPlan, plan_video
from superfine.video.source import Source, packets_of

if TYPE_CHECKING:
    from superfine.fleet.worker import Visit, Worker

_OPTIONS = Options()
_NO_END = 2**62
"""A time stamp beyond every video's end."""


def whole(worker: Worker, errand: Errand, visit: Visit) -> Report:
    """Enlarge a short video, or say into which parts a longer one is to be cut."""
    orders = worker.orders
    with Source(visit.source()) as video:
        _planned(worker, video, visit.target())  # what cannot be done is found out now
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
    return _finished(worker, errand, visit)


def part(worker: Worker, errand: Errand, visit: Visit) -> Report:
    """Enlarge and encode some pieces."""
    orders, place = worker.orders, place_of_part(errand)
    if orders.scratch.holds(place):  # made before an interruption
        return visit.report()
    folder = worker.scratch / place.replace("/", "-")
    local = folder.with_suffix(".part")
    with Source(visit.source()) as video:
        plan = _planned(worker, video, visit.target())
        after = None if errand.first == -_NO_END else errand.first
        pieces = Pieces(folder, plan.job)
        frames = takewhile(lambda frame: frame.pts <= errand.last, video.frames(after))

        def work() -> None:
            with visit.clock(COMPUTE):
                for _ in enlarge(frames, pieces, plan.encoding, plan.sizing):
                    pass

        worker.compute(work)
    with visit.clock(WRITE):
        with local.open("wb") as file:
            for name in sorted(folder.glob("*.piece")):
                put_block(file, name.read_bytes())
        shutil.rmtree(folder)
        orders.scratch.put(local, place)
    return visit.report()


def join(worker: Worker, errand: Errand, visit: Visit) -> Report:
    """Put the pieces of all parts where a run that was interrupted would have left them, and go on with it."""
    target = visit.target()
    target.parent.mkdir(parents=True, exist_ok=True)
    with Source(visit.source()) as video:
        plan = _planned(worker, video, target)
    folder = work_folder(target)
    Pieces(folder, plan.job)
    for number, piece in enumerate(blocks(worker, errand)):
        (folder / f"{number:06d}.piece").write_bytes(piece)
    report = _finished(worker, errand, visit)
    worker.orders.scratch.remove(folder_of_parts(errand.task))
    return report


def _finished(worker: Worker, errand: Errand, visit: Visit) -> Report:
    """Make the result, from the pieces there are, and deliver it."""
    orders, source, target = worker.orders, visit.source(), visit.target()
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

    summary = worker.compute(work)
    with Source(source) as video:
        before = video.width, video.height
    return visit.deliver(target, before=before, after=summary.size, frames=summary.frames)


def _planned(worker: Worker, video: Source, target: Path) -> VideoPlan:
    """Plan a video; networks are opened by it."""
    orders = worker.orders
    return worker.compute(
        lambda: plan_video(
            video, target, orders.upscaler, _OPTIONS, target=orders.target, identity=orders.upscaler.digest
        )
    )


def _time_stamps(video: Source) -> list[int]:
    """Return the time stamps of all frames in order, without decoding; none if a packet lacks its own."""
    packets = [packet for packet in packets_of(video.container, video.stream) if packet.size]
    stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
    return stamps if len(stamps) == len(packets) else []
