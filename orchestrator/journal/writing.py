"""The journal's changes in SQL; each function works within the writing transaction of its connection.

A write with a lease is fenced: see `fencing`.  It reaches only jobs of its lease's subscription, so the fence cannot be
walked around through the job of another host.

Without a lease a process may write about a job as a whole, for it is the one that waits for the job while
another drives the subscription.  What was sent, and what became of it, stands in the chunks: never unfenced.

Changes are written in the order given; one that fails takes all others of its transaction with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, insert, select, update

from orchestrator import events as told
from orchestrator.errors import JournalError
from orchestrator.journal import reading, sourcing
from orchestrator.journal import rows as codec
from orchestrator.journal.changes import (
    CHUNK_VALUES,
    JOB_VALUES,
    CallsCounted,
    CapLearned,
    Change,
    ChunkChanged,
    ChunkParted,
    FindingAdded,
    JobChanged,
    JobPlanned,
    JobWithdrawn,
    SourceHashed,
    SourceMoved,
    Told,
    UnsentCancelled,
    UsageTold,
    WaitCounted,
)
from orchestrator.journal.fencing import alone, check_epoch
from orchestrator.journal.schema import calls, chunks, events, findings, jobs, sources, subscriptions, waits
from orchestrator.journal.values import Lease
from orchestrator.model import Chunk, ChunkId, Job, JobId, JobState, Phase, Source, Span

UNNUMBERED = ChunkId(0)  # of a chunk on its way to the database


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writing:
    """One transaction."""

    connection: Connection
    host: str | None  # None: any, in a write without a lease
    now_ms: int


# --- rows ---------------------------------------------------------------------------------------------


def _insert_once(connection: Connection, table: Table, row: Mapping[str, Any], *, key: Sequence[str]) -> bool:
    """Insert a row unless one with the same key is there; return whether it was inserted."""
    if connection.execute(select(1).select_from(table).where(_same(table, row, key)).limit(1)).first() is not None:
        return False
    connection.execute(insert(table), row)
    return True


def _same(table: Table, row: Mapping[str, Any], key: Sequence[str]) -> ColumnElement[bool]:
    return and_(*(table.c[name].is_not_distinct_from(row[name]) for name in key))


# --- jobs and changes --------------------------------------------------------------------------------


def add_job(connection: Connection, job: Job, now_ms: int) -> None:
    """Write a new job with its event; nothing if it is there already."""
    alone(connection, f"job {job.id}")
    if _insert_once(connection, jobs, codec.pack_job(job), key=("id",)):
        _tell(connection, told.JobAccepted(job_id=job.id, ts_ms=now_ms))
        return
    known = reading.job(connection, job.id)
    same = ("host", "target", "absolute_paths", "options", "created_ms")
    if any(getattr(known, name) != getattr(job, name) for name in same):
        raise JournalError(f"the journal knows another job with the id {job.id}; nothing was written")


def plan_once(
    connection: Connection,
    planned: JobPlanned,
    found: Sequence[FindingAdded],
    now_ms: int,
    unlike: Collection[JobId] = (),
) -> bool:
    """Write a plan and its findings, unless the job is planned or given up, or the subscription has got the same one.

    That is a planned one with the same key, or, if that matters, one with the same fingerprint that was not given up.
    Jobs ``unlike`` it only have the same fingerprint.  Return whether it was written.
    """
    alone(connection, "plans", f"job {planned.job_id}")
    writing = _Writing(connection=connection, host=None, now_ms=now_ms)
    job = _own_job(writing, planned.job_id)
    if job.state is not JobState.PLANNING or sourcing.is_given(connection, job, planned.fingerprint, unlike):
        return False
    _apply(writing, planned)
    for finding in found:
        _apply(writing, finding)
    return True


# What the process that waits for a job may write about it while another one drives the subscription.
_UNFENCED = (JobPlanned, JobWithdrawn, SourceMoved, JobChanged, FindingAdded, CallsCounted, UsageTold, Told)


def write_unfenced(
    connection: Connection,
    changes: Sequence[Change],
    now_ms: int,
    only_from: Collection[JobState] | None = None,
    as_of: Job | None = None,
) -> bool:
    """Write changes about a job as a whole, all or none, for whoever waits for it; it need not drive it.

    Nothing is written, and False returned, if the job is in none of the states ``only_from``, or not as ``as_of``.
    Raises `JournalError` if a change is none of those, or speaks of something that is not there.
    """
    writing = _Writing(connection=connection, host=None, now_ms=now_ms)
    alone(connection, *_names(changes))
    for change in changes:
        if not isinstance(change, _UNFENCED):
            raise JournalError(f"{type(change).__name__} needs a lease; nothing was written")
        if isinstance(change, CallsCounted | UsageTold):
            continue
        job_id = change.event.job_id if isinstance(change, Told) else change.job_id
        if only_from is not None and _own_job(writing, job_id).state not in only_from:
            return False
    return _apply_all(writing, changes, as_of)


def write(
    connection: Connection, lease: Lease, changes: Sequence[Change], now_ms: int, as_of: Job | None = None
) -> bool:
    """Write changes, all or none; none, and False returned, if the job ``as_of`` has another state or wish by now.

    Raises `Fenced` if the lease is not the newest of its subscription, and `JournalError` if a change speaks of
    something that is not there or contradicts what is.
    """
    alone(connection, *_names(changes))
    check_epoch(connection, lease)
    return _apply_all(_Writing(connection=connection, host=lease.host, now_ms=now_ms), changes, as_of)


def _apply_all(writing: _Writing, changes: Sequence[Change], as_of: Job | None) -> bool:
    if as_of is not None:
        known = _own_job(writing, as_of.id)
        if (known.state, known.wish) != (as_of.state, as_of.wish):
            return False
    for change in changes:
        _apply(writing, change)
    return True


def _names(changes: Sequence[Change]) -> Iterator[str]:
    """Yield the names of what the transaction of these changes must be alone with: jobs, and counters of calls."""
    for change in changes:
        match change:
            case Told():
                yield f"job {change.event.job_id}"
            case CallsCounted() | UsageTold():
                yield f"calls {change.host}"
            case ChunkChanged() | ChunkParted() | CapLearned():
                pass  # of the lease's subscription: nobody else changes them
            case _:
                yield f"job {change.job_id}"


def _apply(writing: _Writing, change: Change) -> None:
    match change:
        case JobPlanned():
            _plan(writing, change)
        case JobWithdrawn():
            sourcing.withdraw(writing.connection, _own_job(writing, change.job_id))
        case SourceMoved():
            sourcing.move_source(writing.connection, _own_job(writing, change.job_id), change)
        case SourceHashed():
            sourcing.hash_source(writing.connection, _own_job(writing, change.job_id), change)
        case JobChanged():
            _change_job(writing, change)
        case ChunkChanged():
            _change_chunk(writing, change)
        case ChunkParted():
            _part(writing, change)
        case UnsentCancelled():
            _cancel_unsent(writing, change)
        case FindingAdded():
            _find(writing, change)
        case CallsCounted():
            _count_calls(writing, change)
        case CapLearned():
            _keep_cap(writing, change)
        case UsageTold():
            _take_usage(writing, change)
        case WaitCounted():
            _count_wait(writing, change)
        case Told():
            _own_job(writing, change.event.job_id)
            _tell(writing.connection, change.event)


def _own_job(writing: _Writing, job_id: JobId) -> Job:
    """Return the job, which must be one of the subscription written for."""
    query = select(jobs).where(jobs.c.id == job_id)
    if writing.host is not None:
        query = query.where(jobs.c.host == writing.host)
    for row in reading.fetch(writing.connection, query):
        return codec.unpack_job(row)
    raise JournalError(f"no job {job_id} of {writing.host or 'any host'} in this journal; nothing was written")


def _own_chunk(writing: _Writing, chunk_id: ChunkId) -> ColumnElement[bool]:
    """Return the condition for a chunk, which must be one of the lease's subscription."""
    hosted = select(jobs.c.id).where(jobs.c.id == chunks.c.job_id, jobs.c.host == writing.host)
    return and_(chunks.c.id == chunk_id, hosted.exists())


def _no_chunk(writing: _Writing, chunk_id: ChunkId) -> JournalError:
    return JournalError(f"no chunk {chunk_id} of {writing.host} in this journal; nothing was written")


def _plan(writing: _Writing, change: JobPlanned) -> None:
    """Write sources and chunks and start the job; nothing if it is planned already, and alike."""
    job = _own_job(writing, change.job_id)
    known = reading.job_sources(writing.connection, job.id)
    if known:
        if _unhashed(known) != _unhashed(change.sources):
            raise JournalError(f"job {job.id} is planned already, from other sources; nothing was written")
        return
    if not change.sources:
        raise JournalError(f"job {job.id} has no source to plan; nothing was written")
    writing.connection.execute(insert(sources), [codec.pack_source(job.id, source) for source in change.sources])
    canaries = set(change.canaries)
    fresh = [
        Chunk(id=UNNUMBERED, job=job.id, span=span, canary=number in canaries)
        for number, span in enumerate(change.spans)
    ]
    _insert_chunks(writing, fresh)
    started_ms = writing.now_ms if job.started_ms is None else job.started_ms
    values = {"state": JobState.RUNNING, "key_columns": change.key_columns, "started_ms": started_ms}
    values["fingerprint"] = change.fingerprint
    writing.connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))
    planned = told.JobPlanned(
        job_id=job.id,
        ts_ms=writing.now_ms,
        sources=len(change.sources),
        chunks=len(change.spans),
        rows=sum(span.rows for span in change.spans),
        source_bytes=sum(source.identity.size_bytes for source in change.sources),
    )
    _tell(writing.connection, planned)


def _unhashed(known: Sequence[Source]) -> tuple[Source, ...]:
    return tuple(replace(source, sha256=None) for source in known)


def _insert_chunks(writing: _Writing, fresh: Sequence[Chunk]) -> None:
    if fresh:
        writing.connection.execute(insert(chunks), [codec.pack_chunk(chunk) for chunk in fresh])


def _change_job(writing: _Writing, change: JobChanged) -> None:
    _check_names(change.values.keys() - JOB_VALUES, "job")
    job = _own_job(writing, change.job_id)
    if change.values:
        writing.connection.execute(update(jobs).where(jobs.c.id == job.id).values(codec.pack_job_values(change.values)))


def _change_chunk(writing: _Writing, change: ChunkChanged) -> None:
    _check_names(change.values.keys() - CHUNK_VALUES, "chunk")
    if not change.values:
        return
    query = update(chunks).where(_own_chunk(writing, change.chunk_id)).values(dict(change.values))
    if writing.connection.execute(query).rowcount != 1:
        raise _no_chunk(writing, change.chunk_id)


def _check_names(unknown: set[str], what: str) -> None:
    """Refuse fields that make a thing what it is, and those that do not exist."""
    if unknown:
        raise JournalError(f"these fields of a {what} never change: {', '.join(sorted(unknown))}")


def _part(writing: _Writing, change: ChunkParted) -> None:
    """Split a chunk into its parts; nothing if it is split already, and alike."""
    row = next(reading.fetch(writing.connection, select(chunks).where(_own_chunk(writing, change.chunk_id))), None)
    if row is None:
        raise _no_chunk(writing, change.chunk_id)
    chunk = codec.unpack_chunk(row)
    if chunk.phase is Phase.SPLIT:
        query = select(chunks).where(chunks.c.parent == chunk.id).order_by(chunks.c.start_byte)
        known = tuple(codec.unpack_span(part) for part in reading.fetch(writing.connection, query))
        if known != change.parts:
            raise JournalError(f"chunk {chunk.id} is split already, into other parts; nothing was written")
        return
    if not _covers(chunk.span, change.parts):
        raise JournalError(
            f"the parts of chunk {chunk.id} are not all of it: rows would be lost or sent twice; nothing was written"
        )
    writing.connection.execute(update(chunks).where(chunks.c.id == chunk.id).values(phase=Phase.SPLIT))
    fresh = Chunk(
        id=UNNUMBERED,
        job=chunk.job,
        span=chunk.span,
        parent=chunk.id,
        depth=chunk.depth + 1,
        canary=chunk.canary,
        hold_until_ms=chunk.hold_until_ms,  # of an upload in doubt: then sending a part sends its rows again
    )
    _insert_chunks(writing, [replace(fresh, span=part) for part in change.parts])


def _cancel_unsent(writing: _Writing, change: UnsentCancelled) -> None:
    job = _own_job(writing, change.job_id)
    unsent = and_(chunks.c.job_id == job.id, chunks.c.phase == Phase.READY)
    writing.connection.execute(update(chunks).where(unsent).values(phase=Phase.CANCELLED))


def _covers(whole: Span, parts: Sequence[Span]) -> bool:
    """Tell whether parts, in order and each smaller than the whole, have every row of it once.

    Bytes between them, and behind the last one, are blank lines; a single part is the whole without those.
    """
    byte, row = whole.start, whole.first_row
    for part in parts:
        if part.source != whole.source or part.start < byte or part.first_row != row or part.rows < 1:
            return False
        byte, row = part.end, row + part.rows
    smaller = all(part.end - part.start < whole.end - whole.start for part in parts)
    return smaller and byte <= whole.end and row == whole.first_row + whole.rows


# --- what is told and counted ------------------------------------------------------------------------


def _find(writing: _Writing, change: FindingAdded) -> None:
    job = _own_job(writing, change.job_id)
    finding = change.finding
    row = codec.pack_finding(job.id, finding)
    if _insert_once(writing.connection, findings, row, key=tuple(row)):
        event = told.FindingAdded(
            job_id=job.id,
            ts_ms=writing.now_ms,
            kind=finding.kind,
            message=finding.message,
            batch_id=finding.batch_id,
        )
        _tell(writing.connection, event)


def _tell(connection: Connection, event: told.Event) -> None:
    """Append an event; the same thing told again of the same instant is one event."""
    row = codec.pack_event(event)
    _insert_once(connection, events, row, key=("job_id", "ts_ms", "name", "data"))


def _count_calls(writing: _Writing, change: CallsCounted) -> None:
    if writing.host not in (None, change.host):
        raise JournalError(f"calls of {change.host} are not counted by the owner of {writing.host}")
    job_id = "" if change.job_id is None else _own_job(writing, change.job_id).id
    row = {"host": change.host, "day": change.day, "job_id": job_id, "kind": change.kind}
    _add(writing.connection, calls, row, {"count": change.count})


def _take_usage(writing: _Writing, change: UsageTold) -> None:
    """Raise the count of others' calls to what Marketo's total says; it comes late, so it never lowers it."""
    known = reading.day_calls(writing.connection, change.host, change.day)
    row = {"host": change.host, "day": change.day, "job_id": "", "kind": reading.OTHERS}
    _add(writing.connection, calls, row, {"count": max(0, change.total - known.own - known.others)})


def _keep_cap(writing: _Writing, change: CapLearned) -> None:
    values = {"upload_bytes_max": change.bytes_max, "upload_learned_ms": change.learned_ms}
    writing.connection.execute(update(subscriptions).where(subscriptions.c.host == writing.host).values(values))


def _count_wait(writing: _Writing, change: WaitCounted) -> None:
    row = {"job_id": _own_job(writing, change.job_id).id, "cause": change.cause}
    _add(writing.connection, waits, row, {"count": 1, "ms": change.ms})


def _add(connection: Connection, table: Table, key: Mapping[str, Any], amounts: Mapping[str, int]) -> None:
    """Add amounts to the counters of a key, which start at 0."""
    _insert_once(connection, table, {**key, **dict.fromkeys(amounts, 0)}, key=tuple(key))
    sums = {name: table.c[name] + amount for name, amount in amounts.items()}
    connection.execute(update(table).where(_same(table, key, tuple(key))).values(sums))
