"""Find the source rows that a batch's failure and warning files list.

The files carry no row numbers and promise no order, so rows are found by what they say.  Each listed row takes
one source row, and no source row is taken twice by the same file:

1. A row with exactly the listed content: its key and everything else.  Among identical rows the earliest that
   is still free, so that as many of them are reported as were listed.
2. Cells may come back altered (trimmed, other line ends).  What is left is compared by key alone, and rows
   without a whole key by their content, both regardless of space around cells.  Where several rows share a
   key, content decides; where it does not, a row is taken only if it is the only one left for the only listed
   row left.
3. Anything else has no place: it is reported without a row number.  Nothing is guessed and nothing dropped.

Failures choose first: a row that failed was not imported, so a warning takes one only if no other row fits.
Exact matches are made while the source's records stream by; only rows that step 2 may need are kept.

Marketo's counters say how many rows failed.  If its file lists fewer, lines without content make up the
difference, so a report has a line for every failed row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from orchestrator.model import BatchId, Finding, Source, Span
from orchestrator.records import Record, parse
from orchestrator.report.listing import Listed, Listing, read_listing, without_empty_end
from orchestrator.report.part import PartHead, PartRow, Reason, RowKind, count_reasons, write_part

# Of records of a source's content, those of the user's file; False if their text cannot be read there any more.
Restore = Callable[[Sequence[Record]], tuple[Sequence[Record], bool]]


def as_sent(records: Sequence[Record]) -> tuple[Sequence[Record], bool]:
    """Return the records of a source that is sent as it stands."""
    return records, True


NOT_LISTED = "(Marketo's file does not list this row)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """How many rows of a batch were found in the source.

    ``failed_matched + failed_unmatched`` is the number of failed rows by Marketo's counters, and likewise for
    warnings, whatever the files list.
    """

    failed_matched: int
    failed_unmatched: int
    warned_matched: int
    warned_unmatched: int
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...]


def attribute(
    *,
    data: bytes | None,
    source: Source,
    restore: Restore = as_sent,
    span: Span,
    batch_id: BatchId,
    key_columns: Sequence[str],
    failures: Path | None,
    warnings: Path | None,
    failed_expected: int,
    warned_expected: int,
    part: Path,
) -> Attribution:
    """Find the listed rows among the records of a span, and write them to the file ``part``.

    ``data`` are the span's bytes, or None if they cannot be read any more; ``failures`` and ``warnings`` are
    Marketo's files, None where it has none; ``restore`` finds the user's records of those that were sent.  No content of those files raises; what is wrong with them is told
    in findings.  Busy for seconds with the largest chunks, so not for an event loop's thread.
    """
    finder = _Finder(source, key_columns)
    listings = [
        read_listing(
            path,
            kind,
            columns=source.sent_columns,
            key_columns=key_columns,
            delimiter=source.format.delimiter,
            rows=span.rows,
        )
        for kind, path in ((RowKind.FAILURE, failures), (RowKind.WARNING, warnings))
    ]
    failed, warned = listings
    if data is not None and (failed.rows or warned.rows):
        records = parse(data, source.format.delimiter, first_row=span.first_row, first_line=span.first_line)
        finder.find(records, failed.rows, warned.rows)
    placed, placeless, whole = _part_rows(source, restore, failed, failed_expected, warned, warned_expected)
    reasons = count_reasons(chain(placed, placeless))
    head = PartHead(source=source.index, batch_id=batch_id, columns=source.columns, reasons=reasons)
    write_part(part, head, chain(placed, placeless))

    findings = []
    if data is None and placeless:
        findings.append(_unreadable(source, batch_id))
    if not whole:
        findings.append(_altered(source, batch_id))
    findings += _judge(failed, failures, failed_expected, RowKind.FAILURE, batch_id, searched=data is not None)
    findings += _judge(warned, warnings, warned_expected, RowKind.WARNING, batch_id, searched=data is not None)
    findings += _surplus(source, placed, batch_id)
    failed_matched = min(sum(row.record is not None for row in failed.rows), failed_expected)
    warned_matched = min(sum(row.record is not None for row in warned.rows), warned_expected)
    return Attribution(
        failed_matched=failed_matched,
        failed_unmatched=failed_expected - failed_matched,
        warned_matched=warned_matched,
        warned_unmatched=warned_expected - warned_matched,
        reasons=reasons,
        findings=tuple(findings),
    )


def attribute_whole(
    *,
    data: bytes | None,
    source: Source,
    restore: Restore = as_sent,
    span: Span,
    batch_id: BatchId | None,
    reason: str,
    part: Path,
) -> Attribution:
    """Write every row of a span to ``part`` as failed for one reason, for chunks that failed as a whole.

    If the span's bytes cannot be read any more (``data`` is None), its rows have no row numbers.
    """
    rows: list[PartRow] = []
    whole = True
    if data is not None:
        sent = tuple(parse(data, source.format.delimiter, first_row=span.first_row, first_line=span.first_line))
        records, whole = restore(sent)
        rows += (PartRow(RowKind.FAILURE, record.row, record.line, record.cells, reason) for record in records)
    matched = len(rows)
    rows += [PartRow(RowKind.FAILURE, None, None, (), reason)] * (span.rows - matched)
    reasons = count_reasons(rows)
    write_part(part, PartHead(source=source.index, batch_id=batch_id, columns=source.columns, reasons=reasons), rows)
    return Attribution(
        failed_matched=matched,
        failed_unmatched=span.rows - matched,
        warned_matched=0,
        warned_unmatched=0,
        reasons=reasons,
        findings=() if whole else (_altered(source, batch_id),),
    )


# --- finding the rows ----------------------------------------------------------------------------------


_Tag = tuple[str, ...]


class _Finder:
    """Gives listed rows their records."""

    def __init__(self, source: Source, key_columns: Sequence[str]) -> None:
        self._width = len(source.sent_columns)
        known = all(name in source.sent_columns for name in key_columns)
        self._key = tuple(source.sent_columns.index(name) for name in key_columns) if known else ()

    def find(self, records: Iterable[Record], failed: Sequence[Listed], warned: Sequence[Listed]) -> None:
        """Set ``record`` of every listed row that has a place among the records."""
        exact_failed, exact_warned = _by_content(failed), _by_content(warned)
        wanted = {self._tag(row.content) for row in chain(failed, warned)}
        free: list[Record] = []
        for record in records:
            content = self._content(record)
            row = _take(exact_failed, content) or _take(exact_warned, content)
            if row is not None:
                row.record = record
            elif self._tag(content) in wanted:
                free.append(record)
        free = self._settle(_open(failed), free)
        if not _open(warned):
            return
        taken = []  # by failures, and not by a warning that says exactly the same
        for record in sorted((row.record for row in failed if row.record is not None), key=lambda record: record.row):
            row = _take(exact_warned, self._content(record))
            if row is None:
                taken.append(record)
            else:
                row.record = record
        self._settle(_open(warned), free)
        self._settle(_open(warned), taken)

    def _settle(self, rows: Iterable[Listed], records: Iterable[Record]) -> list[Record]:
        """Give rows a record each by step 2, and return the records that are left, in their order."""
        groups: dict[_Tag, tuple[list[Listed], list[Record]]] = {}
        for row in rows:
            groups.setdefault(self._tag(row.content), ([], []))[0].append(row)
        left: list[Record] = []
        for record in records:
            group = groups.get(self._tag(self._content(record)))
            (left if group is None else group[1]).append(record)
        for members, candidates in groups.values():
            left += self._settle_group(members, candidates)
        return sorted(left, key=lambda record: record.row)

    def _settle_group(self, rows: list[Listed], records: list[Record]) -> list[Record]:
        loose = _by_content(rows, loosely=True)
        left = []
        for record in records:
            row = _take(loose, _loose(self._content(record)))
            if row is None:
                left.append(record)
            else:
                row.record = record
        unplaced = _open(rows)
        if len(unplaced) == 1 and len(left) == 1 and self._has_key(unplaced[0].content):
            unplaced[0].record = left.pop()
        return left

    def _content(self, record: Record) -> tuple[str, ...]:
        return without_empty_end(record.cells[: self._width])

    def _has_key(self, content: tuple[str, ...]) -> bool:
        return bool(self._key) and all(at < len(content) and content[at].strip() for at in self._key)

    def _tag(self, content: tuple[str, ...]) -> _Tag:
        """Return what a listed row shares with its record even if cells were altered: the key, else all."""
        if self._has_key(content):
            return ("key", *(content[at].strip().casefold() for at in self._key))
        return ("content", *_loose(content))


def _loose(content: tuple[str, ...]) -> tuple[str, ...]:
    return without_empty_end(tuple(cell.strip().replace("\r\n", "\n").replace("\r", "\n") for cell in content))


def _by_content(rows: Sequence[Listed], *, loosely: bool = False) -> dict[tuple[str, ...], list[Listed]]:
    """Group the rows that may be compared as a whole; the first one listed stands last, ready to be taken."""
    groups: dict[tuple[str, ...], list[Listed]] = {}
    for row in reversed(rows):
        if row.whole:
            groups.setdefault(_loose(row.content) if loosely else row.content, []).append(row)
    return groups


def _take(groups: dict[tuple[str, ...], list[Listed]], content: tuple[str, ...]) -> Listed | None:
    group = groups.get(content)
    return group.pop() if group else None


def _open(rows: Iterable[Listed]) -> list[Listed]:
    return [row for row in rows if row.record is None]


# --- telling what was found ----------------------------------------------------------------------------


def _part_rows(
    source: Source, restore: Restore, failed: Listing, failed_expected: int, warned: Listing, warned_expected: int
) -> tuple[list[PartRow], list[PartRow], bool]:
    """Return the rows with a place in the source's order, those without, and whether their text is the source's."""
    sent = [row.record for row in chain(failed.rows, warned.rows) if row.record is not None]
    records, whole = restore(sent)
    own = {record.row: moved for record, moved in zip(sent, records, strict=True)}
    placed, placeless = [], []
    for listing, expected, kind in (
        (failed, failed_expected, RowKind.FAILURE),
        (warned, warned_expected, RowKind.WARNING),
    ):
        for row in listing.rows:
            if row.record is None:
                placeless.append(PartRow(kind, None, None, source.unsent(row.content), row.reason))
            else:
                record = own[row.record.row]
                placed.append(PartRow(kind, record.row, record.line, record.cells, row.reason))
        placeless += [PartRow(kind, None, None, (), NOT_LISTED)] * (expected - listing.listed)
    placed.sort(key=lambda row: row.row or 0)  # stable: of one row the failure comes first
    return placed, placeless, whole


def _judge(
    listing: Listing, path: Path | None, expected: int, kind: RowKind, batch_id: BatchId, *, searched: bool
) -> list[Finding]:
    """Tell what is wrong with a result file."""
    told = [("result_file_damaged", problem) for problem in listing.problems]
    if path is None and expected:
        told.append(
            ("result_file_missing", f"is missing, though Marketo counts {expected} such rows; they have no row numbers")
        )
    elif listing.listed != expected:
        told.append(
            ("result_file_differs", f"lists {listing.listed} rows, but Marketo counts {expected}; the count stands")
        )
    placeless = len(_open(listing.rows))
    if placeless and searched:
        told.append(
            ("rows_unmatched", f"lists {placeless} rows that fit no row of the source; they have no row numbers")
        )
    where = "It may still be fetched within seven days of the import" if path is None else f"See {path}"
    return [
        Finding(kind=name, message=f"The {kind} file of batch {batch_id} {what}. {where}.", batch_id=batch_id)
        for name, what in told
    ]


def _unreadable(source: Source, batch_id: BatchId) -> Finding:
    return Finding(
        kind="source_unreadable",
        message=(
            f"{source.path} is not the file that was planned any more, so the rows of batch {batch_id} that failed or "
            f"were warned of have no row numbers in the report. Find them in the original file by their content."
        ),
        batch_id=batch_id,
    )


def _altered(source: Source, batch_id: BatchId | None) -> Finding:
    return Finding(
        kind="source_unreadable",
        message=(
            f"{source.path} is not the file that was planned any more, so the report shows the failed and warned rows "
            f"of batch {batch_id} as they were sent. Their numbers are those of the original file."
        ),
        batch_id=batch_id,
    )


def _surplus(source: Source, placed: Sequence[PartRow], batch_id: BatchId) -> list[Finding]:
    rows = [row.row for row in placed if len(row.cells) > len(source.columns)]
    if not rows:
        return []
    return [
        Finding(
            kind="cells_surplus",
            message=(
                f"{len(rows)} failed or warned rows of {source.path} have more cells than its header, the first is "
                f"row {rows[0]}; the report shows the cells under the header. Look for a missing quote there."
            ),
            batch_id=batch_id,
        )
    ]
