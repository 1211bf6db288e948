"""What a job is made of: giving it up before it is planned, finding it again, and changes of single sources.

Each function works within the writing transaction of its connection, on a job that may be written about.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, and_, delete, false, or_, select, update

from orchestrator.errors import JournalError
from orchestrator.journal.changes import SourceHashed, SourceMoved
from orchestrator.journal.schema import events, findings, jobs, sources
from orchestrator.journal.values import GIVEN
from orchestrator.model import IfKnown, Job, JobId, JobState


def is_given(connection: Connection, job: Job, fingerprint: str | None, unlike: Collection[JobId]) -> bool:
    """Tell whether another planned job of the subscription has the key of a job, or, if that matters, its content."""
    same = []
    if job.key is not None:
        keyed = (jobs.c.key == job.key, jobs.c.fingerprint.is_not(None), jobs.c.state != JobState.FAILED)
        same.append(and_(*keyed))
    if job.options.if_known is not IfKnown.AGAIN:
        same.append(and_(jobs.c.fingerprint == fingerprint, jobs.c.state.in_(GIVEN), jobs.c.id.not_in(unlike)))
    others = (jobs.c.host == job.host, jobs.c.id != job.id, jobs.c.pruned_ms.is_(None))  # a pruned one is forgotten
    query = select(jobs.c.id).where(*others, or_(false(), *same))
    return connection.execute(query.limit(1)).first() is not None


def withdraw(connection: Connection, job: Job) -> None:
    """Delete a job that has no plan, and what was told of it."""
    if job.state is not JobState.PLANNING or job.fingerprint is not None:
        raise JournalError(f"job {job.id} is planned, so it cannot be withdrawn; nothing was written")
    for table, column in ((events, events.c.job_id), (findings, findings.c.job_id), (jobs, jobs.c.id)):
        connection.execute(delete(table).where(column == job.id))


def hash_source(connection: Connection, job: Job, change: SourceHashed) -> None:
    """Write the SHA-256 of a source."""
    _change_source(connection, job, change.index, {"sha256": change.sha256})


def move_source(connection: Connection, job: Job, change: SourceMoved) -> None:
    """Write where a source lies now."""
    place = {"absolute": change.absolute, "content": change.absolute, "identity": asdict(change.identity)}
    _change_source(connection, job, change.index, place)
    paths = [*job.absolute_paths[: change.index], change.absolute, *job.absolute_paths[change.index + 1 :]]
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(absolute_paths=paths))


def _change_source(connection: Connection, job: Job, index: int, values: dict[str, Any]) -> None:
    ours = and_(sources.c.job_id == job.id, sources.c.position == index)
    if connection.execute(update(sources).where(ours).values(values)).rowcount != 1:
        raise JournalError(f"job {job.id} has no source {index}; nothing was written")
