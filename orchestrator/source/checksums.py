"""CRC-32 as zlib has it, at ten times the speed.

ISA-L leaves the wide registers of some processors in a state in which older instructions, and numpy has some, take
five times as long until a newer one cleans up.  One of numpy's that are made for new processors does.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from isal.isal_zlib import crc32, crc32_combine

_A_REGISTER: Final = np.zeros(64, np.uint8)


def checksum(data: bytes | memoryview, before: int = 0) -> int:
    """Return the CRC-32 of bytes behind others that have the checksum ``before``."""
    value = crc32(data, before)
    _A_REGISTER.max()
    return value


def appended(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of two texts, one behind the other, from theirs; the second one has ``size`` bytes."""
    return crc32_combine(first, second, size)
