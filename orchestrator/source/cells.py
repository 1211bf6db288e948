"""Whether every row has as many cells as the header, told without taking records apart.

Rows that are right are the rule, so first it is only shown that all of a block are: one number for each word of the
masks says how many delimiters the record under way has had before it, and at each record's end there must have been
exactly one less than there are columns.  Only a block that fails is looked at record by record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.source import bits
from orchestrator.source.bits import Counts, Words, offsets
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
        self._small: type[np.uint8 | np.uint32] = np.uint8 if columns <= 2**8 else np.uint32
        self._before = 0  # delimiters in the record under way, in the blocks before

    def are_right(self, seen: Scan, ends_in_words: Counts, records: int, done: int) -> bool:
        """Take the next block if all rows that end in it have the right number of cells, and that is above 1.

        Then no line of it is blank.  Else False is returned and nothing taken.  So many ``records`` end in the block,
        the last one before ``done``.
        """
        if self._delimiters == 0:
            return False
        in_words = np.bitwise_count(seen.delimiters)
        delimiters = self._before + bits.total(in_words)
        tail = bits.count_from(seen.delimiters, done) if records else delimiters
        if delimiters - tail != self._delimiters * records:
            return False
        sound = self._alternate(seen) if self._delimiters == 1 else self._add_up(seen, ends_in_words, in_words)
        if sound:
            self._before = tail
        return sound

    def last(self) -> int:
        """Return how many cells a record has that ends here: more than the header, fewer, or 0."""
        return self._before - self._delimiters

    def _alternate(self, seen: Scan) -> bool:
        """Check rows of two cells: delimiters and ends take turns.

        Where they do, words of ends minus words of delimiters, as numbers, have all bits set from each delimiter up to
        where its row ends, and no others; a word that begins within a row, behind its delimiter, has one to give back.
        """
        turns = seen.delimiters | seen.ends
        within = np.empty(len(turns) + 1, np.bool_)  # a row, at the beginning of each word and behind the last
        within[0] = self._before
        np.greater(seen.delimiters, seen.ends, out=within[1:])
        if not turns.all():  # what holds before a word without turns holds behind it
            latest = np.where(turns != 0, np.arange(1, len(within)), 0)
            within[1:] = within[np.maximum.accumulate(latest)]
        difference = seen.ends - seen.delimiters
        difference -= within[:-1]
        difference &= turns
        return np.array_equal(difference, seen.delimiters)

    def _add_up(self, seen: Scan, ends_in_words: Counts, in_words: Counts) -> bool:
        """Check rows of three cells or more, word by word.

        The numbers are kept small, so they may be wrong by a multiple of what fits.  But no row has fewer delimiters
        than none, so none can have more than it should if all of them have as many as they should together.
        """
        most = int(ends_in_words.max())
        if most > ENDS_IN_WORD_MAX:
            return False
        small = self._small
        growth = in_words - ends_in_words * small(self._delimiters)
        before = np.subtract(np.add.accumulate(growth, dtype=np.uint32).astype(small), growth)
        ends, low, wrong = seen.ends, np.empty_like(seen.ends), np.empty(len(seen.ends), np.bool_)
        for nth in range(1, most + 1):
            rest = ends & (ends - _ONE) if nth < most else None
            np.subtract(ends if rest is None else ends ^ rest, _ONE, out=low)  # all below the lowest end
            low &= seen.delimiters
            expected = (self._delimiters * nth - self._before) % (int(np.iinfo(small).max) + 1)
            np.not_equal(before + np.bitwise_count(low), small(expected), out=wrong)
            wrong &= ends_in_words >= nth
            if wrong.any():
                return False
            if rest is not None:
                ends = rest
        return True

    def compare(self, seen: Scan, blanks: Words) -> Deviations | None:
        """Take the next block and say which of its rows deviate, if any; ``blanks`` are ends of blank lines."""
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
