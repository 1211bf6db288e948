"""Where the records of a file that is sent stood in the file that the user has.

A source whose records are changed or left out on the way is sent from a copy.  Beside the copy lies a file with one
entry for each of its rows: the row's number in the original, the line in which the record starts there, and its
range of bytes.  Entries have a fixed size, so those of any run of rows are found without reading the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import SourceError
from orchestrator.model import Original, Source, Span
from orchestrator.records import Record, parse
from orchestrator.source.opening import changed, identity_of, open_regular, read_range

Places = NDArray[np.int64]  # one line per record: row, line, start, end; all of the original

COLUMNS = 4
ENTRY_BYTES = COLUMNS * 8
ENTRY = np.dtype("<i8")


def places_of(data: bytes, lines: Sequence[int], *, first_row: int, first_line: int, start: int) -> Places:
    """Return where the records of whole-record data stand.

    ``lines`` are those in which the records start, the first line of ``data`` is 1; ``first_row``, ``first_line``
    and ``start`` are those of ``data`` in its file.  Blank lines behind a record count as part of it.
    """
    beginnings = np.concatenate(([0], np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1))
    numbers = np.asarray(lines, dtype=np.int64)
    found = np.empty((len(numbers), COLUMNS), ENTRY)
    found[:, 0] = np.arange(first_row, first_row + len(numbers))
    found[:, 1] = numbers + (first_line - 1)
    found[:, 2] = beginnings[numbers - 1] + start
    found[:-1, 3] = found[1:, 2]
    found[-1:, 3] = start + len(data)
    return found


def read_places(path: str, *, first_row: int, rows: int) -> Places:
    """Return the entries of a run of rows.

    Raises:
        SourceError: they cannot be read.

    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            data = read_range(file.fileno(), (first_row - 1) * ENTRY_BYTES, (first_row - 1 + rows) * ENTRY_BYTES)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    if len(data) != rows * ENTRY_BYTES:
        raise _unusable(path, "it is too short")
    return np.frombuffer(data, ENTRY).reshape(rows, COLUMNS)


def original_place(source: Source, row: int) -> tuple[int, int] | None:
    """Return which row of the user's file a row of the content is, and in which line it starts; None: the same.

    Raises:
        SourceError: the file that says so cannot be read.

    """
    if source.original is None:
        return None
    found = read_places(source.original.places, first_row=row, rows=1)
    return int(found[0, 0]), int(found[0, 1])


def rows_in_words(source: Source, span: Span) -> str:
    """Name the rows of a span as the user's file numbers them, as far as that can be told."""
    first, last = span.first_row, span.first_row + span.rows - 1
    with suppress(SourceError):
        found = [original_place(source, row) or (row, 0) for row in (first, last)]
        first, last = found[0][0], found[1][0]
    return f"rows {first} to {last} of {source.path}"


def restore(source: Source, records: Sequence[Record]) -> tuple[Sequence[Record], bool]:
    """Return the records of the user's file that records of a source's content were made of.

    The second value is False if their text cannot be read there any more: then it is as it was sent, by the columns
    of the user's file, and only rows and lines are the original's.

    Raises:
        SourceError: nobody can tell any more where they stood.

    """
    if source.original is None or not records:
        return records, True
    rows = [record.row for record in records]
    first = min(rows)
    places = read_places(source.original.places, first_row=first, rows=max(rows) - first + 1)
    entries = places[np.asarray(rows) - first].tolist()
    try:
        texts, whole = _read_records(source, source.original, entries), True
    except SourceError:
        texts, whole = [source.unsent(record.cells) for record in records], False
    return [Record(entry[0], entry[1], cells) for entry, cells in zip(entries, texts, strict=True)], whole


def _read_records(source: Source, original: Original, entries: Sequence[list[int]]) -> list[tuple[str, ...]]:
    found = []
    try:
        with open_regular(original.path) as file:
            for row, _, start, end in entries:
                record = next(parse(read_range(file.fileno(), start, end), source.format.delimiter, first_row=row))
                found.append(record.cells)
            identity = identity_of(os.fstat(file.fileno()))
    except (OSError, StopIteration) as error:
        raise changed(source.path, "the file has become unreadable") from error
    if identity != original.identity:
        raise changed(source.path, "the file has been written to or replaced")
    return found


def _unusable(path: str, why: str) -> SourceError:
    return SourceError(
        f"Cannot read {path}, which says where rows stood in their source: {why}. "
        "Put it back from a backup of the state directory."
    )
