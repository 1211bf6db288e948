"""Keys that stand in more than one row of a job: only the last row of each is sent, or none at all.

**Which keys are the same.**  A row is left out only if Marketo would certainly take it and a later one for the same
record.  E-mail addresses are compared without the blanks around them and without regard to the case of ASCII
letters, as Marketo does; nothing is known for certain of any other key, so those must be the same to the last
character.  Rows that this keeps apart although Marketo does not are sent in their order, and the last one wins there.

A row without a key, or with ``NULL`` for one, is never the same as another, and always sent.
"""

from __future__ import annotations

import string
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from orchestrator import records
from orchestrator.errors import SourceError
from orchestrator.model import Source, Span
from orchestrator.source.copies import remove_copy, rewriting
from orchestrator.source.fingerprints import BYTES_PER_ROW_MAX, FINGERPRINT_BYTES, RepeatedRows
from orchestrator.source.opened import Reading
from orchestrator.source.opening import read_span
from orchestrator.source.places import Places, places_of, read_places
from orchestrator.source.split import Plan
from orchestrator.source.spool import Copy, Workspace, check_room, make_private

EMAIL = "email"  # the key of people, as Marketo names it
LISTING_COLUMNS = ("source_file", "source_row", "source_line", "replaced_by_file", "replaced_by_row")
LINES_SHOWN_MAX = 5  # of repeated keys, in a message

_ASCII_BLANKS = "".join(map(chr, range(0x21)))
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def sameness(column: str) -> Callable[[str], str]:
    """Return what makes those cells of a key's column equal that certainly mean the same record."""
    if column == EMAIL:
        return lambda cell: cell.strip(_ASCII_BLANKS).translate(_LOWER)
    return str


def digest_of(cells: Sequence[str], indexes: Sequence[int], same: Sequence[Callable[[str], str]]) -> bytes | None:
    """Return the fingerprint of a row's key; None if it has none."""
    parts = []
    for index, alike in zip(indexes, same, strict=True):
        cell = cells[index] if index < len(cells) else ""
        bare = cell.strip()
        if not bare or bare.upper() == "NULL":
            return None
        part = alike(cell)
        parts.append(f"{len(part)}:{part}")
    return blake2b("".join(parts).encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT_BYTES).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row of a job's sources, all numbered together from 0."""

    source: Source
    row: int  # of the source's content


class Repeated:
    """The rows of planned sources whose key comes again in a later row."""

    def __init__(
        self, plans: Sequence[Plan], key_columns: Sequence[str], found: RepeatedRows, check: Callable[[], None]
    ) -> None:
        self._plans = plans
        self._found = found
        self._firsts: list[int] = []  # per plan, how many rows stand in those before it
        same = [sameness(column) for column in key_columns]
        total = 0
        for plan in plans:
            self._firsts.append(total)
            columns = plan.source.sent_columns
            if key_columns and set(key_columns) <= set(columns):
                indexes = [columns.index(name) for name in key_columns]
                for span in plan.spans:
                    check()
                    self._add(plan.source, span, total, indexes, same)
            total += plan.source.rows
        self.count = found.settle()

    def _add(
        self, source: Source, span: Span, before: int, indexes: Sequence[int], same: Sequence[Callable[[str], str]]
    ) -> None:
        digests, numbers = [], []
        for at, (_, cells) in enumerate(records.split(read_span(source, span), source.format.delimiter)):
            digest = digest_of(cells, indexes, same)
            if digest is not None:
                digests.append(digest)
                numbers.append(before + span.first_row - 1 + at)
        self._found.add(b"".join(digests), np.asarray(numbers, dtype=np.int64))

    def of(self, plan: int, span: Span) -> list[tuple[int, _Row]]:
        """Return the rows of a span that come again, by their place in it, with the last row of the same key."""
        first = self._firsts[plan] + span.first_row - 1
        pairs = self._found.replaced(first, span.rows).tolist()
        return [(number - first, self._row(by)) for number, by in pairs]

    def _row(self, number: int) -> _Row:
        at = bisect_right(self._firsts, number) - 1
        return _Row(source=self._plans[at].source, row=number - self._firsts[at] + 1)


@contextmanager
def look_for_repeated(plans: Sequence[Plan], key_columns: Sequence[str], workspace: Workspace) -> Iterator[Repeated]:
    """Find the rows whose key comes again.

    Raises:
        SourceError: a source changed meanwhile, or the disk is full.
        Stopped: nobody waits for it any longer.

    """
    directory = workspace.directory
    total = sum(plan.source.rows for plan in plans)
    try:
        make_private(directory)
        check_room(directory, total * BYTES_PER_ROW_MAX, "the keys of all rows have to be written to a file")
        with tempfile.TemporaryDirectory(prefix="keys-", dir=directory) as temporary:
            rows = RepeatedRows(Path(temporary), rows=total)
            yield Repeated(plans, key_columns, rows, workspace.check)
    except OSError as error:
        raise SourceError(
            f"keys cannot be compared in {directory}: {error.strerror or error}. "
            "Make room, or choose another disk with --set state.dir=DIR."
        ) from error


def refuse_repeated(plans: Sequence[Plan], repeated: Repeated) -> None:
    """Refuse sources in which a key stands twice.

    Raises:
        SourceError: there is one; the first lines are told.

    """
    if not repeated.count:
        return
    told: list[str] = []
    for at, plan in enumerate(plans):
        for span in plan.spans:
            again = repeated.of(at, span)
            if again:
                _, places = _places(plan.source, span, read_span(plan.source, span))
                told += [
                    f"line {places[row, 1]} of {plan.source.path} (again in row {by.row} of {by.source.path})"
                    for row, by in again
                ]
            if len(told) >= LINES_SHOWN_MAX:
                break
    raise SourceError(
        f"rows whose key stands in a later row, too: {repeated.count:,}; nothing was sent. The first ones: "
        f"{'; '.join(told[:LINES_SHOWN_MAX])}. Remove them, or send only the last row of each key: "
        "--on-repeated-key last"
    )


def without_repeated(plans: Sequence[Plan], repeated: Repeated, listing: Copy, reading: Reading) -> tuple[Plan, ...]:
    """Leave out every row whose key comes again; ``listing`` gets a line for each.

    A source without such rows is sent as it is, of another one a copy is made.

    Raises:
        SourceError: a source changed meanwhile, or the disk is full.

    """
    listing.write(records.write_record(LISTING_COLUMNS).encode())
    found = []
    for at, plan in enumerate(plans):
        superseded = sum(len(repeated.of(at, span)) for span in plan.spans)
        if not superseded:
            found.append(plan)
            continue
        source = plan.source
        with rewriting(reading.workspace, source, "last") as copy:
            copy.write(source.header)
            for span in plan.spans:
                data = read_span(source, span)
                own, places = _places(source, span, data)
                again = repeated.of(at, span)
                kept = np.ones(span.rows, bool)
                kept[[row for row, _ in again]] = False
                copy.place(places[kept])
                copy.write(b"".join(data[start - span.start : stop - span.start] for start, stop in _runs(own[kept])))
                left_out = (
                    (source.path, str(places[row, 0]), str(places[row, 1]), by.source.path, str(by.row))
                    for row, by in again
                )
                listing.write("".join(map(records.write_record, left_out)).encode())
        cut = copy.planned(reading, mapped=source.mapped, superseded=superseded)
        if source.original is not None:
            remove_copy(source)
        found.append(replace(cut, warnings=plan.warnings))
    return tuple(found)


def _places(source: Source, span: Span, data: bytes) -> tuple[Places, Places]:
    """Return where the rows of a span stand, in the content and in the original."""
    lines = [line for line, _ in records.split(data, source.format.delimiter)]
    own = places_of(data, lines, first_row=span.first_row, first_line=span.first_line, start=span.start)
    if source.original is None:
        return own, own
    return own, read_places(source.original.places, first_row=span.first_row, rows=span.rows)


def _runs(kept: Places) -> Iterator[tuple[int, int]]:
    """Yield the ranges of bytes that records take, those that touch as one."""
    if len(kept):
        gaps = np.flatnonzero(kept[1:, 2] != kept[:-1, 3])
        starts = kept[np.concatenate(([0], gaps + 1)), 2]
        stops = kept[np.concatenate((gaps, [len(kept) - 1])), 3]
        yield from zip(starts.tolist(), stops.tolist(), strict=True)
