"""Share one very large picture: each part is some strips of the TIFF that one machine would have written.

A part's rows are computed with a halo around them and packed as strips; the join writes the header and copies the
strips. So the file is, byte for byte, what `superfine upscale` writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import IO

from superfine.errors import FleetError, ImageError
from superfine.fleet.orders import COMPUTE, READ, WRITE, Errand, Orders, Report
from superfine.fleet.tasks import Task
from superfine.fleet.visit import Visit
from superfine.images.alpha import UNIFORM_RADIUS
from superfine.images.bands import Band, BandedImage
from superfine.images.depth import Pixels
from superfine.images.files import write
from superfine.images.formats.tiff import PackedImage, pack_strips, strip_rows
from superfine.images.rows import FileRows, Rows, open_rows
from superfine.upscaling.batch.jobs import Job
from superfine.upscaling.batch.stages import Enlarged, Loaded, enlarge
from superfine.upscaling.plan import Target

_LEAST_HALOS = 16
"""LR rows of a part, in halos: what is computed twice stays below an eighth."""
_LENGTH = 8
"""Bytes of the length before each strip of a part."""
_STEP = 256


class RowsBetween:
    """The rows top ≤ y < bottom of a picture, as a picture of its own."""

    held = 0

    def __init__(self, rows: Rows, top: int, bottom: int) -> None:
        self._rows, self._top = rows, top
        self.head, self.neutral, self.height = rows.head, rows.neutral, bottom - top
        for row in range(0, top, _STEP):  # decoded and dropped
            rows.band(row, min(row + _STEP, top))

    def band(self, top: int, bottom: int, keep: int | None = None) -> Band:
        """Return rows, counted from the first of these."""
        return self._rows.band(self._top + top, self._top + bottom, None if keep is None else self._top + keep)

    def strips(self, tops: Sequence[int], rows: int) -> list[Pixels]:
        """Return `rows` rows from each of `tops` on, counted from the first of these."""
        return self._rows.strips([self._top + top for top in tops], rows)


def cut(errand: Errand, orders: Orders, loaded: Loaded, enlarged: Enlarged) -> tuple[Errand, ...]:
    """Cut a task into parts, if it is large enough, goes by rows and becomes a TIFF; otherwise give none."""
    image, source = enlarged.result, loaded.source
    if orders.split_from is None or errand.task.suffix not in (".tif", ".tiff"):
        return ()
    if not isinstance(image, BandedImage) or not isinstance(source, FileRows):
        return ()
    if source.head.width * source.height < orders.split_from:
        return ()
    scale = image.height // source.height
    strips = -(-image.height // strip_rows(image))
    halo = orders.upscaler.tiled(scale).engine.halo
    most = min(orders.parts, strips, source.height // max(1, _LEAST_HALOS * halo))
    if most < 2:
        return ()
    edges = [strips * number // most for number in range(most + 1)]
    return tuple(Errand(errand.task, "part", edges[number], edges[number + 1], number, most) for number in range(most))


def part(visit: Visit) -> Report:
    """Compute and pack some strips."""
    errand, orders, place = visit.errand, visit.orders, place_of_part(visit.errand)
    if orders.scratch.holds(place):  # made before an interruption
        return visit.report()
    rows, image, scale = _opened(visit)
    packed_rows = strip_rows(image)
    first, last = errand.first * packed_rows, min(errand.last * packed_rows, image.height)  # rows of the result
    low, high = first // scale, -(-last // scale)
    engine = orders.upscaler.tiled(scale).engine
    margin = max(engine.halo, UNIFORM_RADIUS)
    top = max(0, low - margin) // engine.grid * engine.grid
    local = visit.station.scratch / place.replace("/", "-")

    def work() -> None:
        some = RowsBetween(rows, top, min(rows.height, high + margin))
        found = orders.upscaler.upscale_rows(some, Target(scale=Fraction(scale)))
        assert found is not None and found[1].passes == (scale,)  # as the whole
        wanted = _between(found[0].bands, first - top * scale, last - top * scale)
        with visit.clock(COMPUTE), local.open("wb") as file:
            for strip in pack_strips(wanted, packed_rows):
                put_block(file, strip)

    visit.station.compute(work)
    with visit.clock(WRITE):
        orders.scratch.put(local, place)
    return visit.report()


def join(visit: Visit) -> Report:
    """Write the TIFF from its parts, in memory that does not grow with it."""
    rows, image, _ = _opened(visit)
    packed = PackedImage(image.head, image.height, (), blocks(visit))
    target = visit.target()
    target.parent.mkdir(parents=True, exist_ok=True)
    with visit.clock(WRITE):
        write(packed, target)
    report = visit.deliver(target, before=(rows.head.width, rows.height), after=(image.width, image.height))
    visit.orders.scratch.remove(folder_of_parts(visit.task))
    return report


def _opened(visit: Visit) -> tuple[FileRows, BandedImage, int]:
    """Open the source by rows, and plan its whole result, of which no row is computed yet."""
    orders = visit.orders
    job = Job(visit.source(), visit.target())
    with visit.clock(READ):
        rows = open_rows(visit.source(), max_pixels=orders.settings.max_pixels)
    if rows is None:
        raise ImageError(f"{visit.task.name} has changed since it was cut into parts")

    def plan() -> object:
        return enlarge(
            job, Loaded(rows, None, 0.0), orders.upscaler, orders.target, orders.settings, lambda share: None
        )

    planned = visit.station.compute(plan)
    if not isinstance(planned, Enlarged) or not isinstance(planned.result, BandedImage):
        raise getattr(planned, "error", None) or ImageError(f"{visit.task.name} does not go by rows")
    return rows, planned.result, planned.passes[0]


def _between(bands: Iterable[Band], first: int, last: int) -> Iterator[Band]:
    """Keep rows first ≤ y < last."""
    top = 0
    for pixels, alpha in bands:
        rows = slice(max(0, first - top), max(0, last - top))
        top += len(pixels)
        kept = pixels[rows]
        if len(kept):
            yield kept, None if alpha is None else alpha[rows]
        if top >= last:
            return


def put_block(file: IO[bytes], block: bytes) -> None:
    """Append a block to the file of a part."""
    file.write(len(block).to_bytes(_LENGTH, "little") + block)


def blocks(visit: Visit) -> Iterator[bytes]:
    """Yield the blocks of all parts of a task in order; one part at a time is copied to this machine."""
    store = visit.orders.scratch
    for number in range(visit.errand.count):
        place = place_of_part(replace(visit.errand, number=number))
        local = store.fetch(place, visit.station.scratch)
        try:
            with local.open("rb") as file:
                while head := file.read(_LENGTH):
                    length = int.from_bytes(head, "little")
                    block = file.read(length)
                    if len(block) != length:
                        raise FleetError(f"{store.full(place)} is cut short: delete it, and --resume makes it again")
                    yield block
        finally:
            if store.folder is None:
                local.unlink()


def folder_of_parts(task: Task) -> str:
    """Name the folder of a task's parts."""
    return hashlib.sha256(f"{task.name}\n{task.target}\n{task.version}".encode()).hexdigest()[:16]


def place_of_part(errand: Errand) -> str:
    """Name the file of one part; parts of another cut have other names."""
    return f"{folder_of_parts(errand.task)}/{errand.number:05d}-of-{errand.count:05d}"
