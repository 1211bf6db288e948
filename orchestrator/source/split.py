r"""The planner: one pass over a file, and every upload of it is known as a byte range.

Nothing is written and nothing but one block is held in memory, so the size of the file does not matter.  The
pass finds the records' ends (`masks`), and takes as many whole records into a span as fit by bytes and rows;
on the way it takes a CRC-32 of every span and checks that all of it is UTF-8.

Spans follow each other without a gap.  Blank lines are bytes of a span and no rows of it; no span is without
rows, so only blank lines that fit in with no row (at the end of the file, or before a record that needs the
whole span for itself) are left out, and the next span begins behind them.

**Checksums without a second look.**  A span ends at the last record end that fits, which is known only when
the next record end does not fit, perhaps blocks later.  So two running checksums are kept: from the span's
start, and from the last record's end.  When the span is closed there, the first one as it was at that point
is the span's, and the second one goes on as the next span's.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.errors import HeaderError, RecordTooLarge, SourceError, UnterminatedQuote
from orchestrator.model import FileIdentity, Format, Source, Span
from orchestrator.source import detect, masks
from orchestrator.source.opening import identity_of, inspect, read_range, read_span, still_written

BLOCK_BYTES: Final = 524_288  # the masks of one block stay in the processor's second-level cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A file as it will be sent."""

    source: Source
    spans: tuple[Span, ...]
    warnings: tuple[str, ...]  # for people: what is odd about the file, and where it begins


def plan(
    path: str | os.PathLike[str],
    *,
    index: int,
    given: str,
    format: Format | None,
    part_bytes_max: int,
    rows_max: int,
    block_bytes: int = BLOCK_BYTES,
    allow_empty: bool = False,
    absolute: str | None = None,
    encoding: str = "utf-8",
) -> Plan:
    """Read a file once and cut it into spans of at most ``rows_max`` rows.

    ``part_bytes_max`` bounds header and records of one upload together; ``index`` and ``given`` are the
    source's place in the job and its name as the user wrote it; ``format`` None means to detect it;
    ``allow_empty`` takes a file without records for one with nothing to send.  If the file is a copy,
    ``absolute`` and ``encoding`` are those of the source itself.
    Raises the subclasses of `SourceError`, each naming the file, the line and what to do.
    """
    content = str(Path(path).absolute())
    identity = inspect(path, given=given, allow_empty=allow_empty)
    if identity.size_bytes == 0:
        return _empty(content, index=index, given=given, format=format, identity=identity, absolute=absolute or content)
    with Path(path).open("rb", buffering=0) as file:
        size = identity.size_bytes
        head = _read(file.fileno(), 0, min(size, detect.HEADER_BYTES_MAX), given)
        beginning = detect.examine(head, whole=len(head) == size, given=format, name=given)
        if len(beginning.header) >= part_bytes_max:
            raise _header_too_large(given, len(beginning.header), part_bytes_max)
        cutter = _Cutter(
            source=index,
            name=given,
            delimiter=ord(beginning.format.delimiter),
            start=_Mark(offset=beginning.data_start, rows=0, line_feeds=beginning.lines),
            bytes_max=part_bytes_max - len(beginning.header),
            rows_max=rows_max,
        )
        utf8 = detect.Utf8Check(given)
        for offset, block in _blocks(file.fileno(), size, block_bytes, given):
            in_header = offset < beginning.data_start
            utf8.feed(block, line_feeds=head.count(b"\n", 0, offset) if in_header else cutter.line_feeds)
            if offset + len(block) > beginning.data_start:
                cutter.feed(block[max(0, beginning.data_start - offset) :])
        utf8.finish(line_feeds=cutter.line_feeds)
        if cutter.state is masks.State.QUOTED:
            raise _unterminated(file.fileno(), cutter, size, block_bytes, given)
        cutter.finish()
        if identity_of(os.fstat(file.fileno())) != identity:
            raise still_written(given)
    if not cutter.spans and not allow_empty:
        raise SourceError(f"{given}: there is a header and no record below it; there is nothing to import.")
    source = Source(
        index=index,
        path=given,
        absolute=absolute or content,
        content=content,
        identity=identity,
        sha256=None,
        encoding=encoding,
        format=beginning.format,
        header=beginning.header,
        columns=beginning.columns,
        rows=cutter.rows,
        blank_lines=beginning.blank_lines + cutter.blank_lines,
    )
    return Plan(source=source, spans=tuple(cutter.spans), warnings=cutter.warnings)


def _empty(
    content: str, *, index: int, given: str, format: Format | None, identity: FileIdentity, absolute: str
) -> Plan:
    source = Source(
        index=index,
        path=given,
        absolute=absolute,
        content=content,
        identity=identity,
        sha256=None,
        encoding="utf-8",
        format=format or Format.CSV,
        header=b"",
        columns=(),
        rows=0,
        blank_lines=0,
    )
    return Plan(source=source, spans=(), warnings=())


def replan(source: Source, span: Span, *, part_bytes_max: int, rows_max: int) -> tuple[Span, ...]:
    """Cut a span again into smaller ones.

    A record that alone is over ``part_bytes_max`` comes as a span of its own, larger than asked, so that the
    caller can refuse it and send the others.  Raises `SourceChanged`.
    """
    cutter = _Cutter(
        source=source.index,
        name=source.path,
        delimiter=ord(source.format.delimiter),
        start=_Mark(offset=span.start, rows=span.first_row - 1, line_feeds=span.first_line - 1),
        bytes_max=part_bytes_max - len(source.header),
        rows_max=rows_max,
        oversized=True,
    )
    cutter.feed(read_span(source, span))
    cutter.finish()
    return tuple(cutter.spans)


def behead(source: Source, span: Span, *, rows: int) -> tuple[Span, ...]:
    """Cut a span into its first ``rows`` rows and the others; one span if it has no more.

    Raises `SourceChanged`.
    """
    if span.rows <= rows:
        return (span,)
    bytes_max = len(source.header) + span.end - span.start
    head, *parts = replan(source, span, part_bytes_max=bytes_max, rows_max=rows)
    rest = read_span(source, span)[parts[0].start - span.start : parts[-1].end - span.start]
    tail = replace(parts[0], end=parts[-1].end, rows=sum(part.rows for part in parts), crc32=zlib.crc32(rest))
    return head, tail


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """A place between two records, and what lies before it in the file."""

    offset: int
    rows: int
    line_feeds: int


class _Cutter:
    """Takes the data of a file block by block and closes a span whenever the next record does not fit."""

    def __init__(
        self,
        *,
        source: int,
        name: str,
        delimiter: int,
        start: _Mark,
        bytes_max: int,
        rows_max: int,
        oversized: bool = False,
    ) -> None:
        self.spans: list[Span] = []
        self.blank_lines = 0
        self.state = masks.State.START
        self.line_feeds = start.line_feeds
        self.last_end = start  # where the last whole record ends
        self._source = source
        self._name = name
        self.delimiter = delimiter
        self._start = start  # of the span under way
        self._bytes_max = bytes_max
        self._rows_max = rows_max
        self._oversized = oversized  # whether a record over the cap becomes a span of its own
        self._offset = start.offset
        self._carriage_return_starts = False  # the record under way is, so far, one carriage return
        self._literal_line: int | None = None
        self._checksum = 0  # of [start, offset)
        self._checksum_at_end = 0  # of [start, last_end)
        self._checksum_behind = 0  # of [last_end, offset)

    @property
    def rows(self) -> int:
        """How many rows end at or before the last record end."""
        return self.last_end.rows

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd."""
        if self._literal_line is None:
            return ()
        return (
            f"{self._name}: from line {self._literal_line} on there are quotes in cells that do not begin with one, or "
            "text behind a closing quote; they are read and sent as they stand.",
        )

    def feed(self, block: bytes) -> None:
        """Take the next bytes, at least one."""
        seen = masks.scan(block, self.delimiter, self.state)
        if seen.literal_at is not None and self._literal_line is None:
            self._literal_line = self.line_feeds + block.count(b"\n", 0, seen.literal_at) + 1
        done = 0
        last = masks.last_offset(seen.ends)
        line_feeds = masks.count(seen.line_feeds)
        if last is not None:
            blanks = masks.blank_ends(
                seen,
                record_starts=self._offset == self.last_end.offset,
                carriage_return_starts=self._carriage_return_starts,
            )
            blank_count = masks.count(blanks)
            self.blank_lines += blank_count
            done = last + 1
            end = _Mark(
                offset=self._offset + done,
                rows=self.rows + masks.count(seen.ends) - blank_count,
                line_feeds=self.line_feeds + line_feeds - block.count(b"\n", done),
            )
            if self._fits(end):
                self._reach(block[:done], end)
            else:
                self._cut(block, seen, blanks)
        rest = memoryview(block)[done:]
        self._checksum = zlib.crc32(rest, self._checksum)
        self._checksum_behind = zlib.crc32(rest, self._checksum_behind)
        self._offset += len(block)
        self.line_feeds += line_feeds
        self.state = seen.state
        self._carriage_return_starts = self._offset == self.last_end.offset + 1 and block.endswith(b"\r")

    def finish(self) -> None:
        """Take what stands behind the last line end as a record, and close the last span."""
        if self._offset > self.last_end.offset:
            is_row = not self._carriage_return_starts
            self.blank_lines += not is_row
            end = _Mark(offset=self._offset, rows=self.rows + is_row, line_feeds=self.line_feeds)
            while not self._fits(end) and self._close(end):
                pass
            self._reach(b"", end)
        self._close(self.last_end)

    def _fits(self, end: _Mark) -> bool:
        start = self._start
        return end.offset - start.offset <= self._bytes_max and end.rows - start.rows <= self._rows_max

    def _reach(self, data: bytes | memoryview, end: _Mark) -> None:
        """Take ``data`` up to a record's end into the span under way."""
        self._checksum = self._checksum_at_end = zlib.crc32(data, self._checksum)
        self._checksum_behind = 0
        self.last_end = end

    def _close(self, next_end: _Mark) -> bool:
        """Close the span under way at its last record end, and begin the next one there.

        False if there is nothing to close, because the record that ends at ``next_end`` is too large by itself.
        """
        start, end = self._start, self.last_end
        if end.offset == start.offset:
            if next_end.offset > start.offset and not self._oversized:
                raise RecordTooLarge(
                    f"{self._name}: the record that starts in line {start.line_feeds + 1} has "
                    f"{next_end.offset - start.offset:,} bytes; one upload holds {self._bytes_max:,} beside the header. "
                    "Shorten it, or look for a quote in it that is not closed."
                )
            return False
        if end.rows > start.rows:
            self.spans.append(
                Span(
                    source=self._source,
                    start=start.offset,
                    end=end.offset,
                    first_row=start.rows + 1,
                    rows=end.rows - start.rows,
                    first_line=start.line_feeds + 1,
                    crc32=self._checksum_at_end,
                )
            )
        self._start = end
        self._checksum = self._checksum_behind
        self._checksum_at_end = 0
        return True

    def _cut(self, block: bytes, seen: masks.Scan, blanks: masks.Words) -> None:
        """Take the records that end in this block one span after the other."""
        lasts = masks.offsets(seen.ends)
        is_row = ~np.isin(lasts, masks.offsets(blanks), assume_unique=True)
        rows = self.rows + np.cumsum(is_row)
        line_feeds = self.line_feeds + np.searchsorted(masks.offsets(seen.line_feeds), lasts, side="right")
        ends = self._offset + 1 + lasts
        data = memoryview(block)

        def mark(at: int) -> _Mark:
            return _Mark(offset=int(ends[at]), rows=int(rows[at]), line_feeds=int(line_feeds[at]))

        taken = 0
        done = 0
        while taken < len(ends):
            by_bytes = np.searchsorted(ends, self._start.offset + self._bytes_max, side="right")
            by_rows = np.searchsorted(rows, self._start.rows + self._rows_max, side="right")
            fitting = int(min(by_bytes, by_rows))
            if fitting <= taken:
                if self._close(mark(taken)):
                    continue
                fitting = taken + 1  # a record over the cap, by itself
            end = mark(fitting - 1)
            self._reach(data[done : end.offset - self._offset], end)
            done, taken = end.offset - self._offset, fitting


def _read(descriptor: int, start: int, stop: int, name: str) -> bytes:
    data = read_range(descriptor, start, stop)
    if len(data) != stop - start:
        raise still_written(name)
    return data


def _header_too_large(name: str, size: int, part_bytes_max: int) -> HeaderError:
    return HeaderError(
        f"{name}: the header has {size:,} bytes and one upload holds {part_bytes_max:,}, so no record fits beside it. "
        "Remove columns that are not imported."
    )


def _blocks(descriptor: int, size: int, block_bytes: int, name: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
    for offset in range(start, size, block_bytes):
        yield offset, _read(descriptor, offset, min(offset + block_bytes, size), name)


def _unterminated(descriptor: int, cutter: _Cutter, size: int, block_bytes: int, name: str) -> UnterminatedQuote:
    """Look for the quote that is never closed, from the last record's end on."""
    state = masks.State.START
    line_feeds = cutter.last_end.line_feeds
    line, opened_at = 0, 0
    for offset, block in _blocks(descriptor, size, block_bytes, name, cutter.last_end.offset):
        walked = masks.walk(block, cutter.delimiter, state)
        state = walked.state
        if walked.opened_at is not None:
            opened_at = offset + walked.opened_at
            line = line_feeds + block.count(b"\n", 0, walked.opened_at) + 1
        line_feeds += block.count(b"\n")
    return UnterminatedQuote(
        f"{name}: the quote that opens in line {line} is never closed; it takes in the last {size - opened_at:,} bytes "
        "of the file. Close or remove it; inside quotes, a quote is written twice."
    )
