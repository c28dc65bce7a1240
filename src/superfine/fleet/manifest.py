"""Record in Parquet what a fleet has done: a row for each source, whose key is the place of its result.

Rows are written in small parts, each a whole file or not there, and parts are merged as they become many. Only the
process that hands out the work writes here. A row is written after its result is in place, so a row is a promise; a
result without a row is made again, to the same bytes.
"""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

import pyarrow as pa
import pyarrow.parquet as pq

from superfine.errors import FleetError, PlanError
from superfine.fleet.store import Store
from superfine.upscaling.batch.journal import settings_differ

WHOLE = "manifest.parquet"
"""The name that the manifest has when a run is over."""

DONE, FAILED, SET_ASIDE, REFUSED = "done", "failed", "set aside", "refused"
"""States of a row. Set aside: its worker died twice. Refused: a file that is not ours has the name of the result."""

_SETTINGS = b"superfine.settings"
_MOST_ROWS = 500
_MOST_SECONDS = 2.0
"""A part is written after so many rows or seconds: what a killed driver has to do again."""
_MOST_PARTS = 32
"""So many parts of a level become one of the next."""


@dataclass(frozen=True)
class Row:
    """The outcome of one source, as the manifest keeps it."""

    target: str
    """The place of the result below the output; the key."""
    source: str
    state: str
    """DONE, FAILED, SET_ASIDE or REFUSED."""
    error: str = ""
    source_version: str = ""
    source_bytes: int = 0
    source_sha256: str = ""
    source_width: int = 0
    source_height: int = 0
    target_bytes: int = 0
    target_sha256: str = ""
    target_width: int = 0
    target_height: int = 0
    frames: int = 1
    parts: int = 1
    """Workers' errands that it was split into."""
    model: str = ""
    weights: str = ""
    """SHA-256 of the weights."""
    seconds: float = 0.0
    """Of work on it, in all stages."""
    host: str = ""
    finished: float = 0.0
    """Seconds since 1970."""


_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
_SCHEMA = pa.schema([(field.name, _TYPES[str(field.type)]) for field in fields(Row)])


@dataclass(frozen=True)
class Known:
    """The part of a row that a resumed run needs."""

    state: str
    source_version: str
    target_bytes: int


class Manifest:
    """The manifest in a folder of a store.

    settings: everything that changes a result. resume: go on with the manifest that is there, if there is one;
    restart: begin a new one in its place.

    Raises PlanError if one is there and is not to be resumed, or was made with other settings; FleetError if it is
    damaged or the store refuses.
    """

    def __init__(self, store: Store, settings: Mapping[str, str], *, resume: bool, restart: bool = False) -> None:
        self._store = store
        self._schema = _SCHEMA.with_metadata({_SETTINGS: json.dumps(dict(settings)).encode()})
        self._rows: list[Row] = []
        self._flushed = time.monotonic()
        self._levels: dict[int, list[str]] = {}
        self.known: dict[str, Known] = {}
        """target → what an earlier run has made of it."""
        self._whole = False
        old = sorted(entry.place for entry in store.entries() if entry.place.endswith(".parquet"))
        self.resumed = bool(old) and not (restart and not resume)
        if self.resumed and not resume:
            raise PlanError(
                f"an earlier run's manifest is in {store.address}: pass --resume to do what is new or has failed, "
                "or --overwrite to start again"
            )
        if self.resumed:
            self._recall(old, dict(settings))
        else:
            for name in old:
                store.remove(name)
            self._put(0, _SCHEMA.empty_table())  # finds out at once if the store can be written

    def add(self, row: Row) -> None:
        """Note what became of a source. The row is in the store within _MOST_SECONDS, if rows keep coming."""
        self._rows.append(row)
        if len(self._rows) >= _MOST_ROWS or time.monotonic() - self._flushed > _MOST_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are still in memory."""
        if self._rows:
            self._put(0, pa.Table.from_pylist([asdict(row) for row in self._rows], _SCHEMA))
            self._rows.clear()
            self._merge_levels()
        self._flushed = time.monotonic()

    def finish(self) -> None:
        """Make one file of all parts."""
        self.flush()
        names = [name for level in self._levels.values() for name in level]
        if not names and self._whole:
            return
        table = self._read([*([WHOLE] if self._whole else []), *names])
        self._store.write(WHOLE, _packed(_latest(table).cast(self._schema)))
        for name in names:
            self._store.remove(name)
        self._levels.clear()
        self._whole = True

    def _recall(self, names: list[str], settings: dict[str, str]) -> None:
        self._whole = WHOLE in names
        for name in names:
            if name != WHOLE:
                self._levels.setdefault(int(name.split("-")[1]), []).append(name)
        ordered = [*([WHOLE] if self._whole else []), *(n for n in names if n != WHOLE)]
        table = _latest(self._read(ordered, settings))
        columns = (table[name].to_pylist() for name in ("target", "state", "source_version", "target_bytes"))
        for target, state, version, size in zip(*columns, strict=True):
            self.known[target] = Known(state, version, size)

    def _merge_levels(self) -> None:
        for level in sorted(self._levels):
            names = self._levels[level]
            if len(names) >= _MOST_PARTS:
                table = self._read(names)
                self._put(level + 1, table)
                for name in names:
                    self._store.remove(name)
                self._levels[level] = []

    def _put(self, level: int, table: pa.Table) -> None:
        """Write a part; the names of later ones are greater."""
        name = f"part-{level}-{time.time_ns():020d}-{secrets.token_hex(3)}.parquet"
        self._store.write(name, _packed(table.cast(self._schema)))
        self._levels.setdefault(level, []).append(name)

    def _read(self, names: Iterable[str], settings: dict[str, str] | None = None) -> pa.Table:
        """Read parts. Raises FleetError if one is damaged, PlanError if its settings are others than these."""
        tables = []
        for name in names:
            content = self._store.read(name)
            try:
                table = pq.read_table(io.BytesIO(content))
                made_with = json.loads((table.schema.metadata or {})[_SETTINGS])
                table = table.select(_SCHEMA.names).cast(_SCHEMA)
            except (pa.ArrowException, OSError, KeyError, ValueError) as error:
                raise FleetError(
                    f"the manifest is damaged: {self._store.full(name)} is cut short or not ours "
                    f"({' '.join(str(error).split())[:80]}); move that file away, and --resume does its pictures again"
                ) from error
            if settings is not None and made_with != settings:
                raise PlanError(settings_differ(self._store.address, made_with, settings))
            tables.append(table)
        return pa.concat_tables(tables) if tables else _SCHEMA.empty_table()


def read_manifest(store: Store) -> pa.Table:
    """Read the rows of all parts in a store, the latest of each target. Raises FleetError."""
    reader = Manifest.__new__(Manifest)
    reader._store = store
    names = sorted(entry.place for entry in store.entries() if entry.place.endswith(".parquet"))
    return _latest(reader._read(names))


def _latest(table: pa.Table) -> pa.Table:
    """Keep the latest row of each target, in order of the targets."""
    if not len(table):
        return table
    numbers: dict[str, int] = {}
    finished = table["finished"].to_pylist()
    for number, target in enumerate(table["target"].to_pylist()):
        if target not in numbers or finished[number] >= finished[numbers[target]]:
            numbers[target] = number
    return table.take([numbers[target] for target in sorted(numbers)])


def _packed(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()
