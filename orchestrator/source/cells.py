"""Whether every row has as many cells as the header, told without taking records apart.

Rows that are right are the rule, so first it is only shown that all of a block are: one number for each word of the
masks says how many delimiters the record under way has had before it, and at each record's end there must have been
exactly one less than there are columns.  Only a block that fails is looked at record by record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.source.bits import Words, offsets, running_xor
from orchestrator.source.masks import Scan

_ONE = np.uint64(1)
ENDS_IN_WORD_MAX: Final = 8  # with more, looking at every record is as fast


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """Rows of one block that have too few cells, or too many."""

    count: int
    starts_behind: int | None  # the offset of the record end before the first one, None if that is in an earlier block


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviations:
    """What is wrong with the rows of one block."""

    missing: Deviation | None
    left_over: Deviation | None


class CellCount:
    """Compares the rows of one file with its header, block by block."""

    def __init__(self, columns: int) -> None:
        """Expect so many cells."""
        self._delimiters = columns - 1  # of a row
        self._before = 0  # delimiters in the record under way, in the blocks before

    def check(self, seen: Scan, blanks: Words) -> Deviations | None:
        """Return which rows of the next block deviate, None if none does; ``blanks`` are ends of blank lines."""
        if self._delimiters == 0:
            sound = self._before == 0 and not seen.delimiters.any()
        elif self._delimiters == 1:
            sound = self._alternate(seen)
        else:
            sound = self._add_up(seen)
        return None if sound else self._compare(seen, blanks)

    def last(self) -> int:
        """Return how many cells a record has that ends here: more than the header, fewer, or 0."""
        return self._before - self._delimiters

    def _alternate(self, seen: Scan) -> bool:
        """Check rows of two cells: every other delimiter or end is an end."""
        if self._before > 1:
            return False
        turns = seen.delimiters | seen.ends
        odd = running_xor(turns, self._before, np.empty_like(turns), np.empty_like(turns))
        if (odd & seen.ends).any() or (seen.delimiters & ~odd).any():
            return False
        self._before = int(odd[-1] >> np.uint64(63))
        return True

    def _add_up(self, seen: Scan) -> bool:
        """Check rows of three cells or more, word by word."""
        ends_in_words = np.bitwise_count(seen.ends)
        most = int(ends_in_words.max())
        if most > ENDS_IN_WORD_MAX:
            return False
        growth = np.bitwise_count(seen.delimiters) - ends_in_words * np.int32(self._delimiters)
        behind = np.cumsum(growth, dtype=np.int32)
        before = behind - growth
        ends, low = seen.ends, np.empty_like(seen.ends)
        for nth in range(1, most + 1):
            np.negative(ends, out=low)
            low &= ends
            low -= _ONE  # all below the lowest end; everything if there is none
            low &= seen.delimiters
            wrong = before + np.bitwise_count(low) != self._delimiters * nth - self._before
            wrong &= ends != 0
            if wrong.any():
                return False
            if nth < most:
                ends = ends & (ends - _ONE)
        self._before += int(behind[-1])
        return True

    def _compare(self, seen: Scan, blanks: Words) -> Deviations | None:
        """Look at every record."""
        ends, delimiters = offsets(seen.ends), offsets(seen.delimiters)
        before = np.searchsorted(delimiters, ends)
        had = np.diff(before, prepend=0)
        if len(ends) == 0:
            self._before += len(delimiters)
            return None
        had[0] += self._before
        self._before = len(delimiters) - int(before[-1])
        is_row = ~np.isin(ends, offsets(blanks), assume_unique=True)

        def deviation(which: np.typing.NDArray[np.bool_]) -> Deviation | None:
            numbers = np.flatnonzero(which & is_row)
            if len(numbers) == 0:
                return None
            first = int(numbers[0])
            return Deviation(count=len(numbers), starts_behind=int(ends[first - 1]) if first else None)

        missing, left_over = deviation(had < self._delimiters), deviation(had > self._delimiters)
        return Deviations(missing=missing, left_over=left_over) if missing or left_over else None
