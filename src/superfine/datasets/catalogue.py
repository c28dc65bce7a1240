"""Read the catalogue of public data sets from the package's TOML file or the user's own."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from superfine.errors import DataError


@dataclass(frozen=True)
class RemoteFile:
    """One archive of a data set."""

    part: str  # what `superfine data fetch --part` calls it
    url: str
    bytes: int | None = None  # length, where it is known
    sha256: str | None = None  # of the archive, where one is published
    strip: bool = False  # drop the folder all its members lie in
    optional: bool = False  # fetched only when its part is asked for

    @property
    def name(self) -> str:
        """Name of the file at its address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class DataSet:
    """A data set with its addresses, terms and the hashes that verify a copy."""

    name: str
    title: str
    homepage: str
    terms: str
    pictures: int
    files: tuple[RemoteFile, ...] = ()
    pixels: dict[int, str] | None = None  # scale → SHA-256 over the pairs, as SetRecord.sha256
    on_request: str = ""  # why it cannot be fetched, and what to do instead

    def chosen(self, parts: Sequence[str]) -> list[RemoteFile]:
        """Return the files of those parts; without parts, all that are not optional. Raises DataError if unknown."""
        have = [file.part for file in self.files]
        for part in parts:
            if part not in have:
                raise DataError(f"{self.name} has no part {part!r}; it has {', '.join(have)}")
        return [file for file in self.files if (file.part in parts if parts else not file.optional)]


def catalogue(path: Path | None = None) -> list[DataSet]:
    """Read every data set of a catalogue file; None is the package's own.

    Raises:
        DataError: no such file, or a file that is not a catalogue.
    """
    try:
        source = resources.files(__name__.rpartition(".")[0]) / "catalogue.toml" if path is None else path
        raw = tomllib.loads(source.read_text(encoding="utf-8"))
        return [_data_set(name, fields) for name, fields in raw.items()]
    except OSError as error:
        raise DataError(f"cannot read the catalogue {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise DataError(
            f"{path} is not a catalogue of data sets ({error}); see datasets/catalogue.toml for one"
        ) from error


def _data_set(name: str, fields: dict[str, Any]) -> DataSet:
    """Build a data set from its table in the catalogue."""
    files = tuple(RemoteFile(**file) for file in fields.pop("files", []))
    pixels = {int(scale[1:]): digest for scale, digest in fields.pop("pixels", {}).items()}
    if any(file.url.partition("://")[0] not in ("http", "https") for file in files):
        raise ValueError(f"{name}: addresses begin with http:// or https://")
    return DataSet(name=name, files=files, pixels=pixels or None, **fields)


def dataset_named(name: str, path: Path | None = None) -> DataSet:
    """Find a data set by name, in upper or lower case. Raises DataError with the known names."""
    sets = catalogue(path)
    wanted = {"bsd100": "b100", "bsds100": "b100"}.get(name.lower(), name.lower())
    for each in sets:
        if each.name.lower() == wanted:
            return each
    raise DataError(f"no data set {name!r} in the catalogue; it has {', '.join(each.name for each in sets)}")
