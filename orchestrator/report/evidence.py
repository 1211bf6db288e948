"""Whether a batch was made of a chunk, and whether a chunk's rows arrived: what two kinds of evidence say.

*Listings.*  The failure and warning files of a batch repeat rows word by word.  One row that the chunk does not have
as often is the sign of another file.

*Reading back.*  A record that Marketo made after the chunk was sent, under a key of the chunk and with its values,
was made by it.  A record that was there before proves nothing, whatever it says now: its values may have been the
same, and anybody may have touched it since.  Marketo writes some values its own way (telephone numbers, dates), so
not every cell has to agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.model import Source, Span
from orchestrator.records import Record, parse
from orchestrator.report.listing import read_listing, without_empty_end
from orchestrator.report.part import RowKind

KEYS_MAX = 300  # Marketo returns no more records at a time
KEY_CHARS_MAX = 5_000  # of all keys as they stand in an address, of which Marketo takes 8 KB
COLUMNS_MAX = 5  # compared besides the key
SHOWN_MIN = 5  # records made by the chunk, or all that were asked for if they are fewer

Content = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The rows that the result files of one batch list, as they may be compared with a chunk's; None: unusable."""

    rows: tuple[Content, ...] | None


def read_rows(
    files: Mapping[RowKind, Path], *, expected: Mapping[RowKind, int], source: Source, key_columns: Sequence[str]
) -> Listed:
    """Read the result files of a batch as files of this source; they are unusable unless they list what they should."""
    rows: list[Content] = []
    for kind, count in expected.items():
        if not count:
            continue
        listing = read_listing(
            files.get(kind),
            kind,
            columns=source.sent_columns,
            key_columns=key_columns,
            delimiter=source.format.delimiter,
            rows=count,
        )
        if listing.listed != count or len(listing.rows) != count:
            return Listed(rows=None)
        if listing.problems or not all(row.whole for row in listing.rows):
            rows.append(("\0",))  # its columns are not this source's: rows of another file
        rows += (row.content for row in listing.rows)
    return Listed(rows=tuple(rows))


def stand_in(rows: Sequence[Content], data: bytes, source: Source, span: Span) -> bool:
    """Tell whether a span has each of these rows as often as it is listed."""
    wanted = set(rows)
    there = Counter(content for record in _records(data, source, span) if (content := _content(record)) in wanted)
    return all(there[row] >= times for row, times in Counter(rows).items())


def telling(rows: Sequence[Content], source: Source, key_columns: Sequence[str]) -> bool:
    """Tell whether rows say whose file they are from: one of them has a key, and something beside it.

    Rows without a key are alike in many files.
    """
    if not key_columns or not set(key_columns) <= set(source.sent_columns):
        return False
    keys = [source.sent_columns.index(name) for name in key_columns]
    enough = min(len(keys) + 1, len(source.sent_columns))
    return any(
        all(at < len(row) and row[at].strip() for at in keys) and sum(bool(cell.strip()) for cell in row) >= enough
        for row in rows
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to read back of a chunk: records by their keys, and the cells that its rows give them."""

    columns: tuple[str, ...]  # compared besides the key
    cells: Mapping[str, Content]  # by key as it stands in the source

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys to ask for."""
        return tuple(self.cells)


def question(data: bytes, source: Source, span: Span, key_column: str, *, without: Iterable[Content] = ()) -> Question:
    """Choose rows of a span, spread over it, whose keys stand once in it and can stand in a list.

    Rows ``without`` made no record, because Marketo refused them.
    """
    at, left_out = source.sent_columns.index(key_column), set(without)
    columns = tuple(name for name in source.sent_columns if name != key_column)[:COLUMNS_MAX]
    positions = [source.sent_columns.index(name) for name in columns]
    by_key: dict[str, Content] = {}
    times: Counter[str] = Counter()
    for record in _records(data, source, span):
        cells = record.cells + ("",) * (len(source.sent_columns) - len(record.cells))
        key = cells[at].strip()
        times[key.casefold()] += 1
        if key and "," not in key and _content(record) not in left_out:
            by_key[key] = tuple(cells[position] for position in positions)
    usable = [key for key in by_key if times[key.casefold()] == 1]
    step = max(1, -(-len(usable) // KEYS_MAX))
    chosen: list[str] = []
    room = KEY_CHARS_MAX
    for key in usable[::step]:
        room -= len(quote(key, safe="")) + 3
        if room < 0:
            break
        chosen.append(key)
    return Question(columns=columns, cells={key: by_key[key] for key in chosen})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read back: of so many keys, so many records were made after a moment with the chunk's values."""

    asked: int
    there: int
    shown: int

    @property
    def landed(self) -> bool:
        """Tell whether this proves that the chunk arrived."""
        return self.asked == self.there > 0 and self.shown >= min(SHOWN_MIN, self.asked)


def judge(asked: Question, records: Iterable[Mapping[str, Any]], key_field: str, *, after_ms: int) -> Reading:
    """Compare records with the rows they were read back for; ``after_ms`` is by Marketo's clock."""
    cells = {key.casefold(): row for key, row in asked.cells.items()}
    there: set[str] = set()
    shown: set[str] = set()
    for record in records:
        key = str(record.get(key_field)).strip().casefold()
        if key not in cells:
            continue
        there.add(key)
        made_ms = _instant_ms(record.get("createdAt"))
        if made_ms is not None and made_ms > after_ms and _agrees(cells[key], record, asked.columns):
            shown.add(key)
    return Reading(asked=len(cells), there=len(there), shown=len(shown))


def _agrees(row: Content, record: Mapping[str, Any], columns: Sequence[str]) -> bool:
    """Tell whether at least half of a row's cells read the same."""
    given = [(cell, record.get(name)) for name, cell in zip(columns, row, strict=True) if cell.strip()]
    return 2 * sum(_same(cell, value) for cell, value in given) >= len(given)


def _same(cell: str, value: Any) -> bool:
    if value is None:
        return False
    one, other = cell.strip().casefold(), str(value).strip().casefold()
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _instant_ms(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)


def _records(data: bytes, source: Source, span: Span) -> Iterable[Record]:
    records = parse(data, source.format.delimiter, first_row=span.first_row, first_line=span.first_line)
    width = len(source.sent_columns)
    return (Record(record.row, record.line, record.cells[:width]) for record in records)


def _content(record: Record) -> Content:
    return without_empty_end(record.cells)
