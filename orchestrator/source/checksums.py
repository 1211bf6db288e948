"""CRC-32 of whole blocks, faster than a library that takes them byte by byte.

A CRC-32 is what is left of a text, read as a polynomial over two elements, when it is divided by a fixed one.  That
one divides x^91639 + x^41678 + 1, and so also the polynomial whose exponents are eight times these, which speaks of
bytes: a byte may be taken away if it is added (which is xor) to the bytes 49961 and 91639 places behind it.  Done
with all bytes but the last 91639, whole stretches at a time, this leaves a short text with the same remainder, and
zlib does the rest.

Appending a block to what stands before it changes the checksum by a linear function of the old one, which is the same
for every block of one size.  So the checksum of each block by itself is enough to have that of any run of blocks.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_FAR: Final = 91_639
_NEAR: Final = _FAR - 41_678
FOLDED_BYTES_MIN: Final = 4 * _FAR  # below it, little is won

_ALL_ONES: Final = 0xFFFF_FFFF  # what a CRC-32 begins with, and what its result is added to


def checksum(values: NDArray[np.uint8], room: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of a block, working in ``room`` of the same size."""
    size = len(values)
    if size < FOLDED_BYTES_MIN:
        return zlib.crc32(values.data)
    stop = size - _FAR  # the bytes before it are taken away
    np.copyto(room[:_NEAR], values[:_NEAR])
    room[:4] ^= 0xFF
    for start in range(_NEAR, size, _NEAR):
        end = min(start + _NEAR, size)
        reached = max(start, min(end, stop + _NEAR))
        np.bitwise_xor(values[start:reached], room[start - _NEAR : reached - _NEAR], out=room[start:reached])
        np.copyto(room[reached:end], values[reached:end])
        if end > _FAR:
            begin = max(start, _FAR)
            np.bitwise_xor(room[begin:end], room[begin - _FAR : end - _FAR], out=room[begin:end])
    return zlib.crc32(room[stop:size].data, _ALL_ONES)


def appended(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of two texts, one behind the other, from theirs; the second one has ``size`` bytes."""
    tables = _tables(size)
    for table in tables:
        second ^= table[first & 0xFF]
        first >>= 8
    return second


@lru_cache(maxsize=8)
def _tables(size: int) -> tuple[list[int], ...]:
    """Return what each byte of a checksum adds to the one of a text that is ``size`` bytes longer."""
    zeros = bytes(size)
    nothing = zlib.crc32(zeros)
    bits = [zlib.crc32(zeros, 1 << bit) ^ nothing for bit in range(32)]
    tables = []
    for low in range(0, 32, 8):
        table = [0]
        for bit in bits[low : low + 8]:
            table += [each ^ bit for each in table]
        tables.append(table)
    return tuple(tables)
