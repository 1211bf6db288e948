"""Whether every row of the journal can be read and understood: one that cannot be hides no other.

Rows are read by their places in the order of their keys, for the key of a damaged row may be what is damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, func, select
from sqlalchemy.exc import DBAPIError

from orchestrator.journal import rows as codec
from orchestrator.journal.faults import ILLEGIBLE, damage_in_words
from orchestrator.journal.reading import fetch
from orchestrator.journal.schema import calls, chunks, events, findings, jobs, leases, sources, subscriptions, waits

PAGE_ROWS: Final = 500  # read at once; one by one only if something is wrong with one of them
SHOWN_MAX: Final = 50  # rows of a table that are named

_KEYS: Final[Mapping[Table, tuple[str, ...]]] = {
    subscriptions: ("host",),
    leases: ("host",),
    jobs: ("id",),
    sources: ("job_id", "position"),
    chunks: ("id",),
    findings: ("id",),
    events: ("seq",),
    calls: ("host", "day", "job_id", "kind"),
    waits: ("job_id", "cause"),
}


def _unpack_lease(row: Mapping[str, Any]) -> object:
    return codec.unpack_process(row["host"], codec.unpack_plain(leases, row)["process"])


_UNPACKED: Final[Mapping[Table, Callable[[Mapping[str, Any]], object]]] = {
    jobs: codec.unpack_job,
    sources: codec.unpack_source,
    chunks: codec.unpack_chunk,
    findings: codec.unpack_finding,
    events: codec.unpack_event,
    leases: _unpack_lease,
}


def illegible(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> Iterator[tuple[str, str]]:
    """Yield the rows of a table that cannot be read or understood, each with what is wrong with it."""
    told = 0
    for place, row in _rows(connection, table, conditions):
        if not isinstance(row, Exception):
            continue
        if told == SHOWN_MAX:
            yield "more rows", "not looked at any more"
            return
        told += 1
        yield _name(connection, table, conditions, place), damage_in_words(row)


def legible_jobs(connection: Connection) -> tuple[list[str], int]:
    """Return the ids of all jobs that are kept, however their rows are else, and how many ids cannot be read."""
    kept = jobs.c.pruned_ms.is_(None)
    count = connection.execute(select(func.count()).select_from(jobs).where(kept)).scalar_one()
    found: list[str] = []
    for place in range(count):
        query = select(jobs.c.id).where(kept).order_by(jobs.c.created_ms, jobs.c.id).limit(1).offset(place)
        try:
            found += connection.execute(query).scalars().all()
        except ILLEGIBLE as error:
            _let_through(connection, error)
    return found, count - len(found)


def _rows(
    connection: Connection, table: Table, conditions: tuple[ColumnElement[bool], ...]
) -> Iterator[tuple[int, object]]:
    """Yield the place and the value of each row, or the error in place of the value."""
    unpack: Callable[[Mapping[str, Any]], object] = _UNPACKED.get(table, partial(codec.unpack_plain, table))
    query = select(table).where(*conditions).order_by(*(table.c[name] for name in _KEYS[table]))
    try:
        count = connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()
    except ILLEGIBLE as error:
        _let_through(connection, error)
        yield 0, error
        return
    for first in range(0, count, PAGE_ROWS):
        try:
            page: list[object] = [unpack(row) for row in fetch(connection, query.limit(PAGE_ROWS).offset(first))]
        except ILLEGIBLE as error:
            _let_through(connection, error)
            page = []
            for place in range(first, min(count, first + PAGE_ROWS)):
                page += _row(connection, query.limit(1).offset(place), unpack)
                if _is_of_all_rows(error):
                    break
        yield from enumerate(page, first)


def _row(connection: Connection, query: Any, unpack: Callable[[Mapping[str, Any]], object]) -> list[object]:
    try:
        return [unpack(row) for row in fetch(connection, query)]
    except ILLEGIBLE as error:
        _let_through(connection, error)
        return [error]


def _name(connection: Connection, table: Table, conditions: tuple[ColumnElement[bool], ...], place: int) -> str:
    """Return the key of a row in words; its place, if the key cannot be read either."""
    keys = [table.c[name] for name in _KEYS[table]]
    try:
        row = connection.execute(select(*keys).where(*conditions).order_by(*keys).limit(1).offset(place)).first()
    except ILLEGIBLE as error:
        _let_through(connection, error)
        row = None
    if row is None:
        return f"row {place + 1} by its key"
    return "row " + ", ".join(f"{key.name} {value}" for key, value in zip(keys, row, strict=True))


def _let_through(connection: Connection, error: Exception) -> None:
    """Raise what says nothing about a row: of a server, which checks what it reads, a fault is one of the way to it."""
    if isinstance(error, DBAPIError) and connection.dialect.name != "sqlite":
        raise error


def _is_of_all_rows(error: Exception) -> bool:
    """Tell whether an error is about the table: a column is not there, for example."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(original, sqlite3.OperationalError) and str(original).startswith("no such")
