"""Marketo's file of failed or warned rows, read for what it may be: possibly cut, altered or no such file at all.

A good one repeats the header of the upload, adds a last column with the reason, and lists the rows as they
were sent.  It has no row numbers and no promised order.  Columns that are empty in all its rows are missing
from its end, so columns are located by name, and a row whose length is not the header's has its reason in its
last cell.  Nothing in such a file raises: what is wrong with it becomes a problem to tell, and its rows are
kept as far as they can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from orchestrator.records import BOM, Record, parse
from orchestrator.report.part import RowKind

LISTING_BYTES_MAX = 64 << 20  # read of one file; a chunk is under 10 MB and a reason rarely over 100 characters
FOREIGN_ROWS_MAX = 1_000  # kept beyond the rows of the chunk, which no honest file has

_REASON_COLUMNS = ("import failure reason", "import warning reason")


@dataclass(slots=True, eq=False)
class Listed:
    """One row that Marketo lists.

    ``content`` are its cells by the source's columns, without empty ones at the end.  ``whole`` says that it may
    be compared as a whole: cells that it lacks were empty, and are not lost.
    """

    kind: RowKind
    content: tuple[str, ...]
    reason: str
    whole: bool
    record: Record | None = None  # its place in the source, once it is found


@dataclass(slots=True)
class Listing:
    """The rows of one result file; ``listed`` counts also those that were too many to keep."""

    rows: list[Listed] = field(default_factory=list)
    listed: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where the columns of a result file belong."""

    width: int  # columns of the source
    cells: int  # columns of the file, the reason included
    positions: tuple[int | None, ...]  # per column without the reason: its place in the source
    reason: int | None  # the reason's column
    ordered: bool  # the columns are the source's first ones in their order: no need to rearrange
    whole: bool  # only columns at the source's end are missing

    def place(self, cells: tuple[str, ...], *, cut_off: bool) -> tuple[tuple[str, ...], str]:
        """Divide a row into its content by the source's columns, and its reason."""
        at = self.reason
        if at is not None and len(cells) != self.cells and at == self.cells - 1:
            at = len(cells) - 1
        if at is None or at >= len(cells) or (cut_off and len(cells) < self.cells):
            reason = ""
        else:
            reason = cells[at]
            cells = cells[:at] + cells[at + 1 :]
        if self.ordered:
            return without_empty_end(cells[: self.width]), reason
        content = [""] * self.width
        for position, cell in zip(self.positions, cells, strict=False):
            if position is not None:
                content[position] = cell
        return without_empty_end(tuple(content)), reason


def without_empty_end(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Cut off the empty cells at the end, as Marketo does."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


def read_listing(
    path: Path | None, kind: RowKind, *, columns: tuple[str, ...], key_columns: Sequence[str], delimiter: str, rows: int
) -> Listing:
    """Read a result file, if there is one, for a chunk of ``rows`` rows with these source columns."""
    listing = Listing()
    if path is None:
        return listing
    try:
        with path.open("rb") as file:
            data = file.read(LISTING_BYTES_MAX + 1)
    except OSError as error:
        listing.problems.append(f"cannot be read ({error.strerror or error})")
        return listing
    if len(data) > LISTING_BYTES_MAX:
        data = data[:LISTING_BYTES_MAX]
        listing.problems.append(f"is larger than any it can be; only its first {LISTING_BYTES_MAX:,} bytes are read")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        listing.problems.append(f"is no UTF-8 from its byte {error.start} on")
    records = parse(data.removeprefix(BOM), delimiter)
    header = next(records, None)
    if header is None:
        return listing
    layout = _layout(header.cells, columns, key_columns, listing)
    ends_well = data.endswith((b"\n", b"\r"))
    previous: Record | None = None
    for record in islice(records, rows + FOREIGN_ROWS_MAX):
        if previous is not None:
            _add(listing, layout, kind, previous, cut_off=False)
        previous = record
    beyond = sum(1 for _ in records)
    if previous is not None:
        _add(listing, layout, kind, previous, cut_off=not ends_well and not beyond)
    listing.listed = len(listing.rows) + beyond
    if beyond:
        listing.problems.append(f"lists {beyond} rows more than can belong to it; they are left out of the report")
    return listing


def _add(listing: Listing, layout: _Layout, kind: RowKind, record: Record, *, cut_off: bool) -> None:
    content, reason = layout.place(record.cells, cut_off=cut_off)
    listing.rows.append(Listed(kind, content, reason, layout.whole))


def _layout(header: tuple[str, ...], columns: tuple[str, ...], key_columns: Sequence[str], listing: Listing) -> _Layout:
    """Locate the columns of a result file by name."""
    reason = _find_reason(header)
    if reason is None:
        listing.problems.append("has no column with the reason")
    positions = _positions([name for at, name in enumerate(header) if at != reason], columns)
    known = sorted(position for position in positions if position is not None)
    foreign = positions.count(None)
    whole = known == list(range(len(known))) and (bool(known) or not foreign)
    if foreign and not known:
        listing.problems.append("has none of the source's columns in its first line")
    elif foreign:
        listing.problems.append(f"has {foreign} columns that the source does not have")
    missing = [name for name in key_columns if name in columns and columns.index(name) not in known]
    if known and not whole:
        what = f"the key column {', '.join(missing)}" if missing else "columns that are not the last ones"
        listing.problems.append(f"lacks {what}")
    return _Layout(
        width=len(columns),
        cells=len(header),
        positions=positions,
        reason=reason,
        ordered=whole and positions == tuple(range(len(positions))),
        whole=whole,
    )


def _find_reason(header: tuple[str, ...]) -> int | None:
    """Locate the reason: the last of its name, for a source may have such a column too."""
    for at in range(len(header) - 1, -1, -1):
        if header[at].strip().casefold() in _REASON_COLUMNS:
            return at
    return None


def _positions(names: Sequence[str], columns: tuple[str, ...]) -> tuple[int | None, ...]:
    """Find each name among the source's columns: exactly, else but for case and space; each column once."""
    free: dict[str, list[int]] = {}
    for position in range(len(columns) - 1, -1, -1):
        free.setdefault(columns[position], []).append(position)
    found: list[int | None] = [free[name].pop() if free.get(name) else None for name in names]
    loose: dict[str, list[int]] = {}
    for name, left in free.items():
        loose.setdefault(name.strip().casefold(), []).extend(left)
    for at, name in enumerate(names):
        candidates = loose.get(name.strip().casefold(), [])
        if found[at] is None and len(candidates) == 1:
            found[at] = candidates.pop()
    return tuple(found)
