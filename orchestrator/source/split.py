r"""The planner: one pass over a file, and every upload of it is known as a byte range.

Nothing is written and nothing but a few blocks is held in memory (`blocks`), so the size of the file does not
matter.  The pass finds the records' ends (`masks`), and takes as many whole records into a span as fit by bytes and
rows (`cutter`); on the way it takes a CRC-32 of every span, checks that all of it is UTF-8 (`utf8`), and counts what
is odd (`oddities`).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from orchestrator.errors import HeaderError, SourceError, UnterminatedQuote
from orchestrator.model import FileIdentity, Format, Source, Span
from orchestrator.source import detect
from orchestrator.source.blocks import BLOCK_BYTES, TornReadError, blocks_of, read_blocks
from orchestrator.source.cutter import Cutter, Limits, Mark, Shape
from orchestrator.source.oddities import Oddity
from orchestrator.source.opening import identity_of, inspect, open_regular, read_range, read_span, still_written
from orchestrator.source.shares import record_ends, shares
from orchestrator.source.utf8 import Utf8Check
from orchestrator.source.walk import State, walk


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
    with open_regular(path) as file:
        descriptor, size = file.fileno(), identity.size_bytes
        head = _read(descriptor, 0, min(size, detect.HEADER_BYTES_MAX), given)
        beginning = detect.examine(head, whole=len(head) == size, given=format, name=given)
        if len(beginning.header) >= part_bytes_max:
            raise _header_too_large(given, len(beginning.header), part_bytes_max)
        limits = Limits(bytes_max=part_bytes_max - len(beginning.header), rows_max=rows_max)
        cutter = _cutter(descriptor, beginning, limits, index=index, name=given, block_bytes=block_bytes)
        utf8 = Utf8Check(given, block_bytes)
        utf8.begin(head[: beginning.data_start])
        try:
            with closing(read_blocks(descriptor, beginning.data_start, size, block_bytes)) as blocks:
                for block in blocks:
                    utf8.feed(block, line_feeds=cutter.line_feeds)
                    cutter.feed(block)
        except TornReadError:
            raise still_written(given) from None
        utf8.finish(line_feeds=cutter.line_feeds)
        if cutter.state is State.QUOTED:
            raise _unterminated(descriptor, cutter, size, block_bytes, given)
        cutter.finish()
        if identity_of(os.fstat(descriptor)) != identity:
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
        blank_lines=cutter.odd.count(Oddity.BLANK_LINE),
    )
    return Plan(source=source, spans=tuple(cutter.spans), warnings=cutter.odd.told(given, lines=cutter.lines))


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


def _cutter(
    descriptor: int, beginning: detect.Beginning, limits: Limits, *, index: int, name: str, block_bytes: int
) -> Cutter:
    line_end = b"\r\n" if beginning.header.endswith(b"\r\n") else b"\n"
    cutter = Cutter(
        source=index,
        name=name,
        delimiter=ord(beginning.format.delimiter),
        start=Mark(offset=beginning.data_start, rows=0, line_feeds=beginning.lines),
        limits=limits,
        read=partial(_read, descriptor, name=name),
        shape=Shape(columns=len(beginning.columns), line_end=line_end),
        block_bytes=block_bytes,
    )
    if beginning.blank_lines:
        cutter.odd.note(Oddity.BLANK_LINE, beginning.blank_lines, line=1)
    return cutter


def replan(source: Source, span: Span, *, rows_max: int) -> tuple[Span, ...]:
    """Cut a span again into smaller ones of so many rows, the last one of what is left.  Raises `SourceChanged`."""
    return _cut_again(source, span, read_span(source, span), ends=(span.end,), rows_max=rows_max)


def share_out(source: Source, span: Span, *, part_bytes_max: int) -> tuple[Span, ...]:
    """Cut a span again into the fewest smaller ones that fit, as equal as records allow; `shares` tells how.

    ``part_bytes_max`` bounds header and records together.  A record that alone is above it comes as a span of its own,
    larger than asked, so that the caller can refuse it and send the others.  Raises `SourceChanged`.
    """
    data = read_span(source, span)
    ends = shares(record_ends(data, ord(source.format.delimiter)), part_bytes_max - len(source.header))
    return _cut_again(source, span, data, ends=[span.start + end for end in ends], rows_max=span.rows)


def _cut_again(source: Source, span: Span, data: bytes, *, ends: Iterable[int], rows_max: int) -> tuple[Span, ...]:
    """Cut a span where records end, and there again after so many rows."""
    mark = Mark(offset=span.start, rows=span.first_row - 1, line_feeds=span.first_line - 1)
    spans: list[Span] = []
    for end in ends:
        cutter = Cutter(
            source=source.index,
            name=source.path,
            delimiter=ord(source.format.delimiter),
            start=mark,
            limits=Limits(bytes_max=end - mark.offset, rows_max=rows_max),
            read=lambda start, stop: data[start - span.start : stop - span.start],
        )
        for block in blocks_of(data[mark.offset - span.start : end - span.start], mark.offset):
            cutter.feed(block)
        cutter.finish()
        spans += cutter.spans
        mark = cutter.last_end
    return tuple(spans)


def behead(source: Source, span: Span, *, rows: int) -> tuple[Span, ...]:
    """Cut a span into its first ``rows`` rows and the others; one span if it has no more.

    Raises `SourceChanged`.
    """
    if span.rows <= rows:
        return (span,)
    head, *parts = replan(source, span, rows_max=rows)
    rest = read_span(source, span)[parts[0].start - span.start : parts[-1].end - span.start]
    tail = replace(parts[0], end=parts[-1].end, rows=sum(part.rows for part in parts), crc32=zlib.crc32(rest))
    return head, tail


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


def _unterminated(descriptor: int, cutter: Cutter, size: int, block_bytes: int, name: str) -> UnterminatedQuote:
    """Look for the quote that is never closed, from the last record's end on."""
    state = State.START
    line_feeds = cutter.last_end.line_feeds
    line, opened_at = 0, 0
    for offset in range(cutter.last_end.offset, size, block_bytes):
        data = _read(descriptor, offset, min(offset + block_bytes, size), name)
        walked = walk(data, cutter.delimiter, state)
        state = walked.state
        if walked.opened_at is not None:
            opened_at = offset + walked.opened_at
            line = line_feeds + data.count(b"\n", 0, walked.opened_at) + 1
        line_feeds += data.count(b"\n")
    return UnterminatedQuote(
        f"{name}: the quote that opens in line {line} is never closed; it takes in the last {size - opened_at:,} bytes "
        "of the file. Close or remove it; inside quotes, a quote is written twice."
    )
