"""Turn colour descriptions that are not ICC profiles (H.273 code points, PNG's gAMA and cHRM) into ICC profiles.

From reading on, `Picture.icc` alone says what colours mean. A profile made of code points keeps them in its `cicp` tag
(ICC.1:2022, 9.2.17), so that a format that writes code points gets them back.
"""

import struct
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superfine.images.profile import HEADER_BYTES


class HdrWarning(UserWarning):
    """An HDR picture (PQ, HLG) becomes one of 8 bits, which most programs show washed out."""


Primaries = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue."""

_D65: Final = (0.3127, 0.3290)
_PRIMARIES: Final[dict[int, Primaries]] = {
    1: (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # BT.709, sRGB
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 M
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.470 BG
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 170M
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 240M
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
"""H.273, table 2."""
SRGB: Final = _PRIMARIES[1]
_NAMES: Final = {1: "BT.709", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_BT709_CURVES: Final = (1, 6, 14, 15)
_UNSPECIFIED: Final = 2
_PQ, _HLG = 16, 18
_D50: Final = np.array([0.9642, 1.0, 0.8249])
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@cache
def profile_of_codes(primaries: int, transfer: int, *, gray: bool = False) -> bytes | None:
    """Make the ICC profile of H.273 code points; None for sRGB, for unspecified and for unknown ones.

    BT.709's own curve with BT.709's primaries counts as sRGB, as every viewer of pictures takes it.
    """
    primaries = 1 if primaries == _UNSPECIFIED else primaries
    transfer = 13 if transfer == _UNSPECIFIED else transfer
    curve = _curve_of_code(transfer)
    if primaries not in _PRIMARIES or curve is None or (primaries == 1 and transfer in (13, *_BT709_CURVES)):
        return None
    name = f"{_NAMES.get(primaries, f'H.273 primaries {primaries}')}, H.273 transfer {transfer}"
    codes = b"cicp" + bytes(4) + bytes([primaries, transfer, 0, 1])
    return _profile(_PRIMARIES[primaries], curve, name, gray=gray, codes=codes)


def profile_of_gamma(gamma: float | None, chromaticity: tuple[float, ...] | None, *, gray: bool) -> bytes | None:
    """Make the ICC profile of PNG's gAMA (usually 1/2.2) and cHRM (white, red, green, blue); None for sRGB."""
    place: Primaries = SRGB
    if chromaticity is not None and len(chromaticity) == 8 and min(chromaticity[1::2]) > 0:
        close = max(abs(one - other) for one, other in zip(chromaticity, SRGB, strict=True)) < 0.003
        place = SRGB if close else chromaticity
    usual = gamma is None or not 0.01 < gamma < 10 or abs(1 / gamma - 2.2) < 0.05
    if usual and (place == SRGB or gray):
        return None
    power = 2.2 if gamma is None or usual else 1 / gamma
    try:
        return _profile(place, _power(power), f"PNG gamma {power:.2f}", gray=gray)
    except np.linalg.LinAlgError:
        return None


def codes_of(icc: bytes | None) -> tuple[int, int] | None:
    """Return the code points (primaries, transfer) in a profile's cicp tag; None if it has none."""
    if icc is None or len(icc) < HEADER_BYTES + 4:
        return None
    (count,) = struct.unpack_from(">I", icc, HEADER_BYTES)
    for place in range(HEADER_BYTES + 4, min(HEADER_BYTES + 4 + 12 * min(count, 100), len(icc) - 12), 12):
        tag, start, size = struct.unpack_from(">4sII", icc, place)
        if tag == b"cicp" and size >= 12 and start + 12 <= len(icc):
            return icc[start + 8], icc[start + 9]
    return None


def described(icc: bytes | None, codes: tuple[int, int], *, gray: bool) -> bytes | None:
    """Say in one profile what a file says with a profile and code points: its profile, which counts, or that of them.

    A profile beside PQ or HLG gets the code points as its `cicp` tag, for that is how an HDR picture is known.
    """
    if not icc or codes[1] not in (_PQ, _HLG) or codes_of(icc) is not None:
        return icc or profile_of_codes(*codes, gray=gray)
    (count,) = struct.unpack_from(">I", icc, HEADER_BYTES)
    end = HEADER_BYTES + 4 + 12 * count
    if not 0 < count < 100 or end > len(icc):
        return profile_of_codes(*codes, gray=gray)
    table = bytearray(icc[HEADER_BYTES + 4 : end])
    for at in range(4, len(table), 12):  # one entry more moves all that lies behind the table
        struct.pack_into(">I", table, at, struct.unpack_from(">I", table, at)[0] + 12)
    content = icc[end:] + bytes(-len(icc) % 4)
    table += struct.pack(">4sII", b"cicp", end + 12 + len(content), 12)
    content += b"cicp" + bytes(4) + bytes([*codes, 0, 1])
    head = bytearray(icc[:HEADER_BYTES])
    struct.pack_into(">I", head, 0, end + 12 + len(content))
    head[84:100] = bytes(16)  # the profile's digest, which is optional
    return bytes(head) + struct.pack(">I", count + 1) + bytes(table) + content


def is_hdr(icc: bytes | None) -> bool:
    """Return True for a profile of PQ or HLG code points."""
    codes = codes_of(icc)
    return codes is not None and codes[1] in (_PQ, _HLG)


def nclx_codes(data: bytes) -> tuple[int, int] | None:
    """Find the code points (primaries, transfer) of the first colour box of an AVIF or HEIC file."""
    at = data.find(b"colrnclx")
    return None if at < 0 or at + 12 > len(data) else struct.unpack_from(">HH", data, at + 8)


def _curve_of_code(transfer: int) -> bytes | None:
    """Make the ICC curve (encoded value → light) of an H.273 transfer code; None for unknown ones."""
    if transfer == 13:
        return _parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    if transfer in _BT709_CURVES:
        return _parametric(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
    if transfer in (4, 5, 8, 17):
        return _power({4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}[transfer])
    steps = np.linspace(0, 1, 4096)
    if transfer == _PQ:  # SMPTE ST 2084, 1 being 10,000 cd/m²
        power = steps ** (1 / 78.84375)
        return _samples((np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125))
    if transfer == _HLG:  # ARIB STD-B67, scene light
        upper = (np.exp((steps - 0.55991073) / 0.17883277) + 0.28466892) / 12
        return _samples(np.where(steps <= 0.5, steps**2 / 3, upper))
    return None


def _power(gamma: float) -> bytes:
    return b"para" + bytes(8) + struct.pack(">i", round(gamma * 65536))


def _parametric(*values: float) -> bytes:
    return b"para" + struct.pack(">IHH", 0, 3, 0) + struct.pack(">5i", *(round(value * 65536) for value in values))


def _samples(values: NDArray[np.float64]) -> bytes:
    levels = np.rint(np.clip(values, 0, 1) * 65535).astype(">u2")
    return b"curv" + struct.pack(">II", 0, len(levels)) + levels.tobytes()


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III", 0, 1, 12) + b"enUS" + struct.pack(">II", len(data), 28) + data


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _to_xyz(place: Primaries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix RGB → XYZ and the white point, both unadapted."""
    points = np.array(place).reshape(4, 2)
    white, *columns = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in points)
    matrix = np.stack(columns, axis=1)
    return matrix * np.linalg.solve(matrix, white), white


def matrix_between(primaries: int | Primaries, others: int | Primaries) -> NDArray[np.float64]:
    """Return the matrix of linear RGB from one set of primaries (a code of H.273, or places) to another's.

    White becomes white. An unknown code counts as sRGB's.
    """
    places = [_PRIMARIES.get(each, SRGB) if isinstance(each, int) else each for each in (primaries, others)]
    one, other = (_colorants(place)[0] for place in places)
    return np.asarray(np.linalg.solve(other, one))


def _colorants(place: Primaries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the columns RGB → XYZ, adapted to D50 by Bradford, and the matrix that adapts."""
    matrix, white = _to_xyz(place)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    return adapt @ matrix, adapt


def _profile(place: Primaries, curve: bytes, name: str, *, gray: bool, codes: bytes | None = None) -> bytes:
    """Write a display profile of version 4.4 (ICC.1:2022)."""
    matrix, adapt = _colorants(place)
    numbers = struct.pack(">9i", *(round(float(value) * 65536) for value in adapt.ravel()))
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright"),
        b"wtpt": _xyz(_D50),
        b"chad": b"sf32" + bytes(4) + numbers,
    }
    if gray:
        tags[b"kTRC"] = curve
    else:
        tags |= {tag: _xyz(matrix[:, column]) for column, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    if codes is not None:
        tags[b"cicp"] = codes
    start, table, content = HEADER_BYTES + 4 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, start + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    space = b"GRAY" if gray else b"RGB "
    head = struct.pack(">I4sI4s4s4s", start + len(content), bytes(4), 0x04400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return head.ljust(HEADER_BYTES, b"\0") + struct.pack(">I", len(tags)) + table + content
