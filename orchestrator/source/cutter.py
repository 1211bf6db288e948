"""Spans from records: as many whole records as fit, one span after the other.

Spans follow each other without a gap.  Blank lines are bytes of a span and no rows of it; no span is without
rows, so only blank lines that fit in with no row (at the end of the file, or before a record that needs the
whole span for itself) are left out, and the next span begins behind them.

**Checksums.**  A block that no span ends in brings its checksum along.  Where a span ends within a block, its parts
are taken by themselves.  Only a span that ends in an earlier block, because the record behind it is longer than
what is left of that, is read again from there on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orchestrator.errors import RecordTooLarge
from orchestrator.model import Span
from orchestrator.source import bits
from orchestrator.source.blocks import BLOCK_BYTES, LINE_FEED, Block
from orchestrator.source.cells import CellCount, Deviation
from orchestrator.source.checksums import appended, checksum
from orchestrator.source.masks import Scan, Scanner, blank_ends
from orchestrator.source.oddities import Oddities, Oddity
from orchestrator.source.walk import BEFORE_BYTES, FILE_STARTS, State

CARRIAGE_RETURN = b"\r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place between two records, and what lies before it in the file."""

    offset: int
    rows: int
    line_feeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a span may hold."""

    bytes_max: int
    rows_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the rows are compared with."""

    columns: int
    line_end: bytes  # of the header


class Cutter:
    """Takes the data of a file block by block and closes a span whenever the next record does not fit."""

    def __init__(
        self,
        *,
        source: int,
        name: str,
        delimiter: int,
        start: Mark,
        limits: Limits,
        read: Callable[[int, int], bytes],
        shape: Shape | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        """Begin at a mark.

        ``read`` returns bytes from one offset to another that were there before; ``shape`` None compares
        the rows with nothing.
        """
        self.spans: list[Span] = []
        self.odd = Oddities()
        self.state = State.START
        self.line_feeds = start.line_feeds
        self.last_end = start  # where the last whole record ends
        self.delimiter = delimiter
        self._source = source
        self._name = name
        self._limits = limits
        self._read = read
        self._block_bytes = block_bytes
        self._scanner = Scanner(delimiter, block_bytes)
        self._cells = None if shape is None else CellCount(shape.columns)
        self._line_end = None if shape is None else shape.line_end
        self._start = start  # of the span under way
        self._offset = start.offset
        self._before = FILE_STARTS  # the last bytes
        self._only_return = False  # the record under way is, so far, one carriage return
        self._checksum = 0  # of [start, offset)
        self._end_block = start.offset  # where the block begins in which the last record ended
        self._checksum_at_block = 0  # of [start, end_block)

    @property
    def rows(self) -> int:
        """How many rows end at or before the last record end."""
        return self.last_end.rows

    @property
    def lines(self) -> int:
        """How many lines there were, the last one with or without a line end."""
        return self.line_feeds + (not self._before.endswith(b"\n"))

    def feed(self, block: Block) -> None:
        """Take the next bytes, at least one."""
        seen = self._scanner.scan(block, self.state, self._before)
        ends_in_words = np.bitwise_count(seen.ends)
        records = bits.total(ends_in_words)
        done = (bits.last_offset(seen.ends) or 0) + 1 if records else 0
        line_feeds = records if seen.ends is seen.line_feeds else bits.count(seen.line_feeds)
        blanks = None
        if self._cells is None or not self._cells.are_right(seen, ends_in_words, records, done):
            blanks = blank_ends(
                seen, record_starts=self._offset == self.last_end.offset, carriage_return_starts=self._only_return
            )
        blank_count = 0 if blanks is None else bits.count(blanks)
        self._notice(block, seen, blanks, blank_count)
        cut = False
        if records:
            behind = 0 if seen.ends is seen.line_feeds else bits.count_from(seen.line_feeds, done)
            end = Mark(
                offset=self._offset + done,
                rows=self.rows + records - blank_count,
                line_feeds=self.line_feeds + line_feeds - behind,
            )
            if self._fits(end):
                self.last_end, self._end_block, self._checksum_at_block = end, self._offset, self._checksum
            else:
                self._cut(block, seen, blanks if blank_count else None)
                cut = True
        if not cut:
            self._checksum = appended(self._checksum, block.checksum, block.size)
        self._offset += block.size
        self.line_feeds += line_feeds
        self.state = seen.state
        self._before = (self._before + bytes(block.view[max(0, block.size - BEFORE_BYTES) : block.size]))[
            -BEFORE_BYTES:
        ]
        self._only_return = self._offset == self.last_end.offset + 1 and self._before.endswith(CARRIAGE_RETURN)

    def finish(self) -> None:
        """Take what stands behind the last line end as a record, and close the last span."""
        if self._offset > self.last_end.offset:
            is_row = not self._only_return
            line = self.last_end.line_feeds + 1
            if not is_row:
                self.odd.note(Oddity.BLANK_LINE, 1, line=line)
            elif self._cells is not None and (deviation := self._cells.last()):
                self.odd.note(Oddity.CELLS_LEFT_OVER if deviation > 0 else Oddity.CELLS_MISSING, 1, line=line)
            end = Mark(offset=self._offset, rows=self.rows + is_row, line_feeds=self.line_feeds)
            while not self._fits(end):
                self._close(end)
            self.last_end = end
        self._end_block, self._checksum_at_block = self._offset, self._checksum
        if self.last_end.offset > self._start.offset:
            self._close(self.last_end)

    def _notice(self, block: Block, seen: Scan, blanks: bits.Words | None, blank_count: int) -> None:
        """Count what is odd in a block; ``blanks`` None: every row has the cells it should have."""

        def note(kind: Oddity, count: int, offset: int) -> None:
            """Note a kind that was seen first in the line of this byte."""
            line = 0 if kind in self.odd else self.line_feeds + block.data.count(LINE_FEED, 0, offset) + 1
            self.odd.note(kind, count, line=line)

        for offset, kind in seen.odd:
            note(kind, 1, offset)
        if blanks is not None and blank_count:
            note(Oddity.BLANK_LINE, blank_count, bits.first_offset(blanks) or 0)
        if block.lowest <= 0 and block.holds(0):
            note(Oddity.NUL, block.data.count(0, 0, block.size), block.data.find(0))
        if self._line_end is not None:
            self._notice_line_ends(block, seen, self._line_end == b"\r\n", note)
        if self._cells is not None and blanks is not None and (wrong := self._cells.compare(seen, blanks)):
            for kind, deviation in ((Oddity.CELLS_MISSING, wrong.missing), (Oddity.CELLS_LEFT_OVER, wrong.left_over)):
                self._note_cells(kind, deviation, note)

    def _note_cells(self, kind: Oddity, deviation: Deviation | None, note: Callable[[Oddity, int, int], None]) -> None:
        if deviation is not None and deviation.starts_behind is not None:
            note(kind, deviation.count, deviation.starts_behind + 1)
        elif deviation is not None:
            self.odd.note(kind, deviation.count, line=self.last_end.line_feeds + 1)

    def _notice_line_ends(
        self, block: Block, seen: Scan, windows: bool, note: Callable[[Oddity, int, int], None]
    ) -> None:
        """Tell line ends apart, and carriage returns that are none; ``windows``: the header's line ends with CRLF.

        What a carriage return is shows in the byte behind it: one at a block's end counts for the next block, and
        one at the end of all belongs to the last record's end.
        """
        follows = self.state is not State.QUOTED and self._before.endswith(CARRIAGE_RETURN)
        if seen.carriage_returns is None and not follows:
            others = seen.ends if windows else None
        else:
            returns = np.zeros_like(seen.ends) if seen.carriage_returns is None else seen.carriage_returns
            behind = bits.shifted(returns, follows, np.empty_like(returns))
            if block.size < len(behind) * bits.WORD_BITS:
                bits.clear(behind, block.size)
            others = seen.ends & behind
            if lone := bits.count(behind) - bits.count(others):
                note(Oddity.LONE_CARRIAGE_RETURN, lone, bits.first_offset(behind ^ others) or 0)
            if windows:
                others ^= seen.ends
        if others is not None and (count := bits.count(others)):
            note(Oddity.OTHER_LINE_END, count, bits.first_offset(others) or 0)

    def _fits(self, end: Mark) -> bool:
        start, limits = self._start, self._limits
        return end.offset - start.offset <= limits.bytes_max and end.rows - start.rows <= limits.rows_max

    def _close(self, next_end: Mark) -> None:
        """Close the span under way at its last record end, in an earlier block, and begin the next one there."""
        self._check_closing(next_end)
        end = self.last_end.offset
        self._append(checksum(self._read(self._end_block, end), self._checksum_at_block))
        self._checksum = 0
        for offset in range(end, self._offset, self._block_bytes):
            self._checksum = checksum(self._read(offset, min(offset + self._block_bytes, self._offset)), self._checksum)

    def _check_closing(self, next_end: Mark) -> None:
        """Raise `RecordTooLarge` if there is nothing to close: the record that ends at ``next_end`` fits no span."""
        start = self._start
        if self.last_end.offset == start.offset:
            raise RecordTooLarge(
                f"{self._name}: the record that starts in line {start.line_feeds + 1} has "
                f"{next_end.offset - start.offset:,} bytes; one upload holds {self._limits.bytes_max:,} beside the header. "
                "Shorten it, or look for a quote in it that is not closed."
            )

    def _append(self, crc32: int) -> None:
        """Append the span that ends at the last record end, if it has rows, and begin the next one."""
        start, end = self._start, self.last_end
        if end.rows > start.rows:
            self.spans.append(
                Span(
                    source=self._source,
                    start=start.offset,
                    end=end.offset,
                    first_row=start.rows + 1,
                    rows=end.rows - start.rows,
                    first_line=start.line_feeds + 1,
                    crc32=crc32,
                )
            )
        self._start = end

    def _cut(self, block: Block, seen: Scan, blanks: bits.Words | None) -> None:
        """Take the records that end in this block one span after the other."""
        rows = seen.ends if blanks is None else seen.ends & ~blanks
        row_counts = bits.running_count(rows)
        line_counts = row_counts if rows is seen.line_feeds else bits.running_count(seen.line_feeds)
        rows_before = self.rows
        done = 0  # so much of the block is in spans, or in the one under way, and in the checksum

        def mark(last: int) -> Mark:
            return Mark(
                offset=self._offset + last + 1,
                rows=rows_before + bits.count_until(rows, row_counts, last),
                line_feeds=self.line_feeds + bits.count_until(seen.line_feeds, line_counts, last),
            )

        while (following := bits.first_from(seen.ends, done)) is not None:
            too_far = self._start.offset + self._limits.bytes_max - self._offset
            too_many = bits.nth(rows, row_counts, self._start.rows + self._limits.rows_max + 1 - rows_before)
            last = bits.last_before(seen.ends, too_far if too_many is None else min(too_far, too_many))
            if last is None or last < done:
                if done == 0:
                    self._close(mark(following))
                else:
                    self._check_closing(mark(following))
                    self._append(self._checksum)
                    self._checksum = 0
                continue
            self._end_block, self._checksum_at_block = self._offset + done, self._checksum
            self._checksum = checksum(block.view[done : last + 1], self._checksum)
            self.last_end, done = mark(last), last + 1
        self._checksum = checksum(block.view[done : block.size], self._checksum)
