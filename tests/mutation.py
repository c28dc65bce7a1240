"""Damage as disks, downloads and ill will do it, reproducible by its seed."""

from __future__ import annotations

import random


def mutated(content: bytes, randomly: random.Random) -> bytes:
    """Flipped bits, a cut, a hole, or a stretch of noise, mostly where a file says what it is."""
    data, at = bytearray(content), randomly.randrange(len(content))
    match randomly.randrange(5):
        case 0:
            for _ in range(randomly.randrange(1, 20)):
                data[randomly.randrange(len(data))] ^= 1 << randomly.randrange(8)
        case 1:
            del data[at:]
        case 2:
            del data[at : at + randomly.randrange(1, 400)]
        case 3:
            for _ in range(randomly.randrange(1, 8)):
                data[randomly.randrange(min(600, len(data)))] = randomly.randrange(256)
        case _:
            data[at:at] = randomly.randbytes(randomly.randrange(1, 40))
    return bytes(data)
