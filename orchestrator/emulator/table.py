"""Reading uploaded text, and writing the files that tell which rows failed.

Uploads are read with Python's own ``csv`` module, leniently: cells are padded and cut to the header, blank lines
are no rows, a quote that stays open ends with the file.  A carriage return is part of a line end only right
before a line feed; elsewhere it is a character like any other, which ``csv`` has to be talked into.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

FAILURE_COLUMN = "Import Failure Reason"
WARNING_COLUMN = "Import Warning Reason"

_LONE_CR = re.compile(r"\r(?!\n)")
# What cells are joined with where they are kept; the first one that the text does not hold.
_SEPARATORS = ("\x1f", "\x1e", "\x1d", "\x1c", "\x00")
_PRIVATE_USE = range(0xE000, 0xF8FF)


def absent_character(text: str) -> str:
    """Return a character that the text does not hold, a short one if possible."""
    for candidate in (*_SEPARATORS, *map(chr, _PRIVATE_USE)):
        if candidate not in text:
            return candidate
    raise AssertionError("a text of 10 MB cannot hold every private-use character and every separator")


@contextmanager
def _cells_of_any_length(characters: int) -> Iterator[None]:
    """Raise csv's limit on a cell, which is global, for as long as one upload is read."""
    before = csv.field_size_limit(max(characters, 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


@dataclass(frozen=True, slots=True)
class Table:
    """An upload as text: the header's cells as they were sent, and the records behind it."""

    text: str
    delimiter: str
    separator: str  # a character that occurs nowhere in the text
    header: tuple[str, ...]

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of every record, as many as the header has."""
        width = len(self.header)
        records = _records(self.text, self.delimiter)
        next(records, None)
        for cells in records:
            if len(cells) != width:
                cells = [*cells[:width], *[""] * (width - len(cells))]
            yield cells


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the cells of every record that is no blank line, the header first."""
    lone_cr = ""
    if "\r" in text and _LONE_CR.search(text):
        lone_cr = absent_character(text)
        text = _LONE_CR.sub(lone_cr, text)
    with _cells_of_any_length(len(text)):
        for cells in csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter):
            if not cells:
                continue
            yield [cell.replace(lone_cr, "\r") for cell in cells] if lone_cr else cells


def read_table(data: bytes, delimiter: str) -> Table | None:
    """Return the upload as text, or None if it holds no header; bytes that are no UTF-8 become U+FFFD."""
    text = data.decode("utf-8", "replace")
    header = next(_records(text, delimiter), None)
    if header is None:
        return None
    return Table(text=text, delimiter=delimiter, separator=absent_character(text), header=tuple(header))


@dataclass(frozen=True, slots=True)
class Judged:
    """A row with something to say about it: its cells as they were sent, joined, and the reason."""

    row: int
    cells: str
    reason: str


def result_file(
    judged: Iterable[Judged],
    *,
    header: Sequence[str],
    separator: str,
    delimiter: str,
    column: str,
    cut_trailing_empty: bool,
) -> str:
    """Write a failure or warning file.

    With ``cut_trailing_empty`` the columns at the end that are empty in all of these rows are missing from
    header and rows alike, as Marketo does it; the reason comes last all the same.
    """
    rows = [(one.cells.split(separator), one.reason) for one in judged]
    width = len(header)
    if cut_trailing_empty:
        while width > 1 and not any(cells[width - 1] for cells, _ in rows):
            width -= 1
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow([*header[:width], column])
    writer.writerows([*cells[:width], reason] for cells, reason in rows)
    return out.getvalue()
