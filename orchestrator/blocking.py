"""What a job's next rows wait for, as the journal and the claims on the disk tell.

They wait for chunks under way that share keys with them, for unsent ones that reserved such keys, and behind the first
batch of their own job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orchestrator.desk import space_of
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import ENDED
from orchestrator.model import BatchId, Chunk, ChunkId, Job, JobId, JobState, Phase
from orchestrator.offload import Offload
from orchestrator.outcome import claims_path, job_directory
from orchestrator.schedule.state import IN_FLIGHT


class Why(StrEnum):
    """Why a chunk must not meet another one at Marketo, or may not go before it."""

    KEYS = "keys"  # they share keys, or may share some, or exclude each other by list or lookup field
    RESERVED = "reserved"  # the same, with one that is unsent, but was passed over for so long that it goes first
    SLOW_START = "slow_start"  # the second batch of a job waits until its first is complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A chunk that an unsent one waits for."""

    waiting: ChunkId
    job_id: JobId
    chunk: ChunkId
    batch_id: BatchId | None  # None: it is unsent, or its answer is lost or still to come
    why: Why = Why.KEYS
    shared: bool | None  # keys; None: nobody can tell here, or it does not matter; else they exclude each other
    since_ms: int | None = None  # when it reserved its keys


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A chunk that may stand in the way of others."""

    job: Job
    chunk: Chunk
    reserved_ms: int | None = None


async def find_blockers(
    journal: Journal, offload: Offload, state_dir: Path, job: Job, chunks: Sequence[Chunk], *, proving: bool = False
) -> tuple[Blocker, ...]:
    """Return what the first unsent chunk of a job waits for; nothing as long as its keys were not looked at.

    Of a job that has ended, what was left in doubt counts as long as its claims are kept.  If the job is ``proving``,
    nothing more of it is sent before what it has at Marketo is complete.
    """
    unsent = [chunk for chunk in chunks if chunk.phase is Phase.READY]
    if job.state is not JobState.RUNNING or not unsent:
        return ()
    first = min(unsent, key=lambda chunk: (chunk.span.source, chunk.span.first_row))
    space, claims = space_of(job), claims_path(job_directory(state_dir, job), first)
    found = []
    for each in [*await _under_way(journal, job, state_dir), *await _reserved(journal, job, first)]:
        theirs, other = space_of(each.job), each.chunk
        comparable = space.meets(theirs) and space.key_field == theirs.key_field
        shared: bool | None = comparable
        why = Why.KEYS if each.reserved_ms is None else Why.RESERVED
        if proving and each.job.id == job.id:
            why, shared = Why.SLOW_START, None
        elif comparable:
            elsewhere = _elsewhere(job, each.job)
            file = claims_path(job_directory(state_dir, each.job), other)
            shared = None if elsewhere else await offload.run(_in_common, claims, file)
        if shared is not False or space.excludes(theirs):
            found.append(
                Blocker(
                    waiting=first.id,
                    job_id=each.job.id,
                    chunk=other.id,
                    batch_id=other.batch_id,
                    why=why,
                    shared=shared,
                    since_ms=each.reserved_ms,
                )
            )
    return tuple(found)


async def _under_way(journal: Journal, job: Job, state_dir: Path) -> list[_Candidate]:
    found = []
    for other in await journal.occupying(job.host, since_ms=0):
        for chunk in await journal.chunks(other.id):
            kept = _elsewhere(job, other) or claims_path(job_directory(state_dir, other), chunk).exists()
            if chunk.phase in IN_FLIGHT and (kept or other.state not in ENDED):
                found.append(_Candidate(job=other, chunk=chunk))
    return found


async def _reserved(journal: Journal, job: Job, first: Chunk) -> list[_Candidate]:
    """Return the unsent chunks that reserve their keys, those before ``first`` if it does so itself.

    They do so in the memory of whoever drives the subscription, who tells it.
    """
    owner = await journal.owner(job.host)
    if owner is None:
        return []
    reserved = await journal.reserved(job.host, since_ms=owner.since_ms)
    before = {number: each for number, each in reserved.items() if number != first.id}
    if first.id in reserved:
        before = {number: each for number, each in before.items() if each < reserved[first.id]}
    found = []
    for job_id in sorted({job_id for _, job_id in before.values()}):
        other = await journal.job(job_id)
        unsent = [chunk for chunk in await journal.chunks(job_id) if chunk.phase is Phase.READY]
        found += [
            _Candidate(job=other, chunk=chunk, reserved_ms=before[chunk.id][0])
            for chunk in unsent
            if chunk.id in before
        ]
    return found


def _elsewhere(job: Job, other: Job) -> bool:
    return job.home is not None and other.home is not None and job.home.id != other.home.id


def _in_common(ours: Path, theirs: Path) -> bool | None:
    from orchestrator.claims import in_common  # only here: few who look at a job wait for numpy

    return in_common(ours, theirs)
