"""Find benchmark sets on disk and pair originals with small pictures, in the layouts people really have.

SRF       Set5/x2/img_001_SRF_2_HR.png  Set5/x2/img_001_SRF_2_LR.png  (or Set5/image_SRF_2/...)
BasicSR   Set5/GTmod12/baby.png         Set5/LRbicx2/baby.png
DIV2K     DIV2K_valid_HR/0801.png       DIV2K_valid_LR_bicubic/X2/0801x2.png
HR only   Kodak24/kodim01.png           (LR made by the bit-exact bicubic)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from superfine import images
from superfine.errors import DataError, ImageError
from superfine.images import SUFFIXES
from superfine.images.resize import crop_to_multiple, downscale

Layout = Literal["SRF", "BasicSR", "DIV2K", "HR only"]


_SRF = ("x", "image_SRF_")
"""Names of a scale's folder, without the number: most people's, and that of the sets' official archives."""


@dataclass(frozen=True)
class Case:
    """One original and its low-resolution file; `lr` is None where it has to be made."""

    name: str
    hr: Path
    lr: Path | None


@dataclass(frozen=True)
class BenchmarkSet:
    """The cases of one set at one scale, sorted by name."""

    name: str
    folder: Path
    layout: Layout
    scale: int
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Pair:
    """The pixels of one case: `hr` (H, W, 3), `lr` (H / scale, W / scale, 3), both uint8 RGB."""

    name: str
    hr: NDArray[np.uint8]
    lr: NDArray[np.uint8]
    gray: bool  # the files are gray, opened as RGB


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _matched(originals: Iterable[Path], small: dict[str, Path], names: dict[str, str], where: str) -> tuple[Case, ...]:
    """Pair each original with the low-resolution file of its name; raise DataError for a missing or unused one."""
    cases, used = [], set()
    for path in originals:
        small_name = names[path.stem]
        if small_name not in small:
            raise DataError(
                f"{where}: {path.name} has no low-resolution file {small_name}.*; add it or remove the original"
            )
        used.add(small_name)
        cases.append(Case(path.stem, path, small[small_name]))
    if unused := sorted(set(small) - used):
        raise DataError(f"{where}: {small[unused[0]].name} has no original; add it or remove the low-resolution file")
    return tuple(cases)


def _srf(folder: Path, scale: int) -> tuple[Case, ...]:
    inside = next((path for prefix in _SRF if (path := folder / f"{prefix}{scale}").is_dir()), folder)
    files = _pictures(inside)
    large = [path for path in files if path.stem.endswith("_HR")]
    small = {path.stem: path for path in files if path.stem.endswith("_LR")}
    cases = _matched(large, small, {path.stem: path.stem[:-3] + "_LR" for path in large}, str(inside))
    return tuple(Case(case.name[:-3].removesuffix(f"_SRF_{scale}"), case.hr, case.lr) for case in cases)


def _basicsr(folder: Path, scale: int) -> tuple[Case, ...]:
    large = _pictures(folder / "GTmod12")
    small = {path.stem: path for path in _pictures(folder / f"LRbicx{scale}")}
    # Some copies call the small file baby.png, some babyx2.png.
    names = {path.stem: path.stem if path.stem in small else f"{path.stem}x{scale}" for path in large}
    return _matched(large, small, names, str(folder))


def _div2k(large_folder: Path, small_folder: Path, scale: int) -> tuple[Case, ...]:
    large = _pictures(large_folder)
    small = {path.stem: path for path in _pictures(small_folder)}
    return _matched(large, small, {path.stem: f"{path.stem}x{scale}" for path in large}, str(small_folder))


def _div2k_folders(folder: Path) -> tuple[Path, Path] | None:
    """Find DIV2K_valid_HR and DIV2K_valid_LR_bicubic, given the first or the folder of both (validation preferred).

    Any folder with its small pictures beside it counts, as `superfine data prepare` makes them.
    """
    inside = sorted(folder.glob("*_HR"), key=lambda path: ("valid" not in path.name, path.name))
    for large in [folder.resolve(), *inside]:
        small = large.with_name(large.name.removesuffix("_HR") + "_LR_bicubic")
        if large.is_dir() and small.is_dir():
            return large, small
    return None


def find_set(folder: Path, scale: int) -> BenchmarkSet:
    """Find the set in `folder` at `scale` and recognise its layout.

    Raises:
        DataError: no such folder, no pictures, no such scale, or originals and small pictures that do not pair up.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; give the folder of a benchmark set")
    layout, have = layout_of(folder)
    if layout == "HR only":
        have = [scale]
    if scale not in have:
        raise DataError(
            f"{folder} has no x{scale}; it has {', '.join(f'x{each}' for each in have) or 'no scale at all'}"
        )
    cases = _cases(folder, layout, scale)
    if not cases:
        raise DataError(f"{folder} holds no pictures; expected {', '.join(SUFFIXES)} files")
    return BenchmarkSet(folder.resolve().name, folder, layout, scale, cases)


def layout_of(folder: Path) -> tuple[Layout, list[int]]:
    """Recognise the layout of a folder, and list the scales it has LR files for."""
    if have := _srf_scales(folder):
        return "SRF", have
    if (folder / "GTmod12").is_dir():
        return "BasicSR", _scales(folder, "LRbicx")
    if folders := _div2k_folders(folder):
        return "DIV2K", _scales(folders[1], "X")
    return "HR only", []


def _cases(folder: Path, layout: Layout, scale: int) -> tuple[Case, ...]:
    if layout == "SRF":
        return _srf(folder, scale)
    if layout == "BasicSR":
        return _basicsr(folder, scale)
    if layout == "DIV2K" and (folders := _div2k_folders(folder)):
        return _div2k(folders[0], folders[1] / f"X{scale}", scale)
    return _originals(folder)


def _originals(folder: Path) -> tuple[Case, ...]:
    files = _pictures(folder / "HR" if (folder / "HR").is_dir() else folder)
    # One scale of an SRF set: its small pictures would be taken for originals.
    if {"_HR", "_LR"} <= {path.stem[-3:] for path in files}:
        raise DataError(f"{folder} is one scale of a set; give the folder above it, {folder.resolve().parent}")
    return tuple(Case(path.stem, path, None) for path in files)


def _srf_scales(folder: Path) -> list[int]:
    return sorted({scale for prefix in _SRF for scale in _scales(folder, prefix)})


def _scales(folder: Path, prefix: str) -> list[int]:
    found = (path.name.removeprefix(prefix) for path in folder.glob(f"{prefix}*") if path.is_dir())
    return sorted(int(number) for number in found if number.isdigit())


def expand(folders: Iterable[Path]) -> list[Path]:
    """List each folder that is a set, and the sets inside each folder that only holds sets."""
    sets: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"no folder {folder}; give the folder of a benchmark set, or of several")
        inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
        sets.extend([folder] if _is_set(folder) else [path for path in inside if _is_set(path)] or [folder])
    return sets


def _is_set(folder: Path) -> bool:
    layouts = _srf_scales(folder) or (folder / "GTmod12").is_dir() or _div2k_folders(folder)
    return bool(layouts or _pictures(folder) or _pictures(folder / "HR"))


def load(case: Case, scale: int, layout: Layout) -> Pair:
    """Read one case.

    The original is cut to the multiple of the scale that its small picture shows, except in the SRF
    layout, whose originals are cut already.

    Raises:
        DataError: unreadable, 16-bit or transparent pictures; one gray and the other not; sizes that do not match.
    """
    hr, hr_gray = read_rgb(case.hr)
    if case.lr is None:
        hr = crop_to_multiple(hr, scale)
        if min(hr.shape[:2]) < scale:
            raise DataError(f"{case.hr.name} is too small to be shrunk {scale} times")
        return Pair(case.name, hr, downscale(hr, scale), hr_gray)
    lr, lr_gray = read_rgb(case.lr)
    if hr_gray != lr_gray:
        modes = ("gray" if hr_gray else "RGB", "gray" if lr_gray else "RGB")
        raise DataError(f"{case.hr.name} is {modes[0]} but {case.lr.name} is {modes[1]}; save both in one mode")
    height, width = lr.shape[0] * scale, lr.shape[1] * scale
    spare = (hr.shape[0] - height, hr.shape[1] - width)
    if any(s < 0 or s >= (1 if layout == "SRF" else scale) for s in spare):
        sizes = f"{case.hr.name} is {hr.shape[1]}x{hr.shape[0]} and {case.lr.name} {lr.shape[1]}x{lr.shape[0]}"
        raise DataError(f"{sizes}; at x{scale} the original must be {width}x{height}")
    return Pair(case.name, hr[:height, :width], lr, hr_gray)


def pairs(chosen: BenchmarkSet, *, skip_broken: bool = False, left_out: list[str] | None = None) -> Iterator[Pair]:
    """Read every case of a set, one at a time.

    Args:
        chosen: the set.
        skip_broken: go on past a case that cannot be used, and append its reason to `left_out`.
        left_out: where the reasons go.

    Raises:
        DataError: the first case that cannot be used, unless `skip_broken`.
    """
    for case in chosen.cases:
        try:
            yield load(case, chosen.scale, chosen.layout)
        except (DataError, ImageError) as error:
            if not skip_broken:
                raise DataError(f"{error} (or measure without it: --skip-broken)") from error
            if left_out is not None:
                left_out.append(str(error))


def pixel_hash(pixels: NDArray[np.uint8]) -> str:
    """Hash shape and pixels by SHA-256, so that a copy compressed differently counts as the same data."""
    return hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def read_rgb(path: Path) -> tuple[NDArray[np.uint8], bool]:
    """Read a picture as (H, W, 3) uint8 RGB; the second value is True where its file is gray.

    Raises:
        DataError: a picture of more than 8 bits, or with transparent pixels.
        ImageError: a file that cannot be read.
    """
    picture = images.read(path)
    if picture.pixels.dtype != np.uint8:
        kind = "16-bit" if picture.pixels.dtype == np.uint16 else "floating-point"
        raise DataError(f"{path} is a {kind} picture; protocols are defined on 8 bits, so convert it first")
    if picture.alpha is not None and int(picture.alpha.min()) < 255:
        raise DataError(f"{path} has transparent pixels, which no protocol compares; flatten it first")
    gray = picture.is_gray
    return np.repeat(picture.pixels, 3, axis=2) if gray else picture.pixels, gray
