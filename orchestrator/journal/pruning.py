"""Forgetting finished jobs, in transactions so small that nobody waits for them.

A job is condemned first: from then on nobody finds it, so nobody sees it in part.  Then its files go, then its rows,
some at a time, the job's own row last.  Whoever is interrupted on the way, a later one goes on where it stopped.

Never condemned are jobs that may go on, that have rows of unknown outcome, that another job was made from, and those
of another state directory, whose files lie where nobody here can remove them.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Text, and_, delete, func, or_, select, type_coerce, update

from orchestrator.journal.fencing import alone, check_epoch
from orchestrator.journal.schema import calls, chunks, events, findings, jobs, sources, waits
from orchestrator.journal.values import ENDED, Lease
from orchestrator.model import Home, JobId, Phase

ROWS_MAX: Final = 1_000  # removed in one transaction: a few milliseconds
_UNDER_WAY: Final = (Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING, Phase.UNKNOWN)


def condemn(connection: Connection, lease: Lease, home: Home, before_ms: int, now_ms: int) -> JobId | None:
    """Return a job to be forgotten that ended before a moment, the oldest; None if there is none.

    Raises `Fenced` if the lease is not the newest of its subscription.
    """
    check_epoch(connection, lease)
    lies_here = or_(jobs.c.home.is_(None), type_coerce(jobs.c.home, Text).contains(f'"id":"{home.id}"'))
    ours = and_(jobs.c.host == lease.host, lies_here)
    begun = connection.execute(select(jobs.c.id).where(ours, jobs.c.pruned_ms.is_not(None)).limit(1)).scalar()
    if begun is not None:
        return JobId(begun)
    ended_ms = func.coalesce(jobs.c.finished_ms, jobs.c.created_ms)
    query = select(jobs.c.id).where(ours, jobs.c.state.in_(ENDED), ended_ms < before_ms, ~_is_needed())
    found = connection.execute(query.order_by(ended_ms, jobs.c.id).limit(1)).scalar()
    if found is None:
        return None
    alone(connection, f"job {found}")
    connection.execute(update(jobs).where(jobs.c.id == found).values(pruned_ms=now_ms))
    return JobId(found)


def _is_needed() -> ColumnElement[bool]:
    child = jobs.alias()
    open_ends = or_(chunks.c.phase.in_(_UNDER_WAY), chunks.c.unknown > 0)
    return or_(
        select(child.c.id).where(child.c.parent == jobs.c.id).exists(),
        select(chunks.c.id).where(chunks.c.job_id == jobs.c.id, open_ends).exists(),
    )


def prune(connection: Connection, lease: Lease, job_id: JobId) -> bool:
    """Remove some rows of a condemned job; return whether none is left.

    Raises `Fenced` if the lease is not the newest of its subscription.
    """
    check_epoch(connection, lease)
    condemned = and_(jobs.c.id == job_id, jobs.c.host == lease.host, jobs.c.pruned_ms.is_not(None))
    if connection.execute(select(jobs.c.id).where(condemned)).first() is None:
        return True
    # Parts go before the chunks they were split from.
    for numbers, order in (
        (events.c.seq, (events.c.seq,)),
        (findings.c.id, (findings.c.id,)),
        (chunks.c.id, (chunks.c.depth.desc(), chunks.c.id)),
    ):
        if _remove_some(connection, numbers, order, job_id):
            return False
    for table in (waits, calls, sources):
        connection.execute(delete(table).where(table.c.job_id == job_id))
    connection.execute(delete(jobs).where(condemned))
    return True


def _remove_some(connection: Connection, numbers: Any, order: tuple[ColumnElement[Any], ...], job_id: JobId) -> bool:
    """Remove the first rows of a job from a table; return whether there was any."""
    query = select(numbers).where(numbers.table.c.job_id == job_id).order_by(*order).limit(ROWS_MAX)
    found = connection.execute(query).scalars().all()
    if found:
        connection.execute(delete(numbers.table).where(numbers.in_(found)))
    return bool(found)
