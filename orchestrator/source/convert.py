"""Conversions of single cells, and how many they changed; pure.

A conversion returns the cell as it is to be sent, or None if the cell cannot be converted.  Such a cell is sent as
it stands and Marketo judges it, which is counted, because a value that is guessed is worse than one that is
refused.  So conversions are strict: ``1.2`` is no German number, because it could be one and a fifth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import ne
from typing import cast
from zoneinfo import ZoneInfo

from orchestrator.mapping import BooleanWords, Column, DateFormat, NumberStyle
from orchestrator.source.normal import BLANKS

Convert = Callable[[str], str | None]

REMEMBERED_MAX = 65_536  # cells of one column whose conversion is remembered; most columns have far fewer values
CHARS_MAX = 100  # of a date, a number or a boolean; what is longer is none


@dataclass(slots=True, kw_only=True)
class Conversion:
    """One conversion of one column, with what it did so far."""

    column: str  # the source's name
    name: str  # its key in the mapping
    convert: Convert
    changed: int = 0
    failed: int = 0
    first_failed_line: int | None = None

    def apply(self, cells: Sequence[str], lines: Sequence[int]) -> Sequence[str]:
        """Return the cells converted; ``lines`` are where their records start."""
        found = list(map(self.convert, cells))
        sent: Sequence[str]
        if None in found:
            self.failed += found.count(None)
            if self.first_failed_line is None:
                self.first_failed_line = lines[found.index(None)]
            sent = [cell if new is None else new for cell, new in zip(cells, found, strict=True)]
        else:
            sent = cast("list[str]", found)
        self.changed += sum(map(ne, cells, sent))
        return sent


def conversions(name: str, column: Column) -> tuple[Conversion, ...]:
    """Return what is done to the cells of a column, in order; nothing if they are sent as they stand."""
    return tuple(Conversion(column=name, name=kind, convert=convert) for kind, convert in _converts(column))


def _converts(column: Column) -> Iterator[tuple[str, Convert]]:
    if column.trim:
        yield "trim", trim
    if column.values:
        values = column.values
        yield "values", lambda cell: values.get(cell, cell)
    if column.dates:
        zone = None if column.timezone is None else ZoneInfo(column.timezone)
        yield "date", _remembered(_date(column.dates, zone))
    if column.number is not None:
        yield "number", _remembered(_number(column.number))
    if column.boolean is not None:
        yield "boolean", _remembered(_boolean(column.boolean))
    if column.max_length is not None:
        length = column.max_length
        yield "max_length", lambda cell: cell[:length]


def _remembered(convert: Convert) -> Convert:
    """Remember what came of cells, for the same ones come again."""
    known = lru_cache(REMEMBERED_MAX)(convert)
    return lambda cell: known(cell) if len(cell) <= CHARS_MAX else None


def trim(cell: str) -> str:
    """Remove what looks like nothing at both ends: spaces, tabs, line ends, no-break and zero-width spaces."""
    return cell.strip(BLANKS)


def _date(formats: Sequence[DateFormat], zone: ZoneInfo | None) -> Convert:
    def convert(cell: str) -> str | None:
        if not cell:
            return cell
        for form in formats:
            try:
                moment = datetime.strptime(cell, form.text)  # noqa: DTZ007  # the zone is added below
            except ValueError:
                continue
            if not form.timed:
                return moment.date().isoformat()
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=zone)
                if not _exists(moment):
                    continue
            return moment.isoformat(timespec="seconds")
        return None

    return convert


def _exists(moment: datetime) -> bool:
    """Tell whether clocks ever showed this time; they skip an hour when summer time begins."""
    try:
        return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)
    except OverflowError:  # in the first or last hours of the calendar
        return False


def _number(style: NumberStyle) -> Convert:
    plain = "[0-9]+"
    grouped = f"[0-9]{{1,3}}(?P<mark>[{re.escape(style.thousands)}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*"
    whole = f"{grouped}|{plain}" if style.thousands else plain
    pattern = re.compile(rf"(?P<sign>[+-]?)(?P<whole>{whole})?(?:{re.escape(style.decimal)}(?P<part>[0-9]*))?")
    marks = str.maketrans("", "", style.thousands)

    def convert(cell: str) -> str | None:
        found = pattern.fullmatch(cell)
        if not cell or found is None:
            return None if cell else cell
        before = (found["whole"] or "").translate(marks)
        behind = found["part"] or ""
        if not before and not behind:
            return None
        sign = "-" if found["sign"] == "-" else ""
        return f"{sign}{before or '0'}" + (f".{behind}" if behind else "")

    return convert


def _boolean(words: BooleanWords) -> Convert:
    meanings = dict.fromkeys(words.true, "true") | dict.fromkeys(words.false, "false")

    def convert(cell: str) -> str | None:
        return meanings.get(cell.casefold(), None if cell else cell)

    return convert
