"""Deflating what PNG and TIFF hold, as fast as their bytes can be had.

Intel's ISA-L packs a photograph's differences four times as fast as zlib's quickest setting, into fewer bytes (a
picture of 8 megapixels after the Paeth filter: 0.04 s and 7.3 MB against 0.19 s and 11.5 MB). Where no wheel of it
exists zlib does the work: run lengths alone (Z_RLE) for photographs, which repay no search, and a search for
graphics, which do; a sample decides.
"""

import zlib
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

try:
    from isal import isal_zlib
except ImportError:  # a processor or system without a wheel
    isal_zlib = None  # type: ignore[assignment]

RAW: Final = -15
WRAPPED: Final = 15
"""Window bits: blocks alone, or in zlib's header and checksum."""

WORTH_IT: Final = 0.85
"""A search is worth its time where it gets below this share of the size without."""

_ISAL_LEVEL: Final = 2  # of 0 to 3; the last takes several times as long on graphics and gains nothing
_MOST_MEMORY: Final = 9


class Packer(Protocol):
    """zlib's compressing object, and ISA-L's."""

    def compress(self, data: bytes | memoryview, /) -> bytes: ...
    def flush(self, mode: int = zlib.Z_FINISH, /) -> bytes: ...


class Effort(Enum):
    """How bytes are packed; the values are level and strategy of zlib."""

    ISAL = (_ISAL_LEVEL, zlib.Z_DEFAULT_STRATEGY)
    FAST = (1, zlib.Z_RLE)
    THOROUGH = (4, zlib.Z_DEFAULT_STRATEGY)

    def packer(self, window: int) -> Packer:
        """A packer with RAW or WRAPPED window bits."""
        level, strategy = self.value
        if self is Effort.ISAL:
            packer: Packer = isal_zlib.compressobj(level, zlib.DEFLATED, window)
            return packer
        return zlib.compressobj(level, zlib.DEFLATED, window, _MOST_MEMORY, strategy)


def choose_effort(sample: Callable[[], bytes | memoryview]) -> Effort:
    """The effort that pays; `sample` gives some of the bytes, and is asked only where it matters."""
    if isal_zlib is not None:
        return Effort.ISAL
    data = sample()
    fast, thorough = (len(deflated(data, effort, RAW)) for effort in (Effort.FAST, Effort.THOROUGH))
    return Effort.THOROUGH if thorough < WORTH_IT * fast else Effort.FAST


def deflated(data: bytes | memoryview, effort: Effort, window: int) -> bytes:
    """All of it at once."""
    packer = effort.packer(window)
    return packer.compress(data) + packer.flush()
