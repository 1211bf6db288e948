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

_ALIVE = (JobState.RUNNING, JobState.INCOMPLETE, JobState.PAUSED)  # jobs of which something may be under way


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A chunk under way that an unsent one must not meet at Marketo."""

    waiting: ChunkId
    job_id: JobId
    chunk: ChunkId
    batch_id: BatchId | None  # None: its answer is lost or still to come
    shared: bool  # keys; else the two jobs exclude each other, by their static list or their lookup field


async def find_blockers(
    journal: Journal, offload: Offload, state_dir: Path, job: Job, chunks: Sequence[Chunk]
) -> tuple[Blocker, ...]:
    """Return what the first unsent chunk of a job waits for; nothing as long as its keys were not looked at."""
    unsent = [chunk for chunk in chunks if chunk.phase is Phase.READY]
    if job.state is not JobState.RUNNING or not unsent:
        return ()
    first = min(unsent, key=lambda chunk: (chunk.span.source, chunk.span.first_row))
    space, claims = space_of(job), file_of(job_directory(state_dir, job), first)
    found = []
    for other in await journal.jobs(host=job.host, states=_ALIVE):
        theirs, directory = space_of(other), job_directory(state_dir, other)
        for chunk in await journal.chunks(other.id):
            if chunk.phase not in IN_FLIGHT:
                continue
            comparable = space.meets(theirs) and space.key_field == theirs.key_field
            shared = comparable and await offload.run(in_common, claims, file_of(directory, chunk))
            if shared or space.excludes(theirs):
                found.append(
                    Blocker(waiting=first.id, job_id=other.id, chunk=chunk.id, batch_id=chunk.batch_id, shared=shared)
                )
    return tuple(found)
