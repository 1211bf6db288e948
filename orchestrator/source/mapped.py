"""Sources with a mapping: what is sent in place of their records.

If columns only get other names, the header is replaced, and records are sent from the source itself, byte for byte.
Everything else is written once into a copy, in the form that is sent, with a file beside it that says where every
row stood (`places`).  The source is planned first like any other, so what is odd about it is told by its own lines,
and then read in the spans that came of it, each with its checksum.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from orchestrator import records
from orchestrator.errors import ConfigError, RecordTooLarge
from orchestrator.mapping import Mapping, shown_key
from orchestrator.model import MappedColumns, Source, Span
from orchestrator.source.check import shown
from orchestrator.source.convert import Conversion, conversions
from orchestrator.source.copies import rewriting
from orchestrator.source.opened import Reading
from orchestrator.source.opening import changed, read_span
from orchestrator.source.places import places_of
from orchestrator.source.split import Plan

READ_BYTES_MAX = 33_554_432  # of one record of a source that is mapped, and of what is converted at a time
COLUMNS_SHOWN_MAX = 50  # of a header, in a message
READ_ROWS_MAX = 20_000  # converted at a time: typical rows of that many fit in some megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One column that is sent."""

    name: str
    origin: int | None  # its place among the source's columns; None: a constant
    constant: str = ""
    conversions: tuple[Conversion, ...] = ()


def renames_only(mapping: Mapping) -> bool:
    """Tell whether a mapping changes nothing but names."""
    columns = (mapping.others, *mapping.columns.values())
    return not mapping.constants and not any(each.drop or conversions("", each) for each in columns)


def growth_bytes_max(mapping: Mapping) -> int:
    """Return how much longer a header can become by other names, quotes included."""
    return sum(len((each.to or "").encode()) + 2 for each in mapping.columns.values())


def check_columns(mapping: Mapping, sources: Iterable[Source]) -> None:
    """Compare the columns that a mapping names with those that the sources have.

    Raises:
        ConfigError: no source has one of them.

    """
    known = [source for source in sources if source.columns]
    there = {name for source in known for name in source.columns}
    absent = [name for name in mapping.columns if name not in there]
    if known and absent:
        names = list(map(shown, sorted(there)))
        told = ", ".join(names[:COLUMNS_SHOWN_MAX]) + (" ..." if len(names) > COLUMNS_SHOWN_MAX else "")
        where = f"{known[0].path} has no such column" if len(known) == 1 else "none of the files has such a column"
        raise ConfigError(f"{mapping.name}: columns.{shown_key(absent[0])}: {where}; there are {told}")


def bind(mapping: Mapping, source: Source) -> tuple[Sent, ...]:
    """Return the columns that are sent of a source, in its order, constants last.

    Raises:
        ConfigError: two columns would have one name, or none is left.

    """
    times = Counter(source.columns)
    sent = []
    for origin, name in enumerate(source.columns):
        column = mapping.columns.get(name, mapping.others)
        if name in mapping.columns and times[name] > 1:
            raise ConfigError(
                f"{mapping.name}: columns.{shown_key(name)}: {source.path} has {times[name]} columns of this name; "
                "rename all but one in the file"
            )
        if not column.drop:
            sent.append(Sent(name=column.to or name, origin=origin, conversions=conversions(name, column)))
    sent += [Sent(name=name, origin=None, constant=text) for name, text in mapping.constants.items()]
    if all(each.origin is None for each in sent):
        raise ConfigError(f"{mapping.name}: no column of {source.path} is left; nothing would be imported")
    _check_names(mapping, source, sent)
    return tuple(sent)


def rename(plan: Plan, mapping: Mapping) -> Plan:
    """Replace the header of a source whose columns only get other names.

    Raises:
        ConfigError: two columns would have one name.

    """
    source = plan.source
    if not source.columns:
        return plan
    names = tuple(each.name for each in bind(mapping, source))
    if names == source.columns:
        return plan
    header = _header(names, source)
    mapped = MappedColumns(names=names, origins=tuple(range(len(names))))
    return replace(plan, source=replace(source, header=header, mapped=mapped))


def convert(planned: Plan, mapping: Mapping, reading: Reading) -> tuple[Plan, tuple[Conversion, ...]]:
    """Write what is sent of a planned source into a copy, and plan that; return it with what was done.

    Raises:
        ConfigError: the mapping does not fit the source.
        SourceError: the source changed meanwhile, a record is too large for an upload, or the disk is full.

    """
    source = planned.source
    if not source.columns:
        return planned, ()
    sent = bind(mapping, source)
    names = tuple(each.name for each in sent)
    header = _header(names, source)
    with rewriting(reading.workspace, source, "mapped") as copy:
        copy.write(header)
        for span in planned.spans:
            data = read_span(source, span)
            lines, rows = _read(source, data, span)
            copy.place(places_of(data, lines, first_row=span.first_row, first_line=span.first_line, start=span.start))
            lines = [line + span.first_line - 1 for line in lines]
            made = list(_converted(sent, _straightened(rows, len(source.columns)), lines))
            written = _written(made, source.format.delimiter).encode()
            if len(written) > reading.part_bytes_max - len(header):
                _check_sizes(source, made, lines, reading.part_bytes_max - len(header))
            copy.write(written)
    done = tuple(conversion for each in sent for conversion in each.conversions)
    plan = copy.planned(reading, mapped=MappedColumns(names=names, origins=tuple(each.origin for each in sent)))
    return replace(plan, warnings=(*planned.warnings, *unconverted(source, done))), done


def told(source: Source, done: Iterable[Conversion]) -> str | None:
    """Say how many cells of a source were changed by which conversion; None if none was."""
    counts = [f"{shown(each.column)} {each.name} {each.changed:,}" for each in done if each.changed]
    if not counts:
        return None
    more = f", and {len(counts) - COLUMNS_SHOWN_MAX} more" if len(counts) > COLUMNS_SHOWN_MAX else ""
    return f"{source.path}: cells changed by the mapping: {', '.join(counts[:COLUMNS_SHOWN_MAX])}{more}."


def unconverted(source: Source, done: Iterable[Conversion]) -> tuple[str, ...]:
    """Say which cells could not be converted."""
    return tuple(
        f"{source.path}: from line {each.first_failed_line} on, {each.failed:,} cell(s) of column {shown(each.column)} "
        f"cannot be converted by {each.name}; they are sent as they stand. Correct the cells, or the mapping."
        for each in done
        if each.failed
    )


# --- parts ---------------------------------------------------------------------------------------------


def _check_names(mapping: Mapping, source: Source, sent: Sequence[Sent]) -> None:
    """Refuse a name that two columns would have; one that stands twice in the file itself is left to other checks."""
    before: dict[str, Sent] = {}
    for each in sent:
        other = before.setdefault(each.name, each)
        if other is each or (
            each.origin is not None and source.columns[each.origin] == each.name == _own(source, other)
        ):
            continue
        what = "a constant" if each.origin is None else f"column {shown(source.columns[each.origin])}"
        key = "constants" if each.origin is None else "columns"
        raise ConfigError(
            f"{mapping.name}: {key}: {what} of {source.path} would be sent as {shown(each.name)}, and so would column "
            f"{shown(_own(source, other) or each.name)}; drop one, or give it another name"
        )


def _own(source: Source, sent: Sent) -> str | None:
    return None if sent.origin is None else source.columns[sent.origin]


def _header(names: Sequence[str], source: Source) -> bytes:
    line_end = "\r\n" if source.header.endswith(b"\r\n") else "\n"
    return (records.write_record(names, source.format.delimiter).removesuffix("\n") + line_end).encode()


def _read(source: Source, data: bytes, span: Span) -> tuple[list[int], list[list[str]]]:
    found = list(records.split(data, source.format.delimiter))
    if len(found) != span.rows:
        raise changed(source.path, "the file's content has changed")
    return [line for line, _ in found], [cells for _, cells in found]


def _straightened(rows: list[list[str]], width: int) -> Sequence[Sequence[str]]:
    """Give every row as many cells as the header has; the planner has told of those that had not."""
    return [row if len(row) == width else [*row[:width], *[""] * (width - len(row))] for row in rows]


def _converted(sent: Sequence[Sent], rows: Sequence[Sequence[str]], lines: Sequence[int]) -> Iterable[tuple[str, ...]]:
    """Convert column by column, which costs far less than row by row."""
    columns = list(zip(*rows, strict=True))
    made: list[Iterable[str]] = []
    for each in sent:
        if each.origin is None:
            made.append(repeat(each.constant, len(rows)))
            continue
        cells: Sequence[str] = columns[each.origin]
        for conversion in each.conversions:
            cells = conversion.apply(cells, lines)
        made.append(cells)
    return zip(*made, strict=True)


def _written(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """Write records as `records.write_record` does, with the quicker writer of the standard library.

    What that writes of carriage returns differs between versions of Python.
    """
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    text = out.getvalue()
    return "".join(records.write_record(row, delimiter) for row in rows) if "\r" in text else text


def _check_sizes(source: Source, rows: Sequence[Sequence[str]], lines: Sequence[int], bytes_max: int) -> None:
    """Refuse a record that fits in no upload, by the line where it stands in the source."""
    for row, line in zip(rows, lines, strict=True):
        size = len(records.write_record(row, source.format.delimiter).encode())
        if size > bytes_max:
            raise RecordTooLarge(
                f"{source.path}: the record that starts in line {line} has {size:,} bytes when it is mapped; one "
                f"upload holds {bytes_max:,} beside the header. Shorten it, or drop a column."
            )
