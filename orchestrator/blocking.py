"""What a job's next rows wait for: chunks under way that share keys with them, as the claims on the disk tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.claims import file_of, in_common
from orchestrator.desk import space_of
from orchestrator.journal.journal import Journal
from orchestrator.model import BatchId, Chunk, ChunkId, Job, JobId, JobState, Phase
from orchestrator.offload import Offload
from orchestrator.outcome import job_directory
from orchestrator.schedule.state import IN_FLIGHT

_ENDED = (JobState.COMPLETE, JobState.CANCELLED, JobState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A chunk under way that an unsent one must not meet at Marketo."""

    waiting: ChunkId
    job_id: JobId
    chunk: ChunkId
    batch_id: BatchId | None  # None: its answer is lost or still to come
    shared: bool | None  # keys; None: nobody can tell here; else they exclude each other by list or lookup field


async def find_blockers(
    journal: Journal, offload: Offload, state_dir: Path, job: Job, chunks: Sequence[Chunk]
) -> tuple[Blocker, ...]:
    """Return what the first unsent chunk of a job waits for; nothing as long as its keys were not looked at.

    Of a job that has ended, what was left in doubt counts as long as its claims are kept.
    """
    unsent = [chunk for chunk in chunks if chunk.phase is Phase.READY]
    if job.state is not JobState.RUNNING or not unsent:
        return ()
    first = min(unsent, key=lambda chunk: (chunk.span.source, chunk.span.first_row))
    space, claims = space_of(job), file_of(job_directory(state_dir, job), first)
    found = []
    for other in await journal.occupying(job.host, since_ms=0):
        theirs, directory = space_of(other), job_directory(state_dir, other)
        elsewhere = job.home is not None and other.home is not None and job.home.id != other.home.id
        for chunk in await journal.chunks(other.id):
            file = file_of(directory, chunk)
            if chunk.phase not in IN_FLIGHT or (other.state in _ENDED and not (elsewhere or file.exists())):
                continue
            comparable = space.meets(theirs) and space.key_field == theirs.key_field
            shared: bool | None = comparable
            if comparable:
                shared = None if elsewhere else await offload.run(in_common, claims, file)
            if shared is not False or space.excludes(theirs):
                found.append(
                    Blocker(waiting=first.id, job_id=other.id, chunk=chunk.id, batch_id=chunk.batch_id, shared=shared)
                )
    return tuple(found)
