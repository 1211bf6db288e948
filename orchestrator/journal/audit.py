"""Whether what the journal says can be read, and can be true: the laws that hold for every job at every moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select
from sqlalchemy.exc import DBAPIError

from orchestrator.journal import reading
from orchestrator.journal.faults import damage_in_words
from orchestrator.journal.legible import illegible, legible_jobs
from orchestrator.journal.schema import (
    calls,
    chunks,
    events,
    findings,
    jobs,
    leases,
    sources,
    subscriptions,
    versions,
    waits,
)
from orchestrator.model import Chunk, Job, JobId, JobState, Phase, Source

ILLEGIBLE = "illegible"  # the kind of flaw of rows that cannot be read or understood
_COUNTED = (Phase.DONE, Phase.REFUSED)
_MEASURED = (*_COUNTED, Phase.COLLECTING)  # Marketo has said how many rows went well; which ones, is being fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something in the journal, or beside it, that cannot be as it is."""

    what: str
    where: str  # the job, the table or the file
    message: str


def damaged(connection: Connection) -> list[Flaw]:
    """Return what the database itself finds, and what cannot be read of all jobs together."""
    flaws = _damaged_file(connection)
    for table in (subscriptions, leases, calls):
        flaws += _illegible(connection, table, table.name)
    stamps = connection.execute(select(func.count()).select_from(versions)).scalar_one()
    if stamps != 1:
        message = f"it has {stamps} rows, so it does not say which version wrote the journal"
        flaws.append(Flaw(what="version_unclear", where=versions.name, message=message))
    _, nameless = legible_jobs(connection)
    if nameless:
        flaws.append(Flaw(what=ILLEGIBLE, where="jobs", message=f"the ids of {nameless} rows cannot be read"))
    return flaws


def _damaged_file(connection: Connection) -> list[Flaw]:
    """Return what the database itself finds; a server checks all this whenever it reads and writes."""
    if connection.dialect.name != "sqlite":
        return []
    flaws = []
    try:
        words = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        flaws += [Flaw(what="damaged", where="the file", message=str(word)) for word in words if word != "ok"]
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            message = f"row {row[1]} refers to a row of {row[2]} that is not there"
            flaws.append(Flaw(what="refers_to_nothing", where=str(row[0]), message=message))
    except DBAPIError as error:
        flaws.append(Flaw(what="damaged", where="the file", message=damage_in_words(error)))
    return flaws


def job_flaws(connection: Connection, job_id: JobId) -> list[Flaw]:
    """Return what cannot be read of a job; else what contradicts itself: its spans, its parts, its counts, its state."""
    unread = [
        flaw
        for table in (jobs, sources, chunks, findings, events, waits)
        for flaw in _illegible(
            connection,
            table,
            f"job {job_id}, {table.name}",
            (table.c.id if table is jobs else table.c.job_id) == job_id,
        )
    ]
    if unread:
        return unread
    job: Any = reading.job(connection, job_id)
    parts = reading.job_chunks(connection, job.id)
    found = [
        *_source_flaws(reading.job_sources(connection, job.id), parts),
        *_part_flaws(parts),
        *_count_flaws(parts),
        *_state_flaws(job, parts),
    ]
    return [Flaw(what=kind, where=f"job {job.id}", message=message) for kind, message in found]


def _illegible(connection: Connection, table: Table, where: str, *conditions: ColumnElement[bool]) -> list[Flaw]:
    return [
        Flaw(what=ILLEGIBLE, where=where, message=f"{row}: {message}")
        for row, message in illegible(connection, table, *conditions)
    ]


def _source_flaws(sources: tuple[Source, ...], chunks: tuple[Chunk, ...]) -> Iterator[tuple[str, str]]:
    """Yield where the chunks that were not split do not hold every row of a source once, in order."""
    for source in sources:
        byte, row = 0, 1
        leaves = [each.span for each in chunks if each.span.source == source.index and each.phase is not Phase.SPLIT]
        for span in sorted(leaves, key=lambda each: (each.start, each.first_row)):
            if span.start < byte or span.first_row < row:
                yield "overlap", f"source {source.index}: rows from {span.first_row} on stand in two chunks"
            elif span.first_row > row:
                yield "gap", f"source {source.index}: rows {row} to {span.first_row - 1} stand in no chunk"
            byte, row = span.end, span.first_row + span.rows
        if row != source.rows + 1:
            yield "rows_differ", f"source {source.index}: its chunks have {row - 1} rows, it has {source.rows}"


def _part_flaws(chunks: tuple[Chunk, ...]) -> Iterator[tuple[str, str]]:
    """Yield the chunks that have parts though they were not split, or parts of other rows than their own."""
    rows: dict[int, int] = {}
    for chunk in chunks:
        if chunk.parent is not None:
            rows[chunk.parent] = rows.get(chunk.parent, 0) + chunk.span.rows
    for chunk in chunks:
        if (chunk.phase is Phase.SPLIT) != (chunk.id in rows) or rows.get(chunk.id, chunk.span.rows) != chunk.span.rows:
            yield "parts_differ", f"chunk {chunk.id} of {chunk.span.rows} rows has parts of {rows.get(chunk.id, 0)}"


def _count_flaws(chunks: tuple[Chunk, ...]) -> Iterator[tuple[str, str]]:
    """Yield the chunks whose rows are not each accepted, failed or unknown, once there is an outcome."""
    for chunk in chunks:
        counted = chunk.accepted + chunk.failed + chunk.unknown
        expected = chunk.span.rows if chunk.phase in _MEASURED else 0
        if counted != expected or chunk.warned > chunk.accepted or chunk.unmatched > chunk.failed:
            yield "counts_differ", f"chunk {chunk.id} ({chunk.phase}) counts {counted} of {chunk.span.rows} rows"
        if chunk.phase in (Phase.SUBMITTED, Phase.COLLECTING) and chunk.batch_id is None:
            yield "no_batch", f"chunk {chunk.id} is {chunk.phase} and has no batch"


def _state_flaws(job: Job, chunks: tuple[Chunk, ...]) -> Iterator[tuple[str, str]]:
    unfinished = [each for each in chunks if each.phase not in (*_COUNTED, Phase.SPLIT, Phase.CANCELLED)]
    if job.state is JobState.COMPLETE and unfinished:
        yield "unfinished", f"it is complete, and chunk {unfinished[0].id} is {unfinished[0].phase}"
