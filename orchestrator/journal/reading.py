"""The journal's questions in SQL; each function works within the transaction of the connection it is given."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Select, func, or_, select

from orchestrator.errors import JobUnknown
from orchestrator.events import (
    ChunkReserved,
    ChunkUnreserved,
    EtaForetold,
    EtaSlipped,
    Event,
    JobFinished,
    JobStopAsked,
    JobStopHeeded,
)
from orchestrator.journal import rows as codec
from orchestrator.journal.changes import CapLearned
from orchestrator.journal.schema import calls, chunks, events, findings, jobs, sources, subscriptions, waits
from orchestrator.journal.values import ALIVE, Backlog, Counters, DayCalls, Foretold, Progress, Tally, Wait
from orchestrator.model import (
    BatchId,
    BatchStatus,
    Chunk,
    ChunkId,
    Finding,
    Job,
    JobId,
    JobState,
    Phase,
    Source,
    Target,
)

IN_FLIGHT: Final = (Phase.SUBMITTING, Phase.SUBMITTED, Phase.UNKNOWN)
NOT_IMPORTED: Final = (Phase.READY, *IN_FLIGHT)
OTHERS: Final = "others"  # in place of a kind of calls: those that others made
_NAMED_MAX: Final = 5  # job ids that an ambiguous prefix is answered with: what one line of a terminal holds
_KEPT: Final = jobs.c.pruned_ms.is_(None)  # the others are being removed


def fetch(connection: Connection, query: Select[*tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query by the names of their columns."""
    return (row._asdict() for row in connection.execute(query))


def job(connection: Connection, job_id: str) -> Job:
    """Return the job with this id, or the only one whose id starts so."""
    for row in fetch(connection, select(jobs).where(jobs.c.id == job_id, _KEPT)):
        return codec.unpack_job(row)
    starts_so = func.substr(jobs.c.id, 1, len(job_id)) == job_id
    found = list(fetch(connection, select(jobs).where(starts_so, _KEPT).order_by(jobs.c.id).limit(_NAMED_MAX)))
    if not job_id or not found:
        raise JobUnknown(f"no job {job_id!r} in this journal; `orchestrator jobs` lists those it knows")
    if len(found) > 1:
        names = ", ".join(str(row["id"]) for row in found)
        raise JobUnknown(f"more than one job starts with {job_id!r} ({names} ...); give more of its id")
    return codec.unpack_job(found[0])


def job_list(connection: Connection, host: str | None, states: Collection[JobState] | None) -> list[Job]:
    """Return the jobs of one host or of all, in these states or in any, oldest first."""
    query = select(jobs).where(_KEPT).order_by(jobs.c.created_ms, jobs.c.id)
    if host is not None:
        query = query.where(jobs.c.host == host)
    if states is not None:
        query = query.where(jobs.c.state.in_(sorted(states)))
    return [codec.unpack_job(row) for row in fetch(connection, query)]


def job_sources(connection: Connection, job_id: JobId) -> tuple[Source, ...]:
    """Return the sources of a job in their order; none before it is planned."""
    query = select(sources).where(sources.c.job_id == job_id).order_by(sources.c.position)
    return tuple(codec.unpack_source(row) for row in fetch(connection, query))


def job_chunks(connection: Connection, job_id: JobId) -> tuple[Chunk, ...]:
    """Return all chunks of a job, those that were split before their parts, in the order of their rows."""
    order = (chunks.c.source, chunks.c.first_row, chunks.c.depth)
    query = select(chunks).where(chunks.c.job_id == job_id).order_by(*order)
    return tuple(codec.unpack_chunk(row) for row in fetch(connection, query))


def chunk_parts(connection: Connection, chunk_id: ChunkId) -> tuple[Chunk, ...]:
    """Return the parts that a chunk was split into, in their order; none if it was not."""
    query = select(chunks).where(chunks.c.parent == chunk_id).order_by(chunks.c.first_row)
    return tuple(codec.unpack_chunk(row) for row in fetch(connection, query))


def job_findings(connection: Connection, job_id: JobId) -> tuple[Finding, ...]:
    """Return the findings of a job in the order in which they came up."""
    query = select(findings).where(findings.c.job_id == job_id).order_by(findings.c.id)
    return tuple(codec.unpack_finding(row) for row in fetch(connection, query))


def job_events(connection: Connection, job_id: JobId, after: int, limit: int) -> list[Event]:
    """Return the first events of a job whose `seq` is greater than `after`."""
    query = select(events).where(events.c.job_id == job_id, events.c.seq > after).order_by(events.c.seq).limit(limit)
    return [codec.unpack_event(row) for row in fetch(connection, query)]


def job_counters(connection: Connection, job_id: JobId) -> Counters:
    """Return the API calls and waits of a job."""
    called = select(calls.c.kind, func.sum(calls.c.count)).where(calls.c.job_id == job_id)
    waited = select(waits.c.cause, waits.c.count, waits.c.ms).where(waits.c.job_id == job_id)
    return Counters(
        api_calls={
            kind: codec.whole(count, "a count of calls")
            for kind, count in connection.execute(called.group_by(calls.c.kind).order_by(calls.c.kind))
        },
        waits={
            cause: Wait(count=codec.whole(count, "a count of waits"), ms=codec.whole(ms, "the length of a wait"))
            for cause, count, ms in connection.execute(waited.order_by(waits.c.cause))
        },
    )


def day_calls(connection: Connection, host: str, day: str) -> DayCalls:
    """Return the calls of a subscription on a day of its quota."""
    query = select(calls.c.kind, func.sum(calls.c.count)).where(calls.c.host == host, calls.c.day == day)
    found = {
        kind: codec.whole(count, "a count of calls") for kind, count in connection.execute(query.group_by(calls.c.kind))
    }
    others = found.pop(OTHERS, 0)
    return DayCalls(own=sum(found.values()) - found.get("token", 0), others=others)


def went_well(connection: Connection, host: str, target: Target, headers: Collection[bytes], since_ms: int) -> bool:
    """Tell whether a subscription has completed batches into a target with each of these headers since a moment."""
    completed = (
        select(chunks.c.id)
        .join(sources, (sources.c.job_id == chunks.c.job_id) & (sources.c.position == chunks.c.source))
        .join(jobs, jobs.c.id == chunks.c.job_id)
        .where(jobs.c.host == host, jobs.c.target == codec.pack_target(target))
        .where(chunks.c.status == BatchStatus.COMPLETE, chunks.c.accepted > 0, chunks.c.completed_ms >= since_ms)
        .limit(1)
    )
    found = (connection.execute(completed.where(sources.c.header == header)).first() for header in sorted(headers))
    return all(row is not None for row in found)


def job_progress(connection: Connection, job_id: JobId) -> Progress:
    """Return how far a job is, summed by the database: the chunks themselves may be tens of thousands."""
    names = ("polls", "accepted", "failed", "warned", "unknown", "unmatched")
    query = (
        select(
            chunks.c.phase,
            chunks.c.status,
            func.count().label("chunks"),
            func.sum(chunks.c.rows).label("rows"),
            func.sum(chunks.c.start_byte).label("start_byte"),
            func.sum(chunks.c.end_byte).label("end_byte"),
            *(func.sum(chunks.c[name]).label(name) for name in names),
        )
        .where(chunks.c.job_id == job_id)
        .group_by(chunks.c.phase, chunks.c.status)
    )
    phases: dict[Phase, Tally] = {phase: Tally() for phase in Phase if phase is not Phase.SPLIT}
    under_way = dict.fromkeys((BatchStatus.QUEUED, BatchStatus.IMPORTING), 0)
    sums = dict.fromkeys(names, 0)
    for group in fetch(connection, query):
        sums["polls"] += codec.whole(group["polls"], "polls of a chunk")
        if group["phase"] == Phase.SPLIT:
            continue
        phase = Phase(group["phase"])
        tally, more = phases[phase], _tally(group)
        phases[phase] = Tally(
            chunks=tally.chunks + more.chunks,
            rows=tally.rows + more.rows,
            span_bytes=tally.span_bytes + more.span_bytes,
        )
        if phase is Phase.SUBMITTED and group["status"] in under_way:
            under_way[BatchStatus(group["status"])] += more.chunks
        for name in names[1:]:
            sums[name] += codec.whole(group[name], f"{name} of a chunk")
    return Progress(
        phases=phases, queued=under_way[BatchStatus.QUEUED], importing=under_way[BatchStatus.IMPORTING], **sums
    )


def _tally(group: Mapping[str, Any]) -> Tally:
    rows, start, end = (codec.whole(group[name], f"{name} of a chunk") for name in ("rows", "start_byte", "end_byte"))
    return Tally(chunks=int(group["chunks"]), rows=rows, span_bytes=end - start)


def backlog(connection: Connection, host: str, since_ms: int, ends_max: int) -> Backlog:
    """Return the jobs that run, and the latest ends of batches of theirs and of jobs that ended since a moment.

    Canaries do not count: they are few rows, and a person may think long about what became of them.
    """
    running = job_list(connection, host, (JobState.RUNNING,))
    open_rows = (
        select(
            chunks.c.job_id,
            func.count().label("chunks"),
            func.sum(chunks.c.rows).label("rows"),
            func.sum(chunks.c.start_byte).label("start_byte"),
            func.sum(chunks.c.end_byte).label("end_byte"),
        )
        .where(chunks.c.job_id.in_([one.id for one in running]), chunks.c.phase.in_(NOT_IMPORTED))
        .group_by(chunks.c.job_id)
    )
    left = {group["job_id"]: _tally(group) for group in fetch(connection, open_rows)}
    of_late = select(jobs.c.id).where(
        jobs.c.host == host, or_(jobs.c.state == JobState.RUNNING, jobs.c.finished_ms >= since_ms)
    )
    ended = (
        select(chunks.c.completed_ms, chunks.c.rows, func.coalesce(jobs.c.started_ms, jobs.c.created_ms))
        .join(jobs, jobs.c.id == chunks.c.job_id)
        .where(chunks.c.job_id.in_(of_late), chunks.c.completed_ms.is_not(None), chunks.c.canary.is_(False))
        .order_by(chunks.c.completed_ms.desc())
        .limit(ends_max)
    )
    return Backlog(
        jobs=tuple((one, left.get(one.id, Tally())) for one in running),
        ends=tuple(_end(*row) for row in connection.execute(ended)),
    )


def _end(completed_ms: Any, rows: Any, begun_ms: Any) -> tuple[int, int, int]:
    at_ms, begun = codec.whole(completed_ms, "completed_ms of a chunk"), codec.whole(begun_ms, "started_ms of a job")
    return at_ms, codec.whole(rows, "rows of a chunk"), begun


def last_batch_id(connection: Connection, host: str) -> BatchId | None:
    """Return the highest batch id that is known of a subscription."""
    of_host = select(func.max(chunks.c.batch_id), func.max(chunks.c.last_batch_id))
    found = connection.execute(of_host.join(jobs, jobs.c.id == chunks.c.job_id).where(jobs.c.host == host)).one()
    known = [codec.whole(number, "batch_id of a chunk") for number in found if number is not None]
    return BatchId(max(known)) if known else None


def newest_ms(connection: Connection) -> int:
    """Return the latest time in the journal, as far as it matters; of jobs that have ended, chunks are not looked at."""
    of_jobs = (jobs.c.created_ms, jobs.c.started_ms, jobs.c.finished_ms, jobs.c.wish_ms)
    alive = select(jobs.c.id).where(jobs.c.state.in_(ALIVE))
    of_chunks = (chunks.c.submitted_ms, chunks.c.completed_ms)
    last = select(func.max(events.c.seq)).scalar_subquery()
    found = [
        *connection.execute(select(*map(func.max, of_jobs))).one(),
        *connection.execute(select(*map(func.max, of_chunks)).where(chunks.c.job_id.in_(alive))).one(),
        connection.execute(select(events.c.ts_ms).where(events.c.seq == last)).scalar(),
    ]
    return max((codec.whole(at_ms, "a time") for at_ms in found if at_ms is not None), default=0)


def longest_batch_ms(connection: Connection, host: str, since_ms: int) -> int:
    """Return how long a subscription's longest batch took of those sent since a moment; 0 if none is known."""
    of_host = select(func.max(chunks.c.took_ms)).join(jobs, jobs.c.id == chunks.c.job_id).where(jobs.c.host == host)
    return codec.whole(
        connection.execute(of_host.where(chunks.c.submitted_ms >= since_ms)).scalar() or 0, "took_ms of a chunk"
    )


def occupying(connection: Connection, host: str, since_ms: int) -> list[Job]:
    """Return a subscription's jobs with chunks sent since a moment whose batch is not known to be finished."""
    sent = select(chunks.c.job_id).where(chunks.c.phase.in_(IN_FLIGHT), chunks.c.submitted_ms >= since_ms)
    query = select(jobs).where(_KEPT, jobs.c.host == host, jobs.c.id.in_(sent)).order_by(jobs.c.created_ms, jobs.c.id)
    return [codec.unpack_job(row) for row in fetch(connection, query)]


def foretold(connection: Connection, job: Job) -> Foretold | None:
    """Return the forecast of a job that was told last, None if none was."""
    of_job = select(events).where(events.c.job_id == job.id).order_by(events.c.seq.desc()).limit(1)

    def latest(*kinds: type[Event]) -> Event | None:
        named = of_job.where(events.c.name.in_([kind.name for kind in kinds])) if kinds else of_job
        return next((codec.unpack_event(row) for row in fetch(connection, named)), None)

    told, slipped, last = latest(EtaForetold), latest(EtaSlipped), latest()
    if not isinstance(told, EtaForetold) or last is None:
        return None
    of_host = select(func.max(events.c.ts_ms)).join(jobs, jobs.c.id == events.c.job_id).where(jobs.c.host == job.host)
    ended = isinstance(last, JobFinished)  # else whoever drove it was killed, which nothing tells
    return Foretold(
        event=told,
        begun_ms=job.created_ms,
        slipped_ms=None if slipped is None else slipped.ts_ms,
        stands_since_ms=last.ts_ms if ended else int(connection.execute(of_host).scalar_one()),
    )


def stop_heeded(connection: Connection, job_id: JobId) -> bool:
    """Tell whether whoever drives a job has answered the last wish to stop it."""
    named = events.c.name.in_((JobStopAsked.name, JobStopHeeded.name))
    query = select(events.c.name).where(events.c.job_id == job_id, named).order_by(events.c.seq.desc()).limit(1)
    return connection.execute(query).scalar() == JobStopHeeded.name


def reserved(connection: Connection, host: str, since_ms: int) -> dict[ChunkId, tuple[int, JobId]]:
    """Return the chunks of which it was told since a moment that they reserve their keys: since when, and their jobs."""
    query = (
        select(events)
        .join(jobs, jobs.c.id == events.c.job_id)
        .where(_KEPT, jobs.c.host == host, jobs.c.state == JobState.RUNNING)
        .where(events.c.ts_ms >= since_ms, events.c.name.in_((ChunkReserved.name, ChunkUnreserved.name)))
        .order_by(events.c.seq)
    )
    found: dict[ChunkId, tuple[int, JobId]] = {}
    for row in fetch(connection, query):
        event = codec.unpack_event(row)
        match event:
            case ChunkReserved():
                found[ChunkId(event.chunk)] = (event.ts_ms, event.job_id)
            case ChunkUnreserved():
                found.pop(ChunkId(event.chunk), None)
    return found


def learned_cap(connection: Connection, host: str) -> CapLearned | None:
    """Return how large an upload a subscription was found to take last, None if it never refused one."""
    learned = select(subscriptions.c.upload_bytes_max, subscriptions.c.upload_learned_ms)
    found = connection.execute(learned.where(subscriptions.c.host == host)).first()
    if found is None or found.upload_bytes_max is None or found.upload_learned_ms is None:
        return None
    bytes_max, learned_ms = (codec.whole(value, "a learned limit") for value in found)
    return CapLearned(bytes_max=bytes_max, learned_ms=learned_ms)


def submissions(connection: Connection, host: str, after: BatchId) -> tuple[Chunk, ...]:
    """Return a subscription's chunks that are in doubt or being sent, and those with a batch behind one, as sent."""
    in_doubt = chunks.c.phase.in_((Phase.SUBMITTING, Phase.UNKNOWN))
    query = (
        select(chunks)
        .join(jobs, jobs.c.id == chunks.c.job_id)
        .where(jobs.c.host == host, or_(in_doubt, chunks.c.batch_id > after))
        .order_by(chunks.c.submitted_ms, chunks.c.id)
    )
    return tuple(codec.unpack_chunk(row) for row in fetch(connection, query))
